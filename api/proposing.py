"""From what somebody drafts, or a plan assigns, to what is proposed to the parties: dates, times,
places, and whether everybody fits."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence

from msgspec import structs

from models import (
    accounts,
    agreements,
    base,
    bookings,
    errors,
    needs,
    offerings,
    places,
    proposals,
    snapshots,
    values,
)
from models.agreements import filling, lifecycle
from search import fitting, scoring, windows

LONGEST = dt.timedelta(days=366)
# So far does the matcher look when a plan is checked.
_AHEAD = dt.timedelta(days=windows.HORIZON_DAYS - 1)
ANSWER_WITHIN = lifecycle.period("P7D")
# Times of one commitment: a year of three a day.
MOST_TIMES = 1_100
Dates = tuple[dt.date, dt.date]


async def from_draft(
    need: needs.NeedRecord,
    shown: needs.NeedRecord,
    draft: agreements.AgreementDraft,
    sees: accounts.Visibility,
) -> agreements.Proposing:
    """What a draft proposes, after every gate was asked for every exact time. `shown` is the need
    as the caller may know it. Refuses what does not fit, by its field."""
    if need.status != "open":
        raise errors.Refusal("wrong_state", has=f"need {need.status}", needed="need open")
    today = await _today(need)
    dates = _dates(draft, need.windows, today)
    left = await _left(need)
    asked = [
        fitting.Asked(
            role=one.role, offering=one.offering_id, quantity=one.quantity, windows=one.windows
        )
        for one in draft.members
    ]
    fitted, wrong = await fitting.fit(shown, dates, asked, left, sees)
    _refuse(need, asked, wrong)
    members = [await member(need, one) for one in fitted]
    respond_by = draft.respond_by or base.now() + ANSWER_WITHIN
    begins = _begins(members, dates)
    if draft.respond_by is None:
        respond_by = min(respond_by, begins)
    if not base.now() < respond_by <= begins:
        needed = f"after now, at the latest {begins.isoformat()}"
        raise errors.refuse_field("respond_by", "out_of_range", needed=needed)
    return agreements.Proposing(
        need=need,
        starts_on=dates[0],
        ends_on=dates[1],
        respond_by=respond_by,
        places=_places(draft.places, members, left),
        members=seated(members),
        pledges=draft.pledges,
        cost=draft.cost,
        terms=draft.terms,
    )


async def from_plan(
    need: needs.NeedRecord,
    made: Sequence[proposals.ProposalRecord],
    offered: Mapping[uuid.UUID, offerings.OfferingRecord],
) -> agreements.Proposing:
    """One agreement for what a plan proposes for a need, and has just checked for every time from
    tomorrow on that the matcher looks ahead."""
    today = await _today(need)
    dates = _usual_dates(need.windows, today)
    dates = dates[0], max(dates[0], min(dates[1], dates[0] + _AHEAD - dt.timedelta(days=1)))
    left = await _left(need)
    slots = {slot.role: slot for slot in need.slots}
    members = []
    for one in made:
        offering, slot = offered[one.offering_id], slots[one.role]
        counted = offering.kind in fitting.COUNTED
        members.append(
            agreements.Member(
                role=one.role,
                seat=one.seat,
                offering=offering.id,
                partner=offering.partner_id,
                kind=offering.kind,
                quantity=fitting.places_for(slot, offering.capacity, left) if counted else 1,
                times=fitting.times(need.windows, offering.availability, dates),
                score=round(one.score * 100),
                snapshot=one.snapshot,
                proposal=one.id,
            )
        )
    return agreements.Proposing(
        need=need,
        starts_on=dates[0],
        ends_on=dates[1],
        respond_by=min(base.now() + ANSWER_WITHIN, _begins(members, dates)),
        places=_places(None, members, left),
        members=tuple(members),
        plan=made[0].plan_id,
    )


async def member(
    need: needs.NeedRecord, one: fitting.Fitted, proposal: uuid.UUID | None = None
) -> agreements.Member:
    """Who is asked, with what was compared for it kept."""
    if len(one.times) > MOST_TIMES:
        count = len(one.times)
        raise errors.Refusal("too_many", what="times", count=count, limit=MOST_TIMES)
    return agreements.Member(
        role=one.role,
        seat=0,
        offering=uuid.UUID(one.offering.id),
        partner=uuid.UUID(one.offering.partner),
        kind=one.offering.kind,
        quantity=one.quantity if one.offering.kind in fitting.COUNTED else 1,
        times=one.times,
        score=one.match.score,
        snapshot=await snapshots.keep(need.id, one.content),
        proposal=proposal,
    )


async def newcomer(
    agreement: agreements.AgreementRecord,
    commitment: agreements.CommitmentRecord,
    wanted: uuid.UUID | None,
    need: needs.NeedRecord,
    sees: accounts.Visibility,
) -> agreements.Member:
    """Who is to replace a member: the offering wanted, or of those that fit the best.

    Refuses one that does not fit, and when nobody does.
    """
    dates = await _rest(agreement, need)
    choice = [wanted] if wanted else await candidates(agreement, commitment, need, sees)
    others = [
        one.offering_id
        for one in agreement.commitments
        if one.offering_id and one.id != commitment.id and one.status in ("proposed", "live")
    ]
    wrong: list[fitting.Misfit] = []
    asked: list[fitting.Asked] = []
    for offering in choice:
        asked = [
            fitting.Asked(role=commitment.role, offering=offering, quantity=_counted(commitment))
        ]
        fitted, wrong = await fitting.fit(need, dates, asked, commitment.quantity, sees, others)
        if fitted and not wrong:
            (found,) = seated([await member(need, fitted[0])])
            return found
    if wanted:
        _refuse(need, asked, wrong, "offering_id")
    raise errors.refuse_field("offering_id", "does_not_fit", gates="nobody", need=need.id)


async def candidates(
    agreement: agreements.AgreementRecord,
    commitment: agreements.CommitmentRecord,
    need: needs.NeedRecord,
    sees: accounts.Visibility,
    limit: int = 10,
) -> list[uuid.UUID]:
    """The offerings that fit a member's role for the rest of an agreement, best first."""
    matches = await ranked(agreement, commitment, need, sees, limit)
    return [uuid.UUID(match.offering_id) for match in matches]


async def ranked(
    agreement: agreements.AgreementRecord,
    commitment: agreements.CommitmentRecord,
    need: needs.NeedRecord,
    sees: accounts.Visibility,
    limit: int,
) -> list[scoring.Match]:
    """The same with their scores. Whoever is a member already is not asked."""
    dates = await _rest(agreement, need)
    members = {
        str(one.offering_id)
        for one in agreement.commitments
        if one.offering_id and one.status in ("proposed", "live")
    } | {str(commitment.offering_id)}
    return await fitting.replacements(
        need, dates, commitment.role, _counted(commitment), sees, limit, members
    )


async def _rest(agreement: agreements.AgreementRecord, need: needs.NeedRecord) -> Dates:
    today = await _today(need)
    first = max(agreement.starts_on, today + dt.timedelta(days=1))
    return min(first, agreement.ends_on), agreement.ends_on


async def _today(need: needs.NeedRecord) -> dt.date:
    zone = (await places.timezones([need.place_id]))[need.place_id]
    return windows.local_date(bookings.minute(base.now()), zone)


def _counted(commitment: agreements.CommitmentRecord) -> int | None:
    return commitment.quantity if commitment.kind in ("service", "goods") else None


def seated(members: Sequence[agreements.Member]) -> tuple[agreements.Member, ...]:
    """Members with their seats: the first of a role has seat 0."""
    seats: dict[str, int] = {}
    found = []
    for one in members:
        seats[one.role] = seats.get(one.role, -1) + 1
        found.append(structs.replace(one, seat=seats[one.role]))
    return tuple(found)


def _dates(
    draft: agreements.AgreementDraft, asked: Sequence[values.Window], today: dt.date
) -> Dates:
    usual = _usual_dates(asked, today)
    first = draft.starts_on or usual[0]
    if not today <= first <= today + LONGEST:
        needed = f"{today} to {today + LONGEST}"
        raise errors.refuse_field("starts_on", "out_of_range", needed=needed)
    last = draft.ends_on or max(first, min(_usual_last(asked, first), first + LONGEST))
    if not first <= last <= first + LONGEST:
        raise errors.refuse_field("ends_on", "out_of_range", needed=f"{first} to {first + LONGEST}")
    return first, last


def _usual_dates(asked: Sequence[values.Window], today: dt.date) -> Dates:
    """From tomorrow, or the first window's first date, for as long as the matcher looks ahead, or
    until the last window is over."""
    tomorrow = today + dt.timedelta(days=1)
    first = min((max(window.from_ or tomorrow, tomorrow) for window in asked), default=tomorrow)
    return first, max(first, _usual_last(asked, first))


def _usual_last(asked: Sequence[values.Window], first: dt.date) -> dt.date:
    ahead = first + dt.timedelta(days=windows.HORIZON_DAYS - 1)
    return min(ahead, max((window.until or ahead for window in asked), default=ahead))


def _begins(members: Sequence[agreements.Member], dates: Dates) -> dt.datetime:
    """When the first of its times begins; of what has none, its last day."""
    first = min((time[0] for one in members for time in one.times), default=None)
    if first is None:
        return dt.datetime.combine(dates[1], dt.time(23, 59), dt.UTC)
    return bookings.moment_of(first)


def _places(wanted: int | None, members: Sequence[agreements.Member], left: int) -> int:
    """How many people it serves: as many as its members have places for, and still lack one.
    Refuses more than lack one."""
    if wanted is not None:
        if wanted > left:
            raise errors.refuse_field("places", "out_of_range", needed=f"at most {left}")
        return wanted
    by_role: dict[str, int] = {}
    for one in members:
        if one.kind in fitting.COUNTED:
            by_role[one.role] = by_role.get(one.role, 0) + one.quantity
    return min([left, *by_role.values()])


async def _left(need: needs.NeedRecord) -> int:
    fill = (await filling.of(need)).get(filling.PLACES)
    return max(fill.wanted - fill.taken, 0) if fill else 0


def _refuse(
    need: needs.NeedRecord,
    asked: Sequence[fitting.Asked],
    wrong: Sequence[fitting.Misfit],
    field: str | None = None,
) -> None:
    """All that do not fit at once, each by its field."""
    if not wrong:
        return
    found = []
    for one in wrong:
        name = field or ("members" if one.at is None else f"members[{one.at}].offering_id")
        if one.shut or one.at is None:
            said: Mapping[str, str] = {"gates": ", ".join(one.shut), "need": str(need.id)}
            found.append(errors.FieldError(name, "does_not_fit", dict(said)))
        else:
            said = {"what": f"offering for {asked[one.at].role}"}
            value = str(asked[one.at].offering)
            found.append(errors.FieldError(name, "unknown_reference", {**said, "value": value}))
    raise errors.Refusal("unprocessable", *found)
