"""Who fits a need, why, and why not the others; and which needs an offering fits."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct

from api import answers, auth, language, paging, shapes
from api import bundles as together
from api.requests import StrictRequest
from models import accounts, disclosure, errors, needs, offerings, places, snapshots, values
from search import bundling, candidates, matching

Role = Annotated[
    str | None,
    QueryParameter(name="slot", pattern=r"^[a-z0-9_-]{1,64}\Z", description="Only this role."),
]
Included = Annotated[
    list[Literal["excluded", "bundles"]] | None, QueryParameter(name="include", max_items=2)
]
_PREVIEW = uuid.UUID(int=0)


class SlotOut(Struct, omit_defaults=True):
    """One role of the need. The `excluded` fields are there when asked for."""

    role: str
    matches: list[shapes.MatchOut]
    excluded: list[shapes.ExclusionOut] | None = None
    excluded_total: int | None = None
    funnel: list[shapes.FunnelOut] | None = None


class MatchesOut(Struct, omit_defaults=True):
    """The ranked offerings of every slot. `snapshot` names what was compared, where it is kept:
    for a stored need and a caller who has signed in. A preview with `include=bundles` also has
    what fits together."""

    slots: list[SlotOut]
    snapshot: str | None
    bundles: list[together.BundleOut] | None = None
    unfilled: list[together.UnfilledOut] | None = None


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
    parts: list[shapes.PartOut]


class NeedMatchesOut(Struct):
    """The open needs that an offering fits, best first."""

    matches: list[NeedMatchOut]


class ReplayOut(Struct):
    """A stored comparison worked out again: per offering, and per bundle, the score then and
    now."""

    digest: str
    same: bool
    scores: list[dict[str, Any]]
    bundles: list[dict[str, float]] = []


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
        include: Included = None,
        limit: paging.Limit = 10,
    ) -> Response[MatchesOut]:
        """Rank offerings for a need without saving anything; anybody may try. `include=excluded`
        adds who was left out and why, `include=bundles` the best five that fill every role
        together; both may be asked for."""
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
            excluded="excluded" in (include or ()),
        )
        out = await _matches(request, ranking, sees, None)
        if "bundles" in (include or ()):
            found = await bundling.bundle(
                facts, draft.place_id, draft.slots, sees, limit=together.USUALLY
            )
            told = await together.answer(request, draft.windows, found, sees, None)
            out.bundles, out.unfilled = told.bundles, told.unfilled
        return answers.plain(out)

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
        digest = await matching.keep(need_id, ranking.content) if request.user.account else None
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
        tongue = shapes.tongue_of(request)
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
                        shapes.parts(entry.match, tongue),
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
                [{"then": then / 100, "now": now / 100} for then, now in again.bundles],
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
    tongue = shapes.tongue_of(request)
    shown = {match.offering_id for slot in ranking.slots for match in slot.matches}
    shown |= {out.offering_id for slot in ranking.slots for out in slot.excluded or ()}
    briefs = await shapes.briefs(shown, sees)
    return MatchesOut([_slot(slot, briefs, tongue) for slot in ranking.slots], digest)


def _slot(
    slot: matching.SlotRanking,
    briefs: dict[str, offerings.OfferingRecord],
    tongue: language.Language,
) -> SlotOut:
    out = SlotOut(
        slot.role,
        [
            shapes.MatchOut(
                shapes.brief(briefs[match.offering_id], match.distance_m),
                match.score / 100,
                shapes.parts(match, tongue),
            )
            for match in slot.matches
            if match.offering_id in briefs
        ],
    )
    if slot.excluded is not None and slot.funnel is not None:
        out.excluded = [
            shapes.exclusion(entry, briefs[entry.offering_id], tongue)
            for entry in slot.excluded
            if entry.offering_id in briefs
        ]
        out.excluded_total = slot.excluded_total
        out.funnel = shapes.funnel(slot.funnel)
    return out


def _need_brief(need: needs.NeedRecord, distance_m: int | None) -> NeedBrief:
    return NeedBrief(
        need.id, need.title, need.service_type, need.place_id, distance_m, need.version
    )
