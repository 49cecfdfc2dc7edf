"""What goes on at a site: its spaces, and who uses each of them now and next."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from models import accounts, base, bookings, engine, kin, needs, offerings, values


class Use(Struct, kw_only=True):
    """A confirmed booking as everybody may know it: when, and where they may know that too, for
    which service or resident group."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    service_type: str | None = None
    group_id: uuid.UUID | None = None


class SpaceUse(Struct, kw_only=True):
    """A space of a site. What is part of it is booked by itself, so it does not show here."""

    offering_id: uuid.UUID
    parent_id: uuid.UUID | None
    level: kin.Level | None
    title: values.Bilingual
    status: offerings.OfferingStatus
    capacity: int | None
    area_m2: int | None
    now: Use | None
    next: Use | None


class Site(Struct, kw_only=True):
    """The spaces of a site that may be seen, the largest first: site, floors, rooms."""

    as_of: dt.datetime
    spaces: list[SpaceUse]


async def of(offering: offerings.OfferingRecord, sees: accounts.Visibility) -> Site:
    """The whole tree that a space stands in, or the space alone if it stands in none."""
    moment = base.now()
    top = await kin.root_of(offering.id)
    seen = await offerings.read_many([top, *await kin.of(top)], sees)
    ids = [space.id for space in seen]
    stands = await _stands(ids)
    uses = await _uses(ids, bookings.minute(moment), sees)
    spaces = [
        _space(space, stands.get(space.id, {}), uses.get(space.id, []), ids, moment)
        for space in seen
    ]
    spaces.sort(key=lambda space: -kin.RANK[space.level] if space.level else 0)
    return Site(as_of=moment, spaces=spaces)


def _space(
    space: offerings.OfferingRecord,
    stands: dict[str, Any],
    uses: Sequence[Use],
    seen: Sequence[uuid.UUID],
    moment: dt.datetime,
) -> SpaceUse:
    parent = base.as_id(stands["parent"]) if stands.get("parent") else None
    return SpaceUse(
        offering_id=space.id,
        parent_id=parent if parent in seen else None,
        level=stands.get("level"),
        title=space.title,
        status=space.status,
        capacity=space.capacity,
        area_m2=stands.get("area_m2"),
        now=next((use for use in uses if use.starts_at <= moment), None),
        next=next((use for use in uses if use.starts_at > moment), None),
    )


async def _stands(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    rows = await engine.fetch(
        f"SELECT * FROM space WHERE offering IN ({base.placeholders(len(ids))})", *ids
    )
    return {base.as_id(row["offering"]): row for row in rows}


async def _uses(
    ids: Sequence[uuid.UUID], now: int, sees: accounts.Visibility
) -> dict[uuid.UUID, list[Use]]:
    """The confirmed booking of each space that goes on now, and its next one."""
    where = base.Where()
    where.add(f"b.offering IN ({where.values(ids)}) AND b.status = 'confirmed'")
    where.add(
        "b.ends > {} AND (b.starts <= {} OR b.starts = (SELECT min(n.starts) FROM booking n"
        " WHERE n.offering = b.offering AND n.status = 'confirmed' AND n.starts > {}))",
        now,
        now,
        now,
    )
    rows = await engine.rows(
        "SELECT b.offering, b.starts, b.ends, b.need, b.booked_for FROM booking b"
        f" WHERE {where} ORDER BY b.starts",
        *where.args,
    )
    services = await _services({base.as_id(row[3]) for row in rows if row[3]}, sees)
    groups = await _groups({base.as_id(row[4]) for row in rows if row[4]}, sees)
    found: dict[uuid.UUID, list[Use]] = {}
    for offering, starts, ends, need, group in rows:
        found.setdefault(base.as_id(offering), []).append(
            Use(
                starts_at=bookings.moment_of(starts),
                ends_at=bookings.moment_of(ends),
                service_type=services.get(base.as_id(need)) if need else None,
                group_id=base.as_id(group) if group and base.as_id(group) in groups else None,
            )
        )
    return found


async def _services(asked: set[uuid.UUID], sees: accounts.Visibility) -> dict[uuid.UUID, str]:
    """The service types of those of the needs that may be seen."""
    if not asked:
        return {}
    where = base.Where()
    where.add(f"id IN ({where.values(sorted(asked))})")
    sees.restrict(where, needs.PUBLIC, "place", None)
    rows = await engine.rows(f"SELECT id, service_type FROM need WHERE {where}", *where.args)
    return {base.as_id(need): service for need, service in rows}


async def _groups(asked: set[uuid.UUID], sees: accounts.Visibility) -> frozenset[uuid.UUID]:
    """Those of the groups that may be seen."""
    if not asked:
        return frozenset()
    where = base.Where()
    where.add(f"id IN ({where.values(sorted(asked))})")
    sees.restrict(where, "status = 'admitted'", "place", "id")
    rows = await engine.rows(f"SELECT id FROM partner WHERE {where}", *where.args)
    return frozenset(base.as_id(group) for (group,) in rows)
