"""How a match, a reason and a mend are answered, wherever somebody is matched."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from api import language, requests
from api.requests import StrictRequest
from models import accounts, disclosure, offerings, values
from search import scoring, whynot, wording
from search.gates import Failure, Mend


class PartOut(Struct):
    """One part of a score: 0.00 to 100.00, its weight, and the values compared, in words."""

    part: str
    value: float
    weight: int
    because: str


class OfferingBrief(Struct):
    """What a list of matches says of an offering; `GET /v1/offerings/{id}` has the rest."""

    id: uuid.UUID
    kind: values.OfferingKind
    title: values.Bilingual
    partner_id: uuid.UUID
    place_id: uuid.UUID
    distance_m: int | None
    version: int


class MatchOut(Struct):
    """An offering that fits. `score` is the weighed mean of its parts, 0.00 to 100.00."""

    offering: OfferingBrief
    score: float
    parts: list[PartOut]


class MendOut(Struct):
    """The smallest change that would open a gate. `field` of `target` set to `value` is all it
    takes; `text` says it in words."""

    action: str
    target: str
    field: str
    value: Any
    text: str


class FailureOut(Struct):
    """A gate that is shut: what was needed, what is there, and the mend where there is one."""

    gate: str
    needed: Any
    has: Any
    text: str
    mend: MendOut | None


class ExclusionOut(Struct):
    """An offering that does not fit, every reason, and the score it would have."""

    offering: OfferingBrief
    would_score: float
    because: list[FailureOut]


class FunnelOut(Struct):
    """How many offerings a gate keeps out, and how many it alone keeps out."""

    gate: str
    excluded: int
    alone: int


def brief(offering: offerings.OfferingRecord, distance_m: int | None) -> OfferingBrief:
    """An offering in a list of matches."""
    return OfferingBrief(
        offering.id,
        offering.kind,
        offering.title,
        offering.partner_id,
        offering.place_id,
        distance_m,
        offering.version,
    )


def parts(match: scoring.Match, tongue: language.Language) -> list[PartOut]:
    """Why a match has its score."""
    return [
        PartOut(part.part, part.value / 100, part.weight, wording.say_part(part, tongue))
        for part in match.parts
    ]


def exclusion(
    entry: scoring.Exclusion, offering: offerings.OfferingRecord, tongue: language.Language
) -> ExclusionOut:
    """Who does not fit, and why."""
    because = [failure_out(failure, tongue) for failure in entry.because]
    return ExclusionOut(brief(offering, None), entry.would_score / 100, because)


def funnel(steps: Iterable[whynot.Funnel]) -> list[FunnelOut]:
    """How many each gate keeps out."""
    return [FunnelOut(step.gate, step.excluded, step.alone) for step in steps]


def failure_out(failure: Failure, tongue: language.Language) -> FailureOut:
    """One gate that is shut."""
    return FailureOut(
        failure.gate,
        failure.needed,
        failure.has,
        wording.say_failure(failure, tongue),
        _mend(failure.mend, tongue) if failure.mend else None,
    )


def _mend(mend: Mend, tongue: language.Language) -> MendOut:
    text = wording.say_mend(mend, tongue)
    return MendOut(mend.action, mend.target, mend.field, mend.value, text)


def tongue_of(request: StrictRequest) -> language.Language:
    """The language in which to answer in words."""
    return language.choose(requests.header(request, b"accept-language") or "")


async def briefs(
    shown: Iterable[str], sees: accounts.Visibility
) -> dict[str, offerings.OfferingRecord]:
    """These offerings by id, those of them that the caller may see."""
    found = await offerings.read_many([uuid.UUID(name) for name in sorted(shown)], sees)
    return {str(offering.id): offering for offering in await disclosure.all_shown(sees, found)}
