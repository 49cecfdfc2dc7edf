"""Marks in the texts of a hit what the query found there."""

from __future__ import annotations

import html
import re
import unicodedata

from search import analysis
from search.documents import Document
from search.embedded.textindex import Plan

# Private characters stand for the marks while the text is escaped, so that no text can pass for
# a mark; any that the text brings along are taken out first.
_OPEN, _CLOSE = "\ue000", "\ue001"
_PRIVATE = re.compile(f"[{_OPEN}{_CLOSE}]")


def highlights(document: Document, plan: Plan) -> dict[str, str]:
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
    marked = {field: mark(text, plan) for field, text in texts.items() if text}
    return {field: text for field, text in marked.items() if text is not None}


def mark(text: str, plan: Plan) -> str | None:
    """The text, escaped and marked; None if nothing of the query is in it."""
    text = _PRIVATE.sub("", text)
    parts: list[str] = []
    done = 0
    for start, end in _spans(text, plan):
        parts += [text[done:start], _OPEN, text[start:end], _CLOSE]
        done = end
    if not parts:
        return None
    escaped = html.escape("".join([*parts, text[done:]]))
    return escaped.replace(_OPEN, "<em>").replace(_CLOSE, "</em>")


def _spans(text: str, plan: Plan) -> list[tuple[int, int]]:
    """What to mark, from left to right; what overlaps or touches becomes one."""
    spans: list[tuple[int, int]] = []
    for piece in analysis.pieces(text):
        for first, last in _found(piece, plan):
            start, end = piece.origins[first], piece.origins[last - 1] + 1
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1
            if spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
    return spans


def _found(piece: analysis.Piece, plan: Plan) -> list[tuple[int, int]]:
    if piece.han:
        matches = ((word, re.finditer(f"(?={word})", piece.text)) for word in plan.han)
        return sorted((at.start(), at.start() + len(word)) for word, ats in matches for at in ats)
    if piece.text in plan.words or piece.text.startswith(plan.beginnings):
        return [(0, len(piece.text))]
    return []
