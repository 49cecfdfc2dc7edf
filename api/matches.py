"""Who fits a need, why, and why not the others; and which needs an offering fits."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct

from api import answers, auth, language, paging
from api.requests import StrictRequest
from models import accounts, disclosure, errors, needs, offerings, places, snapshots, values
from search import candidates, matching, scoring, wording
from search.gates import Failure, Mend

Role = Annotated[
    str | None,
    QueryParameter(name="slot", pattern=r"^[a-z0-9_-]{1,64}\Z", description="Only this role."),
]
_PREVIEW = uuid.UUID(int=0)


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


class SlotOut(Struct, omit_defaults=True):
    """One role of the need. The `excluded` fields are there when asked for."""

    role: str
    matches: list[MatchOut]
    excluded: list[ExclusionOut] | None = None
    excluded_total: int | None = None
    funnel: list[FunnelOut] | None = None


class MatchesOut(Struct):
    """The ranked offerings of every slot. `snapshot` names what was compared, where it is kept:
    for a stored need and a caller who has signed in."""

    slots: list[SlotOut]
    snapshot: str | None


class NeedBrief(Struct):
    """What a list of fitting needs says of a need."""

    id: uuid.UUID
    title: values.Bilingual
    service_type: str
    place_id: uuid.UUID
    distance_m: int | None
    version: int


class NeedMatchOut(Struct):
    """A need that the offering fits, in one of its roles."""

    need: NeedBrief
    role: str
    score: float
    parts: list[PartOut]


class NeedMatchesOut(Struct):
    """The open needs that an offering fits, best first."""

    matches: list[NeedMatchOut]


class ReplayOut(Struct):
    """A stored comparison worked out again: per offering the score then and now."""

    digest: str
    same: bool
    scores: list[dict[str, Any]]


class MatchController(Controller):
    """The matcher."""

    path = "/v1"
    tags = ("matches",)

    @post("/needs/preview", operation_id="preview_need", summary="Try a need", status_code=200)
    async def preview(
        self,
        request: StrictRequest,
        data: JSONBody[needs.NeedDraft],
        slot: Role = None,
        include: FromQuery[Literal["excluded"] | None] = None,
        limit: paging.Limit = 10,
    ) -> Response[MatchesOut]:
        """Rank offerings for a need without saving anything; anybody may try."""
        draft = await needs.complete(data)
        place = await places.read(draft.place_id)
        facts = candidates.facts_of(str(_PREVIEW), 1, draft, place.timezone)
        sees = accounts.visibility(request.user)
        ranking = await matching.rank(
            facts,
            draft.place_id,
            _slots(draft.slots, slot),
            sees,
            limit=limit,
            excluded=include == "excluded",
        )
        return answers.plain(await _matches(request, ranking, sees, None))

    @get("/needs/{need_id:uuid}/matches", operation_id="match_need", summary="Who fits a need")
    async def matches(
        self,
        request: StrictRequest,
        need_id: FromPath[uuid.UUID],
        slot: Role = None,
        include: FromQuery[Literal["excluded"] | None] = None,
        limit: paging.Limit = 10,
    ) -> Response[MatchesOut]:
        """Ranked offerings for each slot, with every part of their scores; `include=excluded`
        adds who was left out, why, and the smallest change that would let each in. Homes whose
        exact location is not yours to know are compared at the middle of their cell."""
        sees = accounts.visibility(request.user)
        need = await disclosure.shown(sees, await needs.read(need_id, sees))
        place = await places.read(need.place_id)
        ranking = await matching.rank(
            candidates.need_facts(need, place.timezone),
            need.place_id,
            _slots(need.slots, slot),
            sees,
            limit=limit,
            excluded=include == "excluded",
        )
        # An anonymous read leaves nothing behind.
        digest = await matching.keep(need_id, ranking) if request.user.account else None
        return answers.shown(request, await _matches(request, ranking, sees, digest))

    @get(
        "/offerings/{offering_id:uuid}/needs",
        operation_id="match_offering",
        summary="Which needs an offering fits",
    )
    async def needs_for(
        self,
        request: StrictRequest,
        offering_id: FromPath[uuid.UUID],
        limit: paging.Limit = 10,
    ) -> Response[NeedMatchesOut]:
        """Open needs that the offering fits, best first, with the scores of the other direction."""
        sees = accounts.visibility(request.user)
        offering = await offerings.read(offering_id, sees)
        found = await matching.needs_for(offering, sees, limit=limit)
        tongue = _tongue(request)
        asking = await needs.read_many([uuid.UUID(m.need_id) for m in found])
        briefs = {str(need.id): need for need in await disclosure.all_shown(sees, asking)}
        return answers.shown(
            request,
            NeedMatchesOut(
                [
                    NeedMatchOut(
                        _need_brief(briefs[entry.need_id], entry.match.distance_m),
                        entry.role,
                        entry.match.score / 100,
                        _parts(entry.match, tongue),
                    )
                    for entry in found
                ]
            ),
        )

    @get(
        "/snapshots/{digest:str}",
        operation_id="get_snapshot",
        summary="What was compared for a match",
    )
    async def snapshot(
        self, request: StrictRequest, digest: FromPath[str]
    ) -> Response[snapshots.SnapshotRecord]:
        """The facts and scores behind a stored ranking, for whoever may see its need."""
        return answers.shown(request, await _snapshot(request, digest), tag=f'"{digest[:24]}"')

    @get(
        "/snapshots/{digest:str}/replay",
        operation_id="replay_snapshot",
        summary="Work a stored ranking out again",
    )
    async def replay(self, request: StrictRequest, digest: FromPath[str]) -> Response[ReplayOut]:
        """Every score then and now; `same` is true as long as the matcher keeps its word."""
        kept = await _snapshot(request, digest)
        again = matching.replay(bytes(kept.content))
        return answers.shown(
            request,
            ReplayOut(
                digest,
                again.same,
                [
                    {"offering_id": offering, "then": then / 100, "now": now / 100}
                    for offering, then, now in again.scores
                ],
            ),
        )


async def _snapshot(request: StrictRequest, digest: str) -> snapshots.SnapshotRecord:
    kept = await snapshots.read(digest)
    sees = accounts.visibility(request.user)
    need = await needs.read(kept.need_id, sees)
    exact = matching.homes(bytes(kept.content))
    if need.is_home and str(need.id) in exact:
        auth.found((await disclosure.shown(sees, need)).location_exact)
    compared = [uuid.UUID(identity) for identity in sorted(exact - {str(need.id)})]
    shown = await disclosure.all_shown(sees, await offerings.read_many(compared))
    auth.found(all(offering.location_exact for offering in shown))
    return kept


def _slots(slots: tuple[values.Slot, ...], role: str | None) -> tuple[values.Slot, ...]:
    chosen = tuple(slot for slot in slots if role in (None, slot.role))
    if not chosen:
        roles = " | ".join(slot.role for slot in slots)
        raise errors.Refusal(
            "invalid", errors.FieldError("slot", "wrong_format", {"needed": roles})
        )
    return chosen


async def _matches(
    request: StrictRequest,
    ranking: matching.Ranking,
    sees: accounts.Visibility,
    digest: str | None,
) -> MatchesOut:
    tongue = _tongue(request)
    shown = {match.offering_id for slot in ranking.slots for match in slot.matches}
    shown |= {out.offering_id for slot in ranking.slots for out in slot.excluded or ()}
    found = await offerings.read_many([uuid.UUID(identity) for identity in sorted(shown)], sees)
    briefs = {str(offering.id): offering for offering in await disclosure.all_shown(sees, found)}
    return MatchesOut([_slot(slot, briefs, tongue) for slot in ranking.slots], digest)


def _slot(
    slot: matching.SlotRanking,
    briefs: dict[str, offerings.OfferingRecord],
    tongue: language.Language,
) -> SlotOut:
    out = SlotOut(
        slot.role,
        [
            MatchOut(
                _brief(briefs[match.offering_id], match.distance_m),
                match.score / 100,
                _parts(match, tongue),
            )
            for match in slot.matches
            if match.offering_id in briefs
        ],
    )
    if slot.excluded is not None and slot.funnel is not None:
        out.excluded = [
            ExclusionOut(
                _brief(briefs[entry.offering_id], None),
                entry.would_score / 100,
                [_failure(failure, tongue) for failure in entry.because],
            )
            for entry in slot.excluded
            if entry.offering_id in briefs
        ]
        out.excluded_total = slot.excluded_total
        out.funnel = [FunnelOut(step.gate, step.excluded, step.alone) for step in slot.funnel]
    return out


def _brief(offering: offerings.OfferingRecord, distance_m: int | None) -> OfferingBrief:
    return OfferingBrief(
        offering.id,
        offering.kind,
        offering.title,
        offering.partner_id,
        offering.place_id,
        distance_m,
        offering.version,
    )


def _need_brief(need: needs.NeedRecord, distance_m: int | None) -> NeedBrief:
    return NeedBrief(
        need.id, need.title, need.service_type, need.place_id, distance_m, need.version
    )


def _parts(match: scoring.Match, tongue: language.Language) -> list[PartOut]:
    return [
        PartOut(part.part, part.value / 100, part.weight, wording.say_part(part, tongue))
        for part in match.parts
    ]


def _failure(failure: Failure, tongue: language.Language) -> FailureOut:
    mend = failure.mend
    return FailureOut(
        failure.gate,
        failure.needed,
        failure.has,
        wording.say_failure(failure, tongue),
        _mend(mend, tongue) if mend else None,
    )


def _mend(mend: Mend, tongue: language.Language) -> MendOut:
    text = wording.say_mend(mend, tongue)
    return MendOut(mend.action, mend.target, mend.field, mend.value, text)


def _tongue(request: StrictRequest) -> language.Language:
    return language.choose(request.headers.get("accept-language", ""))
