"""Licences of candidates, on the local days of their offerings."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any

from models import base, engine
from search import statements, windows
from search.gates import Licence


async def of(
    holders: Sequence[tuple[str, str, str]], kinds: set[str] | None
) -> dict[str, tuple[Licence, ...]]:
    """Licences by offering: its own, and those of its partner that belong to no single one, for
    (offering, partner, time zone).

    Only those of the kinds, if any are named: no gate and no part asks for others.
    """
    own = await _held("offering", {offering for offering, _, _ in holders}, kinds)
    # Not `offering IS NULL`: SQLite would go through all that are of no single offering.
    shared = await _held(
        "COALESCE(offering, partner) = partner AND partner", {of for _, of, _ in holders}, kinds
    )
    return {
        offering: tuple(
            _licence(*held, zone) for held in (*own.get(offering, ()), *shared.get(partner, ()))
        )
        for offering, partner, zone in holders
    }


async def _held(
    column: str, holders: set[str], kinds: set[str] | None
) -> dict[str, list[tuple[Any, ...]]]:
    """Licences by holder, oldest first; `column` names the holder, the last word of a condition."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    asked = sorted(holders)
    for start in range(0, len(asked), statements.LONGEST):
        where = base.Where()
        several = asked[start : start + statements.LONGEST]
        where.add(f"{column} IN ({where.values(statements.filled(several, several[0]))})")
        if kinds:
            named = sorted(kinds)
            where.add(f"kind IN ({where.values(statements.filled(named, named[0]))})")
        for holder, *held in await engine.rows(
            f"SELECT {column.split()[-1]}, kind, issuer, valid_from, valid_to,"
            f" verified_by IS NOT NULL FROM credential WHERE {where} ORDER BY id",
            *where.args,
        ):
            found.setdefault(str(holder), []).append(tuple(held))
    return found


@functools.lru_cache(maxsize=16_384)
def _licence(
    kind: str,
    issuer: str,
    begins: str | dt.date | None,
    ends: str | dt.date | None,
    verified: int,
    zone: str,
) -> Licence:
    """A licence on the local days of its offering. Numbers are not compared, and not everybody's
    to know."""
    return Licence(
        kind,
        issuer,
        "",
        None if begins is None else windows.start_of_day(_date(begins), zone),
        None if ends is None else windows.end_of_day(_date(ends), zone),
        bool(verified),
    )


def _date(value: str | dt.date) -> dt.date:
    """A date of a row: text on SQLite."""
    return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
