"""Who holds a licence at a moment: the index knows the kinds that were stated, the database whether
somebody has verified them and until when they are valid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from msgspec import Struct, structs

from models import base, bookings, engine
from search import engine as index
from search import hours, licences, statements, windows
from search.gates import Failure, Licence

_ZONE = "(SELECT l.timezone FROM place l WHERE l.id = o.public_place)"


class Restricted(Struct, frozen=True):
    """A query for those that hold every licence it asks for; why the others do not, by id; and
    whether there are more than were looked at."""

    query: index.Query
    lacking: dict[str, tuple[Failure, ...]]
    capped: bool

    @property
    def others(self) -> index.Query:
        """The same query for those that would be found, but for their licences."""
        return structs.replace(
            self.query, ids=tuple(self.lacking), facets=(), page=1, highlight=False
        )


async def restricted(
    target: index.SearchEngine, query: index.Query, scope: index.Scope, moment: dt.datetime
) -> Restricted:
    """The query for what holds verified licences of all its kinds at this moment."""
    found, capped = await hours.every_id(target, query, scope)
    minute = bookings.minute(moment)
    holds, lacking = [], {}
    for identity, zone, held in await _held(found, set(query.credentials)):
        missing = [_missing(kind, held, minute, zone) for kind in query.credentials]
        because = tuple(failure for failure in missing if failure)
        if because:
            lacking[identity] = because
        else:
            holds.append(identity)
    return Restricted(structs.replace(query, ids=tuple(holds)), lacking, capped)


async def _held(ids: Sequence[str], kinds: set[str]) -> list[tuple[str, str, tuple[Licence, ...]]]:
    """(offering, time zone, its licences and its partner's of these kinds)."""
    holders: list[tuple[str, str, str]] = []
    for start in range(0, len(ids), statements.LONGEST):
        several = [base.as_id(one) for one in ids[start : start + statements.LONGEST]]
        filled = statements.filled(several, several[0])
        rows = await engine.rows(
            f"SELECT CAST(o.id AS text), CAST(o.partner AS text), {_ZONE} FROM offering o"
            f" WHERE o.id IN ({base.placeholders(len(filled))})",
            *filled,
        )
        holders += [(identity, partner, zone) for identity, partner, zone in rows]
    held = await licences.of(holders, kinds)
    return [(identity, zone, held[identity]) for identity, _, zone in holders]


def _missing(kind: str, held: Sequence[Licence], minute: int, zone: str) -> Failure | None:
    """What keeps a holder from having a licence of this kind in this minute: of several, what the
    best of them lacks."""
    own = [licence for licence in held if licence.kind == kind]
    verified = [licence for licence in own if licence.verified]
    values, now = {"kind": kind}, windows.clock(minute, zone)
    begun = [licence for licence in verified if (licence.valid_from or minute) <= minute]
    if any(licence.valid_to is None or licence.valid_to > minute for licence in begun):
        return None
    ends = [licence.valid_to for licence in begun if licence.valid_to is not None]
    if ends:
        has = windows.clock(max(ends), zone)
        return Failure("credentials", "credentials.expires", now, has, None, values)
    starts = [licence.valid_from for licence in verified if licence.valid_from is not None]
    if starts:
        has = windows.clock(min(starts), zone)
        return Failure("credentials", "credentials.starts", now, has, None, values)
    code = "credentials.unverified" if own else "credentials.missing"
    return Failure("credentials", code, bool(own) or kind, False, None, values)
