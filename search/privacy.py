"""What of a question may be kept: nothing that looks like a number or the name of a person."""

from __future__ import annotations

import functools
import itertools
import re

import rjieba

from models import services
from search import analysis

MOST_LETTERS = 60
_DIGITS = 5  # of which a number that says who somebody is has more
_FAMILY_NAMES = frozenset(
    re.findall(
        r"[a-z]+",
        """
        bai cai cao chang chen cheng cui dai deng ding dong du duan fan fang feng fu gao gong gu guo
        hao he hou hu huang jia jiang jin kang kong lai lei li liang liao lin liu long lu luo lv ma
        mao meng mo ouyang pan peng qian qin qiu ran ren shao shen shi song su sun tan tang tao tian
        wan wang wei wen wu xia xiang xiao xie xiong xu xue yan yang yao ye yin yu yuan zeng zhang
        zhao zheng zhong zhou zhu zou
        """,
    )
)
_SYLLABLE = (
    r"(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?"
    r"(?:iang|iong|uang|ang|eng|ing|ong|uai|uan|iao|ian|ai|ei|ui|ao|ou|iu|ie|ue|er|an|en|in|un|ia"
    r"|ua|uo|a|e|i|o|u|v)"
)
_GIVEN_NAME = re.compile(f"(?:{_SYLLABLE}){{1,2}}")
# `John Smith`: hardly anybody writes anything else like that.
_CAPITALISED = re.compile(r"\b[A-Z][a-z]+(?:\s+[A-Z][a-z]+)+\b")


def kept(text: str) -> str:
    """The question as it may be kept, its letters made alike; empty if it may not be."""
    words = " ".join(analysis.fold(text).split())
    if len(words) < 2 or len(words) > MOST_LETTERS:
        return ""
    return "" if looks_personal(text) else words


def looks_personal(text: str) -> bool:
    """Whether this may be a phone or identity number, an address of mail, or somebody's name.
    Rather too often than too seldom: what is lost is a suggestion."""
    folded = analysis.fold(text)
    if sum(letter.isdigit() for letter in folded) >= _DIGITS or "@" in folded:
        return True
    return (
        _names_in_han(folded)
        or _name_in_latin(folded.split())
        or _CAPITALISED.search(text) is not None
    )


def _names_in_han(folded: str) -> bool:
    known = _known()
    return any(
        tag.startswith("nr") and len(word) > 1 and word not in known
        for run in analysis.runs(folded)
        if run.han
        for word, tag in rjieba.tag(run.text, True)
    )


def _name_in_latin(words: list[str]) -> bool:
    """`wang fang`, `fang wang`: a family name and up to two syllables."""
    return any(
        (first in _FAMILY_NAMES and _GIVEN_NAME.fullmatch(second) is not None)
        or (second in _FAMILY_NAMES and _GIVEN_NAME.fullmatch(first) is not None)
        for first, second in itertools.pairwise(words)
    )


@functools.cache
def _known() -> frozenset[str]:
    """Words of the taxonomy that a dictionary may take for names: 康复."""
    texts = [
        text for service in services.shipped() for text in (service.name.zh, *service.synonyms.zh)
    ]
    return frozenset(word for text in texts for word in rjieba.cut_for_search(text, False))
