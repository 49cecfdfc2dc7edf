"""The terms of an agreement: its price, its rent in hours, its share for the fund, its contract.

Everything here is pure. Money is in minor units, rent in minutes, shares in basis points; whatever
is divided adds up again to the last unit.
"""

from __future__ import annotations

import calendar
import datetime as dt
import uuid
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from models import errors, values

WHOLE_BP = 10_000
Cents = Annotated[int, Meta(ge=1, le=10**12)]
# A day is when its date is; in no zone does a month begin on another date than the first.
Month = Annotated[str, Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])\Z", description="a month, YYYY-MM")]


class Money(Struct, frozen=True, forbid_unknown_fields=True):
    """Minor units (fen) of a currency, in all."""

    amount: Cents
    currency: values.Currency = "CNY"


class Rent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a partner gives for the use of a space: hours of public-benefit service each month.

    `occurrences_count`: what this agreement itself serves is such service, beside the hours that
    the staff of the place record. `hour_worth` is what an hour is worth, where that was agreed on.
    """

    partner_id: uuid.UUID
    hours_per_month: Annotated[int, Meta(ge=1, le=744)]
    occurrences_count: bool = True
    hour_worth: Money | None = None


class RevenueShare(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of what a partner earns, so many basis points (1 = 0.01 %) go to the community fund."""

    partner_id: uuid.UUID
    share_bp: Annotated[int, Meta(ge=1, le=WHOLE_BP)]


class MilestoneTerms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a lot that is assessed and paid for by itself; its name is its address."""

    name: values.Slug
    title: values.Bilingual
    amount: Cents
    due_on: dt.date | None = None


class Lot(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a service contract."""

    title: values.Bilingual
    milestones: Annotated[tuple[MilestoneTerms, ...], Meta(min_length=1, max_length=20)]


class Contract(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A purchase of services: a milestone is paid for as far as it was approved.

    An inspector approves a share of it. Nothing is paid before at least `scores_needed` of those
    served have given 1 to 5 points, on average `score_needed` or more. They are who has enrolled,
    and the accounts named in `assessors`.
    """

    partner_id: uuid.UUID
    currency: values.Currency = "CNY"
    lots: Annotated[tuple[Lot, ...], Meta(min_length=1, max_length=20)]
    scores_needed: Annotated[int, Meta(ge=0, le=1000)] = 3
    score_needed: Annotated[int, Meta(ge=1, le=5)] = 3
    assessors: Annotated[tuple[uuid.UUID, ...], Meta(max_length=100)] = ()

    def __post_init__(self) -> None:
        names = [milestone.name for milestone in self.milestones]
        if len(set(names)) != len(names):
            raise ValueError("lots: each name of a milestone once")

    @property
    def milestones(self) -> tuple[MilestoneTerms, ...]:
        """The milestones of every lot."""
        return tuple(milestone for lot in self.lots for milestone in lot.milestones)


class Terms(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is paid for what, and how. `tier` is how far the price is from the market's: `public`
    costs nothing, `space_for_service` is paid in hours of service."""

    tier: values.PriceTier
    price: values.Price | None = None
    rent: Rent | None = None
    revenue_share: RevenueShare | None = None
    contract: Contract | None = None

    def __post_init__(self) -> None:
        paid = self.price is not None and self.price.amount > 0
        if self.tier == "public" and paid:
            raise ValueError("price: nothing, in the tier public")
        if self.tier in ("low_fee", "market") and not paid:
            raise ValueError("price: more than nothing, in the tiers low_fee and market")
        if (self.tier == "space_for_service") != (self.rent is not None):
            raise ValueError("rent: in the tier space_for_service, and in no other")


_decoder: msgspec.json.Decoder[Terms | None] = msgspec.json.Decoder(Terms | None)


def unpack(text: str) -> Terms | None:
    """Terms as an agreement's row keeps them."""
    return _decoder.decode(text)


def check(terms: Terms | None, partners: Iterable[uuid.UUID | None]) -> None:
    """Refuse terms for a partner that is not one of the agreement's, naming the field."""
    known = set(partners)
    for name in ("rent", "revenue_share", "contract"):
        part = getattr(terms, name) if terms else None
        if part is not None and part.partner_id not in known:
            raise errors.refuse_field(
                f"terms.{name}.partner_id",
                "unknown_reference",
                what="partner of the agreement",
                value=str(part.partner_id),
            )


def handed_on(terms: Terms, before: uuid.UUID, after: uuid.UUID) -> Terms:
    """The same terms for another partner than one that is replaced."""
    changes = {}
    for name in ("rent", "revenue_share", "contract"):
        part = getattr(terms, name)
        if part is not None and part.partner_id == before:
            changes[name] = msgspec.structs.replace(part, partner_id=after)
    return msgspec.structs.replace(terms, **changes)


def shares(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """A total of 0 or more in parts as the weights are, which add up to it exactly.

    Largest remainder (Hamilton): each gets the whole units of its part; what is left goes, a unit
    each, to the largest fractions, of equal ones to the first. Refuses (ValueError) weights of
    which none is above zero, or one is below.
    """
    whole = sum(weights)
    if total < 0 or whole <= 0 or min(weights) < 0:
        raise ValueError(f"nothing to share by: {total} by {weights}")
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: -(total * weights[at] % whole))
    for at in by_remainder[: total - sum(parts)]:
        parts[at] += 1
    return tuple(parts)


def fund_part(amount: int, share_bp: int) -> int:
    """What of an amount goes to the fund; the rest stays with the partner."""
    return shares(amount, (share_bp, WHOLE_BP - share_bp))[0]


# Months, by the clock on the wall of the place


def month_of(moment: dt.datetime, zone: str) -> dt.date:
    """The month of a moment at a place, as its first day."""
    return day_of(moment, zone).replace(day=1)


def day_of(moment: dt.datetime, zone: str) -> dt.date:
    """The date of a moment at a place."""
    return moment.astimezone(zoneinfo.ZoneInfo(zone)).date()


def month_after(month: dt.date) -> dt.date:
    """The first day of the next month."""
    return (month.replace(day=28) + dt.timedelta(days=4)).replace(day=1)


def month_begins(month: dt.date, zone: str) -> dt.datetime:
    """The moment at which a month begins at a place, in UTC."""
    wall = dt.datetime(month.year, month.month, 1, tzinfo=zoneinfo.ZoneInfo(zone))
    return wall.astimezone(dt.UTC)


def month_ends(month: dt.date, zone: str) -> dt.datetime:
    """The moment at which a month is over at a place, in UTC."""
    return month_begins(month_after(month), zone)


def parse_month(text: str) -> dt.date:
    """`2027-03` as the first day of that month."""
    return dt.date.fromisoformat(f"{text}-01")


# Rent


class Span(Struct, frozen=True, order=True):
    """Days on which an agreement held, the last one included."""

    first: dt.date
    last: dt.date


def spans(
    changes: Iterable[tuple[dt.datetime, bool]], now: dt.datetime, zone: str, within: Span
) -> tuple[Span, ...]:
    """The days on which an agreement held at any time, from when it began and ceased to.

    `changes` are (moment, whether it holds from then on), in order; one that holds still holds
    until `now`. No day is in two spans, and all are `within` the dates agreed on.
    """
    found: list[Span] = []
    begins: dt.datetime | None = None
    for moment, holds in (*changes, (now, False)):
        if holds:
            begins = begins or moment
        elif begins is not None:
            first = max(day_of(begins, zone), within.first)
            if found:
                first = max(first, found[-1].last + dt.timedelta(days=1))
            # What ends at midnight did not hold on the day that begins then.
            last = min(day_of(moment - dt.timedelta.resolution, zone), within.last)
            if first <= last:
                found.append(Span(first, last))
            begins = None
    return tuple(found)


def owed(minutes: int, month: dt.date, held: Iterable[Span]) -> int:
    """Of the minutes of a whole month, what the days on which the agreement held owe.

    Each span is rounded at its two ends alike, so that the same days owe the same, however they
    are split.
    """
    days = calendar.monthrange(month.year, month.month)[1]
    end = month.replace(day=days)
    total = 0
    for span in held:
        first, last = max(span.first, month), min(span.last, end)
        if first <= last:
            total += minutes * last.day // days - minutes * (first.day - 1) // days
    return total


def worth(minutes: int, hour: Money | None) -> Money | None:
    """What so many minutes are worth by the hour, rounded down to a minor unit; None without a
    worth of an hour, and of nothing."""
    amount = minutes * hour.amount // 60 if hour else 0
    return Money(amount, hour.currency) if hour and amount > 0 else None


# Service contracts


def approved(
    contract: Contract, milestone: MilestoneTerms, inspected_bp: int | None, scores: Sequence[int]
) -> int:
    """What of a milestone may be paid: the inspected share of it, rounded down; nothing before it
    was inspected, and nothing while those served have not found it good enough."""
    if inspected_bp is None or len(scores) < contract.scores_needed:
        return 0
    if sum(scores) < contract.score_needed * len(scores):
        return 0
    return milestone.amount * inspected_bp // WHOLE_BP
