"""Who can fill all the roles of a need together, in one time window; and what is missing."""

from __future__ import annotations

import uuid
from typing import Annotated

from litestar import Controller, Response, get
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from api import answers, language, shapes
from api.requests import StrictRequest
from models import accounts, disclosure, needs, offerings, places, values
from search import bundle_wording, bundles, bundling, candidates, matching, windows
from search.gates import Mend

USUALLY = 5
Limit = Annotated[
    int, QueryParameter(name="limit", ge=1, le=20, description="Bundles to answer, 1 to 20.")
]
# Of a time with many gaps so many pieces are told.
_PIECES = 60


class MemberOut(Struct):
    """Who fills a role. `score` and its parts, and `distance_m`, are measured to the bundle's
    space, where there is one."""

    role: str
    offering: shapes.OfferingBrief
    score: float
    parts: list[shapes.PartOut]


class SharedOut(Struct):
    """The time in which a bundle is complete: the `windows` of the need, or of their `asked`
    minutes so many; `times` are then the first 60 pieces, as `[start, end]`, else null."""

    windows: tuple[values.Window, ...]
    asked: int
    minutes: int
    times: list[tuple[str, str]] | None


class BundleOut(Struct):
    """Offerings that fill every role together. `score` is the mean of the roles' mean scores."""

    score: float
    window: SharedOut
    members: list[MemberOut]


class CureOut(Struct):
    """A change that would do: of the need, or of this offering."""

    mend: shapes.MendOut
    offering: shapes.OfferingBrief | None


class UnfilledOut(Struct, omit_defaults=True):
    """Why there is no bundle. A role that `found` offerings can take and `wanted` are needed for:
    `funnel` counts who was looked at and kept out by which gate, `nearest` is who lacks least.

    Where every role has candidates who do not go together, `rule` is what is in the way (budget,
    time, features, reach, one_role), `role` the first concerned if any, and `cures` what would do:
    alone, or if not `alone` together with the others.
    """

    role: str | None
    because: str
    wanted: int | None = None
    found: int | None = None
    excluded_total: int | None = None
    funnel: list[shapes.FunnelOut] | None = None
    nearest: shapes.ExclusionOut | None = None
    rule: bundles.Rule | None = None
    alone: bool | None = None
    cures: list[CureOut] | None = None


class BundlesOut(Struct):
    """The best bundles, or what keeps the roles from being filled. `snapshot` names what was
    compared, where it is kept: for a caller who has signed in."""

    bundles: list[BundleOut]
    unfilled: list[UnfilledOut]
    snapshot: str | None


class BundleController(Controller):
    """Everybody a need takes, at once."""

    path = "/v1"
    tags = ("matches",)

    @get(
        "/needs/{need_id:uuid}/bundles",
        operation_id="bundle_need",
        summary="Who can fill all roles of a need together",
    )
    async def bundles(
        self, request: StrictRequest, need_id: FromPath[uuid.UUID], limit: Limit = USUALLY
    ) -> Response[BundlesOut]:
        """The best bundles: one offering or more for each slot, all in one time window, within the
        budget together, at a space that has what they require and that they reach, nobody in two
        roles. No two bundles share more than half of their members. Where there is none,
        `unfilled` says which role nobody can take and why, or what keeps them from going
        together. Homes are compared as in the matches."""
        sees = accounts.visibility(request.user)
        need = await disclosure.shown(sees, await needs.read(need_id, sees))
        place = await places.read(need.place_id)
        facts = candidates.need_facts(need, place.timezone)
        found = await bundling.bundle(facts, need.place_id, need.slots, sees, limit=limit)
        digest = None
        # An anonymous read leaves nothing behind, and where nothing was found nothing replays.
        if request.user.account and found.found:
            digest = await matching.keep(need_id, found.content)
        told = await answer(request, need.windows, found, sees, digest)
        return answers.shown(request, told)


async def answer(
    request: StrictRequest,
    asked: tuple[values.Window, ...],
    found: bundling.Bundling,
    sees: accounts.Visibility,
    digest: str | None,
) -> BundlesOut:
    """What was found, in words."""
    tongue = shapes.tongue_of(request)
    shown = {member.offering.id for bundle in found.found for member in bundle.members}
    shown |= {out.offering_id for short in found.short for out in short.ranking.excluded or ()}
    shown |= {c.offering for o in found.obstacles for c in o.cures if c.offering}
    briefs = await shapes.briefs(shown, sees)
    return BundlesOut(
        [
            _bundle(bundle, asked, briefs, tongue)
            for bundle in found.found
            if all(member.offering.id in briefs for member in bundle.members)
        ],
        [_unfilled(short, briefs, tongue) for short in found.short]
        + [_in_the_way(obstacle, briefs, tongue) for obstacle in found.obstacles],
        digest,
    )


def _bundle(
    bundle: bundles.Bundle,
    asked: tuple[values.Window, ...],
    briefs: dict[str, offerings.OfferingRecord],
    tongue: language.Language,
) -> BundleOut:
    members = [
        MemberOut(
            member.slot.role,
            shapes.brief(briefs[member.offering.id], member.match.distance_m),
            member.match.score / 100,
            shapes.parts(member.match, tongue),
        )
        for member in bundle.members
    ]
    shared, times = bundle.shared, None
    if shared.minutes < shared.asked:
        zone = asked[0].timezone
        times = [
            (windows.clock(start, zone), windows.clock(end, zone))
            for start, end in shared.times[:_PIECES]
        ]
    window = SharedOut(asked, shared.asked, shared.minutes, times)
    return BundleOut(bundle.score / 100, window, members)


def _unfilled(
    short: bundling.Short, briefs: dict[str, offerings.OfferingRecord], tongue: language.Language
) -> UnfilledOut:
    ranked = short.ranking
    nearest = next((entry for entry in ranked.excluded or () if entry.offering_id in briefs), None)
    out = UnfilledOut(
        role=ranked.role,
        because="",
        wanted=short.wanted,
        found=short.found,
        excluded_total=ranked.excluded_total,
        funnel=shapes.funnel(ranked.funnel or ()),
    )
    told = None
    if nearest is not None:
        offering = briefs[nearest.offering_id]
        told = offering.title, nearest.because
        out.nearest = shapes.exclusion(nearest, offering, tongue)
    shut = [(step.gate, step.excluded) for step in ranked.funnel or ()]
    out.because = bundle_wording.say_unfilled(
        ranked.role, short.wanted, short.found, shut, told, tongue
    )
    return out


def _in_the_way(
    obstacle: bundles.Obstacle,
    briefs: dict[str, offerings.OfferingRecord],
    tongue: language.Language,
) -> UnfilledOut:
    cures = [
        CureOut(
            _mended(cure.mend, tongue),
            shapes.brief(briefs[cure.offering], None) if cure.offering else None,
        )
        for cure in obstacle.cures
        if cure.offering is None or cure.offering in briefs
    ]
    return UnfilledOut(
        role=obstacle.roles[0] if obstacle.roles else None,
        because=bundle_wording.say_obstacle(obstacle, tongue),
        rule=obstacle.rule,
        alone=obstacle.alone,
        cures=cures,
    )


def _mended(mend: Mend, tongue: language.Language) -> shapes.MendOut:
    """A mend with its value as the wire has it; the matcher counts shares in whole numbers."""
    value = mend.value / 10_000 if mend.field == "min_coverage" else mend.value
    text = bundle_wording.say_cure(mend, tongue)
    return shapes.MendOut(mend.action, mend.target, mend.field, value, text)
