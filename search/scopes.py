"""A caller's visibility as the index reads it: the same rule as the database's."""

from __future__ import annotations

from models import accounts
from search import engine as index


def of(caller: accounts.Caller) -> index.Scope:
    """What this caller may find besides what is public."""
    sees = accounts.visibility(caller)
    return index.Scope(
        places=frozenset(map(str, sees.places)),
        partners=frozenset(map(str, sees.partners)),
        everything=sees.everything,
    )
