"""Agreements: what parties are asked, what they accept, and every step after that."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated

from litestar import Controller, Response, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from msgspec import Struct, structs

from api import answers, auth, paging, proposing, shapes
from api.requests import StrictRequest
from models import accounts, agreements, disclosure, errors, needs, offerings, partners, places
from models.agreements import lifecycle

Commitment = Annotated[
    uuid.UUID, QueryParameter(name="commitment", description="The commitment to be replaced.")
]
Place = Annotated[
    uuid.UUID | None,
    QueryParameter(name="place", description="Only of this place and everything below it."),
]
# `state` itself is a name of the framework's.
InState = Annotated[
    lifecycle.State | None, QueryParameter(name="state", description="Only in this state.")
]


class Events(Struct):
    """Every step so far, oldest first."""

    items: list[agreements.EventRecord]


class Times(Struct):
    """Every time that is asked for, in order."""

    items: list[agreements.TimeRecord]


class Replacements(Struct):
    """Who could take a member's place for the rest of the agreement, best first."""

    role: str
    matches: list[shapes.MatchOut]


class AgreementController(Controller):
    """Proposing, answering, and what comes after; the table of the life of an agreement says who
    may do what, and when."""

    path = "/v1/agreements"
    tags = ("agreements",)

    @get(operation_id="list_agreements", summary="List agreements", signed_in=True)
    async def list_agreements(
        self,
        request: StrictRequest,
        need: FromQuery[uuid.UUID | None] = None,
        partner: FromQuery[uuid.UUID | None] = None,
        offering: FromQuery[uuid.UUID | None] = None,
        in_state: InState = None,
        place: Place = None,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[agreements.AgreementRecord]]:
        """Agreements for needs of your places and of your partners, newest first."""
        names = answers.fields_of(agreements.AgreementRecord, fields)
        sees = accounts.visibility(request.user)
        found = await agreements.browse(
            sees,
            after=paging.after(cursor),
            limit=limit + 1,
            need=need,
            partner=partner,
            offering=offering,
            state=in_state,
            within=place,
        )
        return answers.listed(request, await agreements.shown(sees, found), limit, names)

    @post(operation_id="propose_agreement", summary="Propose an agreement", signed_in=True)
    async def propose(
        self, request: StrictRequest, data: JSONBody[agreements.AgreementDraft]
    ) -> Response[agreements.AgreementRecord]:
        """Ask offerings to serve a need on certain dates, and partners for what it costs. Every
        gate of the matcher is asked for every exact time; who does not fit is named with the gates
        that are shut. By whoever decides for the need's place, or by a partner for what is its
        own. Whoever proposes has accepted; nothing is taken before the last yes."""
        sees = accounts.visibility(request.user)
        reading = needs.read(data.need_id, sees)
        await auth.referred("need_id", "need", data.need_id, reading)
        need = await needs.read(data.need_id, sees)
        partner = await _proposer(request, need, data, sees)
        return await answers.once(
            request,
            lambda: _propose(request, need, data, partner),
            lambda made: f"/v1/agreements/{made.id}",
        )

    @get(
        "/{agreement_id:uuid}",
        operation_id="get_agreement",
        summary="Read an agreement",
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, agreement_id: FromPath[uuid.UUID]
    ) -> Response[agreements.AgreementRecord]:
        """One agreement, for the staff of the need's place and the people of its parties."""
        found = await agreements.read(agreement_id, accounts.visibility(request.user))
        shown = await _shown(request, found)
        return answers.shown(request, shown, tag=answers.etag(shown.version))

    @get(
        "/{agreement_id:uuid}/events",
        operation_id="list_agreement_events",
        summary="The life of an agreement",
        signed_in=True,
    )
    async def events(
        self, request: StrictRequest, agreement_id: FromPath[uuid.UUID]
    ) -> Response[Events]:
        """Every step so far: who led from which state to which, when, and why."""
        found = await agreements.read(agreement_id, accounts.visibility(request.user))
        return answers.shown(request, Events(await agreements.events(found.id)))

    @get(
        "/{agreement_id:uuid}/times",
        operation_id="list_agreement_times",
        summary="The times of an agreement",
        signed_in=True,
    )
    async def times(
        self, request: StrictRequest, agreement_id: FromPath[uuid.UUID]
    ) -> Response[Times]:
        """Every time that each member is asked for: what the parties accept."""
        found = await agreements.read(agreement_id, accounts.visibility(request.user))
        return answers.shown(request, Times(await agreements.times(found.id)))

    @get(
        "/{agreement_id:uuid}/replacements",
        operation_id="list_replacements",
        summary="Who could take a member's place",
        signed_in=True,
    )
    async def replacements(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        commitment: Commitment,
        limit: paging.Limit = 10,
    ) -> Response[Replacements]:
        """The matcher's answer for the role of a member, for the rest of the agreement and without
        those who are members. `swap` asks one of them."""
        sees = accounts.visibility(request.user)
        found = await agreements.read(agreement_id, sees)
        await _require_decider(request, found)
        member = _commitment(found, commitment, "commitment")
        need = await needs.read(found.need_id, sees)
        matches = await proposing.ranked(found, member, need, sees, limit)
        briefs = await shapes.briefs([match.offering_id for match in matches], sees)
        tongue = shapes.tongue_of(request)
        return answers.shown(
            request,
            Replacements(
                member.role,
                [
                    shapes.MatchOut(
                        shapes.brief(briefs[match.offering_id], match.distance_m),
                        match.score / 100,
                        shapes.parts(match, tongue),
                    )
                    for match in matches
                    if match.offering_id in briefs
                ],
            ),
        )

    @put(
        "/{agreement_id:uuid}/terms",
        operation_id="change_terms",
        summary="Propose other terms",
        signed_in=True,
    )
    async def change_terms(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        data: JSONBody[agreements.TermsDraft],
    ) -> Response[agreements.AgreementRecord]:
        """Other terms, as long as the agreement is only proposed: by the people of any party.
        Theirs has accepted them; every other is asked again. Needs If-Match."""
        found = await agreements.read(agreement_id, accounts.visibility(request.user))
        answers.require_match(request, found.version)
        changed = await agreements.change_terms(found, data, await actor_of(request, found))
        return answers.changed(await _shown(request, changed))

    @post(
        "/{agreement_id:uuid}/{transition:str}",
        operation_id="move_agreement",
        summary="Take a step of an agreement's life",
        status_code=200,
        signed_in=True,
    )
    async def move(
        self,
        request: StrictRequest,
        agreement_id: FromPath[uuid.UUID],
        transition: FromPath[lifecycle.Step],
        data: JSONBody[agreements.StepDraft],
    ) -> Response[agreements.AgreementRecord]:
        """Who may take which step, in which state, with which fields, and what it does, is one
        table: see the description of this document. What time does by itself stands in `due` and
        `due_at`. Whoever sends the ETag that they have read in If-Match is refused (412) when
        somebody has changed the agreement since."""
        found = await agreements.read(agreement_id, accounts.visibility(request.user))
        actor = await actor_of(request, found)
        if "if-match" in request.headers:
            answers.require_match(request, found.version)
            actor = structs.replace(actor, has_read=found.version)

        async def moved() -> agreements.AgreementRecord:
            if transition == "swap":
                return await _shown(request, await _swap(request, found, data, actor))
            step = _STEPS[transition]
            return await _shown(request, await step(found, data, actor))

        return await answers.once(request, moved, status=200)


_STEPS = {
    "accept": agreements.accept,
    "decline": agreements.decline,
    "withdraw": agreements.withdraw,
    "suspend": agreements.suspend,
    "resume": agreements.resume,
    "end": agreements.end,
}


async def _propose(
    request: StrictRequest,
    need: needs.NeedRecord,
    data: agreements.AgreementDraft,
    partner: uuid.UUID | None,
) -> agreements.AgreementRecord:
    sees = accounts.visibility(request.user)
    shown = await disclosure.shown(sees, need)
    what = await proposing.from_draft(need, shown, data, sees)
    account = auth.account_of(request)
    return await _shown(request, await agreements.propose(what, account, partner))


async def _swap(
    request: StrictRequest,
    found: agreements.AgreementRecord,
    data: agreements.StepDraft,
    actor: agreements.Actor,
) -> agreements.AgreementRecord:
    await _require_decider(request, found)
    if data.commitment_id is None:
        raise errors.refuse_field("commitment_id", "required")
    sees = accounts.visibility(request.user)
    member = _commitment(found, data.commitment_id, "commitment_id")
    need = await needs.read(found.need_id, sees)
    newcomer = await proposing.newcomer(found, member, data.offering_id, need, sees)
    return await agreements.swap(found, data, actor, newcomer)


def _commitment(
    found: agreements.AgreementRecord, wanted: uuid.UUID, field: str
) -> agreements.CommitmentRecord:
    """A member of the agreement: a commitment with an offering."""
    for one in found.commitments:
        if one.id == wanted and one.offering_id:
            return one
    raise errors.refuse_field(field, "unknown_reference", what="commitment", value=str(wanted))


async def _proposer(
    request: StrictRequest,
    need: needs.NeedRecord,
    data: agreements.AgreementDraft,
    sees: accounts.Visibility,
) -> uuid.UUID | None:
    """For whom the caller proposes: None is the community, else their one partner. Refuses whoever
    is neither, and pledges of partners whom the caller does not see."""
    for at, pledge in enumerate(data.pledges):
        if pledge.partner_id:
            name = f"pledges[{at}].partner_id"
            reading = partners.read(pledge.partner_id, sees)
            await auth.referred(name, "partner", pledge.partner_id, reading)
    lineage = await places.ancestors(need.place_id)
    if request.user.partners and not _decides(request, lineage):
        asked = await _partners_of(data, sees) | {pledge.partner_id for pledge in data.pledges}
        if len(asked) == 1 and asked <= request.user.partners:
            return next(iter(asked))
    await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)
    return None


async def _partners_of(
    data: agreements.AgreementDraft, sees: accounts.Visibility
) -> set[uuid.UUID | None]:
    found = await offerings.read_many([one.offering_id for one in data.members], sees)
    return {offering.partner_id for offering in found}


def _decides(request: StrictRequest, lineage: Sequence[uuid.UUID]) -> bool:
    is_decider = request.user.places_as(accounts.DECIDERS).intersection(lineage)
    return request.user.is_operator or bool(is_decider)


async def actor_of(request: StrictRequest, found: agreements.AgreementRecord) -> agreements.Actor:
    """For whom the caller speaks in an agreement."""
    lineage = await places.ancestors(found.place_id)
    return agreements.Actor(
        auth.account_of(request),
        _decides(request, lineage),
        request.user.partners,
        request.user.is_operator,
    )


async def _require_decider(request: StrictRequest, found: agreements.AgreementRecord) -> None:
    lineage = await places.ancestors(found.place_id)
    await accounts.require(request.user, accounts.DECIDERS, place_lineage=lineage)


async def _shown(
    request: StrictRequest, found: agreements.AgreementRecord
) -> agreements.AgreementRecord:
    (shown,) = await agreements.shown(accounts.visibility(request.user), [found])
    return shown
