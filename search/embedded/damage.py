"""Files of an index that cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from search.engine import SearchUnavailable


class Damaged(SearchUnavailable):
    """What is read is not what was written."""


def is_damage(error: BaseException) -> bool:
    """Whether reading failed because of what the files contain.

    On damaged files tantivy raises ValueError or gives up in the middle. Such a panic is no
    Exception, so that nobody catches it by accident, and its class has no public name.
    """
    kinds = (ValueError, OSError, KeyError, msgspec.MsgspecError)
    return isinstance(error, kinds) or type(error).__name__ == "PanicException"


@contextlib.contextmanager
def seen() -> Iterator[None]:
    """Whoever reads in here is told of damage as of an index that does not answer."""
    try:
        yield
    except BaseException as error:
        if is_damage(error):
            raise Damaged("the index is damaged") from error
        raise
