"""Reading agreements: for the staff of the need's place and the people of the parties."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, structs

from models import accounts, base, bookings, disclosure, engine, errors, needs, values
from models.agreements import lifecycle
from models.agreements.records import (
    AgreementRecord,
    CommitmentRecord,
    EventRecord,
    Funding,
    PartyRecord,
    TimeRecord,
)
from models.agreements.terms import Money, unpack

# In these the parties have accepted, and know what only they may know.
_ACCEPTED = frozenset({"active", "suspended", "ended", "completed", "reviewed"})
# So many of those in the way are named.
_NAMED = 5
Times = tuple[tuple[int, int], ...]
_read_times = msgspec.json.Decoder(Times)


def restrict(where: base.Where, sees: accounts.Visibility, agreement: str, place: str) -> None:
    """Only what belongs to an agreement of the caller's own places or partners: `agreement` and
    `place` are the columns that name the two."""
    if sees.everything:
        return
    mine = "1 = 0"
    if sees.partners:
        partners = where.values(sorted(sees.partners))
        mine = f"{agreement} IN (SELECT agreement FROM party WHERE partner IN ({partners}))"
    sees.restrict(where, mine, place, None)


async def read(
    agreement_id: uuid.UUID, sees: accounts.Visibility = accounts.EVERYTHING
) -> AgreementRecord:
    """One agreement, or the not-found refusal: for a missing one and a hidden one alike."""
    where = base.Where()
    where.add("a.id = {}", agreement_id)
    restrict(where, sees, "a.id", "a.place")
    rows = await engine.fetch(f"SELECT * FROM agreement a WHERE {where}", *where.args)
    if not rows:
        raise errors.not_found()
    return (await shape(rows))[0]


async def browse(
    sees: accounts.Visibility,
    *,
    after: uuid.UUID | None,
    limit: int,
    need: uuid.UUID | None = None,
    partner: uuid.UUID | None = None,
    offering: uuid.UUID | None = None,
    state: str | None = None,
    within: uuid.UUID | None = None,
) -> list[AgreementRecord]:
    """Up to `limit` agreements that the caller may see, newest first."""
    where = base.Where()
    restrict(where, sees, "a.id", "a.place")
    if need:
        where.add("a.need = {}", need)
    if partner:
        where.add("a.id IN (SELECT agreement FROM party WHERE partner = {})", partner)
    if offering:
        where.add("a.id IN (SELECT agreement FROM commitment WHERE offering = {})", offering)
    if state:
        where.add("a.state = {}", state)
    if within:
        sees.within(where, within, "a.place", "a.public_place", None)
    where.page("a.id", after)
    rows = await engine.fetch(
        f"SELECT * FROM agreement a WHERE {where} ORDER BY a.id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return await shape(rows)


async def open_of(column: str, subject: uuid.UUID) -> list[AgreementRecord]:
    """The agreements that are proposed, active or suspended of a `partner`, with an `offering`, or
    for a `need`."""
    inside = {
        "partner": "a.id IN (SELECT agreement FROM party WHERE partner = $1 AND answer <> 'left')",
        "offering": "a.id IN (SELECT agreement FROM commitment WHERE offering = $1"
        " AND status IN ('proposed', 'live'))",
        "need": "a.need = $1",
    }[column]
    states = ", ".join(f"'{state}'" for state in lifecycle.OPEN)
    rows = await engine.fetch(
        f"SELECT * FROM agreement a WHERE {inside} AND a.state IN ({states}) ORDER BY a.id",
        subject,
    )
    return await shape(rows)


async def refuse_live(column: str, subject: uuid.UUID) -> None:
    """Refuse to take away what an active or suspended agreement stands on (see `open_of`)."""
    live = [one for one in await open_of(column, subject) if one.state in lifecycle.LIVE]
    if live:
        named = ", ".join(f"agreement {one.id}" for one in live[:_NAMED])
        raise errors.Refusal("in_use", what=named)


async def events(agreement_id: uuid.UUID) -> list[EventRecord]:
    """The life of an agreement so far, oldest first."""
    rows = await engine.fetch(
        "SELECT * FROM agreement_event WHERE agreement = $1 ORDER BY id", agreement_id
    )
    return [
        base.record(
            {**row, "party_id": row["party"], "commitment_id": row["commitment"]}, EventRecord
        )
        for row in rows
    ]


async def times(agreement_id: uuid.UUID) -> list[TimeRecord]:
    """The times that every commitment which stands asks for, in order."""
    found = [
        TimeRecord(base.as_id(one), bookings.moment_of(starts), bookings.moment_of(ends))
        for one, text in await engine.rows(
            "SELECT id, times FROM commitment WHERE agreement = $1"
            " AND status IN ('proposed', 'live')",
            agreement_id,
        )
        for starts, ends in times_of(text)
    ]
    return sorted(found, key=lambda time: (time.starts_at, time.ends_at, time.commitment_id))


async def declined(within: uuid.UUID, sees: accounts.Visibility) -> dict[values.Reason, int]:
    """How many parties have said no to agreements for needs of a place and everything below it, by
    reason; of the places whose staff these eyes are."""
    where, bare = base.Where(), base.Where()
    where.add("y.decline_reason IS NOT NULL")
    where.within("a.place", within)
    sees.restrict(where, "1 = 0", "a.place", None)
    bare.args = where.args
    # What was proposed before there were agreements.
    bare.add(
        "q.status = 'declined' AND NOT EXISTS (SELECT 1 FROM commitment c WHERE c.proposal = q.id)"
    )
    bare.within("q.place", within)
    sees.restrict(bare, "1 = 0", "q.place", None)
    rows = await engine.rows(
        "SELECT reason, count(*) FROM (SELECT y.decline_reason AS reason FROM party y"
        f" JOIN agreement a ON a.id = y.agreement WHERE {where} UNION ALL"
        f" SELECT q.decline_reason FROM proposal q WHERE {bare}) told GROUP BY reason",
        *where.args,
    )
    return dict(rows)


def times_of(text: str) -> Times:
    """The column of times."""
    return _read_times.decode(text)


async def shown(
    sees: accounts.Visibility, agreements: Sequence[AgreementRecord]
) -> list[AgreementRecord]:
    """Agreements as these eyes may read them: where exactly somebody needs help, and how to reach
    the others, is for the parties once all have accepted."""
    near = await accounts.inside(sees, [agreement.place_id for agreement in agreements])
    far = [a.need_id for a in agreements if not sees.everything and a.place_id not in near]
    public = await needs.public_places_of(far)
    return [
        _shown(sees, one, public.get(one.need_id, one.place_id), one.place_id in near)
        for one in agreements
    ]


def _shown(
    sees: accounts.Visibility, agreement: AgreementRecord, public: uuid.UUID, is_near: bool
) -> AgreementRecord:
    accepted = agreement.state in _ACCEPTED
    is_party = any(
        party.partner_id in sees.partners and party.answer == "accepted"
        for party in agreement.parties
    )
    exact = is_near or sees.everything or (accepted and is_party)
    return structs.replace(
        agreement,
        place_id=agreement.place_id if exact else public,
        location=agreement.location if exact else UNSET,
        parties=tuple(
            _party_shown(party, agreement.state in lifecycle.LIVE and exact, is_party)
            for party in agreement.parties
        ),
    )


def _party_shown(party: PartyRecord, may_call: bool, whole: bool) -> PartyRecord:
    if not may_call or not party.partner_id:
        return structs.replace(party, contact_name=UNSET, contact_phone=UNSET)
    if not whole and isinstance(party.contact_phone, str):
        return structs.replace(party, contact_phone=disclosure.mask(party.contact_phone))
    return party


async def shape(rows: Sequence[dict[str, Any]]) -> list[AgreementRecord]:
    """Rows of `agreement` as records, with their parties and commitments."""
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    inside = base.placeholders(len(ids))
    parties = _grouped(
        await engine.fetch(
            "SELECT y.*, p.contact_name, p.contact_phone FROM party y"
            f" LEFT JOIN partner p ON p.id = y.partner WHERE y.agreement IN ({inside})"
            " ORDER BY y.id",
            *ids,
        )
    )
    commitments = _grouped(
        await engine.fetch(
            f"SELECT * FROM commitment WHERE agreement IN ({inside}) ORDER BY id", *ids
        )
    )
    located = {
        str(need): values.point(lat, lon)
        for need, lat, lon in await engine.rows(
            f"SELECT id, lat_e6, lon_e6 FROM need WHERE id IN ({inside})",
            *(row["need"] for row in rows),
        )
    }
    return [
        _shape(row, parties[str(row["id"])], commitments.get(str(row["id"]), []), located)
        for row in rows
    ]


def _grouped(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["agreement"]), []).append(row)
    return found


def _shape(
    row: dict[str, Any],
    parties: list[dict[str, Any]],
    commitments: list[dict[str, Any]],
    located: dict[str, values.Point | None],
) -> AgreementRecord:
    gives = tuple(commitment(one) for one in commitments)
    return base.record(
        {
            **row,
            "need_id": row["need"],
            "place_id": row["place"],
            "plan_id": row["plan"],
            "title": {"zh": row["title_zh"], "en": row["title_en"]},
            "parties": [{**party, "partner_id": party["partner"]} for party in parties],
            "commitments": gives,
            "funding": funding(row["cost_amount"], row["cost_currency"], gives),
            "terms": unpack(row["terms"]),
            "location": located.get(str(row["need"])),
        },
        AgreementRecord,
    )


def commitment(row: dict[str, Any]) -> CommitmentRecord:
    """A row of `commitment` as a record."""
    when = times_of(row["times"])
    value = row["value_amount"] and {
        "amount": row["value_amount"],
        "currency": row["value_currency"],
    }
    return base.record(
        {
            **row,
            "party_id": row["party"],
            "partner_id": row["partner"],
            "offering_id": row["offering"],
            "value": value or None,
            "description": {"zh": row["description_zh"], "en": row["description_en"]},
            "times": len(when),
            "first_at": _moment(when[0][0]) if when else None,
            "last_at": _moment(max(ends for _, ends in when)) if when else None,
            "score": None if row["score"] is None else row["score"] / 100,
        },
        CommitmentRecord,
    )


def _moment(minute: int) -> dt.datetime:
    return bookings.moment_of(minute)


def funding(
    cost: int | None, currency: str | None, gives: Iterable[CommitmentRecord]
) -> Funding | None:
    """What is pledged against a cost, and what is missing; None where no cost is named."""
    if cost is None or currency is None:
        return None
    pledged = {"cash": 0, "in_kind": 0}
    for one in gives:
        stands = one.status in ("proposed", "live")
        if isinstance(one.value, Money) and one.value.currency == currency and stands:
            pledged["cash" if one.kind == "cash" else "in_kind"] += one.value.amount
    missing = max(cost - sum(pledged.values()), 0)
    return Funding(currency=currency, cost=cost, gap=missing, **pledged)
