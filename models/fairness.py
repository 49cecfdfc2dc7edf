"""The fairness account: who asked and who was served, by place and priority; who did the work.

A need is served when it was closed; one that was withdrawn does not count. How far an open one has
been filled, and money, are not counted: nothing records them yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Literal, get_args

from msgspec import Struct

from models import base, engine, values

MAX_PLACES, MAX_PARTNERS = 500, 100
_ASKED = "n.status IN ('open', 'closed')"


class Share(Struct, frozen=True, kw_only=True):
    """Needs asked for and served, the decimal share of the two (null where nobody asked), and the
    people they were for."""

    asked: int
    served: int
    share: str | None
    people_asked: int
    people_served: int


class PlaceShare(Share, frozen=True, kw_only=True):
    """What was asked for in a community or grid and everything below it."""

    place_id: uuid.UUID
    kind: Literal["community", "grid"]
    name: values.Bilingual


class PriorityShare(Share, frozen=True, kw_only=True):
    """What was asked for in a priority class."""

    priority: values.Priority


class PartnerLoad(Struct, frozen=True, kw_only=True):
    """How often an admitted partner of the place was called on, and came, anywhere so far: asked by
    proposals, and the minutes of its offerings' time that are booked."""

    partner_id: uuid.UUID
    name: values.Bilingual
    proposed: int
    declined: int
    jobs_agreed: int
    jobs_kept: int
    minutes_booked: int


class Fairness(Struct, frozen=True, kw_only=True):
    """The account of a place: its communities and grids, those with most unserved needs first; its
    partners, the busiest first. `partners_total` counts those that are not listed, too; `capped`:
    there are more places than are listed."""

    place_id: uuid.UUID
    whole: Share
    priorities: list[PriorityShare]
    places: list[PlaceShare]
    capped: bool
    partners: list[PartnerLoad]
    partners_total: int


async def of(place: uuid.UUID) -> Fairness:
    """The account of a place and everything below it. For those who work there."""
    priorities = await _priorities(place)
    found = await _places(place)
    loads = await _loads(place)
    return Fairness(
        place_id=place,
        whole=Share(**share(priorities.values())),
        priorities=[
            PriorityShare(priority=name, **share([priorities.get(name, (0, 0, 0, 0))]))
            for name in get_args(values.Priority)
        ],
        places=found[:MAX_PLACES],
        capped=len(found) > MAX_PLACES,
        partners=[
            PartnerLoad(
                partner_id=base.as_id(row["id"]),
                name=values.Bilingual(row["name_zh"], row["name_en"]),
                proposed=row["proposed"],
                declined=row["declined"],
                jobs_agreed=row["agreed"],
                jobs_kept=row["kept"],
                minutes_booked=row["minutes"],
            )
            for row in loads
        ],
        partners_total=loads[0]["total"] if loads else 0,
    )


def share(counts: Iterable[tuple[int, int, int, int]]) -> dict[str, Any]:
    """The fields of a Share from counts of needs and people, asked and served; the share has three
    decimals, rounded down: nobody is served who was not."""
    asked, served, people_asked, people_served = (sum(each) for each in _columns(counts))
    thousandths = served * 1_000 // asked if asked else None
    return {
        "asked": asked,
        "served": served,
        "share": None
        if thousandths is None
        else f"{thousandths // 1_000}.{thousandths % 1_000:03d}",
        "people_asked": people_asked,
        "people_served": people_served,
    }


def _columns(counts: Iterable[tuple[int, int, int, int]]) -> Iterable[tuple[int, ...]]:
    return zip(*counts, strict=True) if (counts := list(counts)) else ((), (), (), ())


# Of the needs of a group, so many and for so many people, and those of them that were served.
_COUNTS = (
    "count(n.id) AS asked,"
    " coalesce(sum(CASE WHEN n.status = 'closed' THEN 1 ELSE 0 END), 0) AS served,"
    " coalesce(sum(n.beneficiaries), 0) AS people_asked,"
    " coalesce(sum(CASE WHEN n.status = 'closed' THEN n.beneficiaries ELSE 0 END), 0)"
    " AS people_served"
)
_BELOW = "(SELECT descendant FROM place_closure WHERE ancestor = $1)"
# What was proposed before there were agreements.
_BARE = (
    "SELECT count(*) FROM proposal q WHERE q.partner = p.id"
    " AND NOT EXISTS (SELECT 1 FROM commitment c WHERE c.proposal = q.id)"
)


async def _priorities(place: uuid.UUID) -> dict[str, tuple[int, int, int, int]]:
    rows = await engine.rows(
        f"SELECT n.priority, {_COUNTS} FROM need n WHERE {_ASKED} AND n.place IN {_BELOW}"
        " GROUP BY n.priority",
        place,
    )
    return {priority: tuple(counts) for priority, *counts in rows}


async def _places(place: uuid.UUID) -> list[PlaceShare]:
    """Communities and grids in the place, those where nobody asked last."""
    rows = await engine.rows(
        f"SELECT * FROM (SELECT a.id, a.kind, a.name_zh, a.name_en, {_COUNTS} FROM place a"
        " JOIN place_closure c ON c.ancestor = a.id"
        f" LEFT JOIN need n ON n.place = c.descendant AND {_ASKED}"
        f" WHERE a.id IN {_BELOW} AND a.kind IN ('community', 'grid') AND a.status = 'active'"
        " GROUP BY a.id, a.kind, a.name_zh, a.name_en) counted"
        f" ORDER BY asked - served DESC, asked DESC, id LIMIT {MAX_PLACES + 1}",
        place,
    )
    return [
        PlaceShare(
            place_id=base.as_id(identity),
            kind=kind,
            name=values.Bilingual(zh, en),
            **share([tuple(counts)]),
        )
        for identity, kind, zh, en, *counts in rows
    ]


async def _loads(place: uuid.UUID) -> list[dict[str, Any]]:
    return await engine.fetch(
        "SELECT p.id, p.name_zh, p.name_en, coalesce(sum(o.jobs_agreed), 0) AS agreed,"
        " coalesce(sum(o.jobs_kept), 0) AS kept, count(*) OVER () AS total,"
        f" (SELECT count(*) FROM party y WHERE y.partner = p.id) + ({_BARE}) AS proposed,"
        " (SELECT count(*) FROM party y WHERE y.partner = p.id AND y.decline_reason IS NOT NULL)"
        f" + ({_BARE} AND q.status = 'declined') AS declined,"
        " (SELECT CAST(coalesce(sum(b.ends - b.starts), 0) AS bigint) FROM booking b"
        " JOIN offering f ON f.id = b.offering"
        " WHERE f.partner = p.id AND b.status = 'confirmed') AS minutes"
        " FROM partner p LEFT JOIN offering o ON o.partner = p.id"
        f" WHERE p.status = 'admitted' AND p.place IN {_BELOW}"
        f" GROUP BY p.id, p.name_zh, p.name_en ORDER BY 4 DESC, 9 DESC, p.id LIMIT {MAX_PARTNERS}",
        place,
    )
