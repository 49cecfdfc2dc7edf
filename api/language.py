"""Chinese or English: the caller's language by RFC 9110 `Accept-Language`."""

from __future__ import annotations

import functools
from typing import Literal

Language = Literal["zh", "en"]


@functools.lru_cache(maxsize=512)
def choose(accept_language: str) -> Language:
    """The best of zh and en; English when neither is asked for.

    Only the primary subtag counts, so `zh-Hans-CN, en` is Chinese (general negotiators answer
    English to it). A quality of 0 rules a language out.
    """
    best: Language = "en"
    best_quality = 0.0
    for item in accept_language[:1000].split(","):
        tag, _, parameters = item.strip().partition(";")
        primary = tag.strip().lower().split("-")[0]
        quality = _quality(parameters)
        if primary in ("zh", "en") and quality > best_quality:
            best, best_quality = ("zh" if primary == "zh" else "en"), quality
    return best


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 0.0
