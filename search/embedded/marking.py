"""Marks in the texts of a hit what the query found there."""

from __future__ import annotations

import html
import re
import unicodedata

from search import analysis
from search.documents import Document
from search.embedded.weighing import Marks

# Private characters stand for the marks while the text is escaped, so that no text can pass for
# a mark; any that the text brings along are taken out first.
_OPEN, _CLOSE = "\ue000", "\ue001"
_PRIVATE = re.compile(f"[{_OPEN}{_CLOSE}]")


def highlights(document: Document, marks: Marks) -> dict[str, str]:
    """The fields in which a word was found, escaped, each such word inside <em>."""
    texts = {
        "title_zh": document.title_zh,
        "title_en": document.title_en,
        "service_names": ", ".join(document.service_names),
        "tags": ", ".join(document.tags),
        "community_name": document.community_name,
        "description_zh": document.description_zh,
        "description_en": document.description_en,
    }
    marked = {field: mark(text, marks) for field, text in texts.items() if text}
    return {field: text for field, text in marked.items() if text is not None}


def mark(text: str, marks: Marks) -> str | None:
    """The text, escaped and marked; None if nothing of the query is in it."""
    text = _PRIVATE.sub("", text)
    parts: list[str] = []
    done = 0
    for start, end in _spans(text, marks):
        parts += [text[done:start], _OPEN, text[start:end], _CLOSE]
        done = end
    if not parts:
        return None
    escaped = html.escape("".join([*parts, text[done:]]))
    return escaped.replace(_OPEN, "<em>").replace(_CLOSE, "</em>")


def _spans(text: str, marks: Marks) -> list[tuple[int, int]]:
    """What to mark, from left to right; what overlaps or touches becomes one."""
    found = [span for run in analysis.runs(analysis.fold(text)) for span in _found(run, marks)]
    if not found:
        return []
    origins = analysis.origins(text)
    spans: list[tuple[int, int]] = []
    for first, last in found:
        start, end = origins[first], origins[last - 1] + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _found(run: analysis.Run, marks: Marks) -> list[tuple[int, int]]:
    """Where in the folded text this run has something to mark."""
    if run.han:
        matches = ((word, re.finditer(f"(?={word})", run.text)) for word in marks.han)
        places = sorted((at.start(), at.start() + len(word)) for word, ats in matches for at in ats)
        return [(run.start + first, run.start + last) for first, last in places]
    if run.text in marks.words or run.text.startswith(marks.beginnings):
        return [(run.start, run.start + len(run.text))]
    return []
