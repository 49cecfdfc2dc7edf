"""The demo town on its way into the database, through the verbs that callers use, and out again."""

from __future__ import annotations

import uuid
import zoneinfo
from collections.abc import Callable, Iterable

from msgspec import structs

from models import (
    accounts,
    audit,
    base,
    engine,
    errors,
    needs,
    offerings,
    outbox,
    partners,
    places,
    services,
    tables,
)
from models.demo import shapes, town

Progress = Callable[[int, int], None]

# So many offerings are registered at once: enough to save queries, few enough to see progress.
_BATCH = 50
_ZONE = zoneinfo.ZoneInfo("Asia/Shanghai")
# Who has seen the licences of a community's partners: whoever of the demo's people decides there.
_VERIFIERS = {
    "qiaobei": "secretary@demo",
    "jinshijie": "officer@demo",
    "yanghe": "officer@demo",
}
_OPERATOR = "operator@demo"
# The transitions of an admission that lead to a status.
_WALKS: dict[partners.PartnerStatus, tuple[str, ...]] = {
    "applied": (),
    "in_review": ("review",),
    "admitted": ("review", "admit"),
    "suspended": ("review", "admit", "suspend"),
    "exited": ("review", "exit"),
}


async def present() -> bool:
    """Whether the demo town is in the database."""
    return bool(await engine.fetch("SELECT 1 FROM account WHERE login = $1", _OPERATOR))


async def wanted() -> bool:
    """Whether the database is empty, so that the demo town may be loaded into it."""
    rows = await engine.fetch(
        "SELECT 1 FROM account UNION ALL SELECT 1 FROM place UNION ALL SELECT 1 FROM partner"
        " LIMIT 1"
    )
    return not rows


async def load(progress: Progress | None = None) -> None:
    """Write the town of today into a migrated database without it, all or nothing.

    `progress` hears how many of how many records are written. Refuses what is there already.
    """
    made = town.town(base.now().astimezone(_ZONE).date())
    async with engine.unit_of_work():
        await _Loading(made, progress).run()


async def reset() -> None:
    """Empty the database of everything but the taxonomy.

    Refuses when somebody has an account who does not belong to the demo: then it is no demo.
    """
    async with engine.unit_of_work() as work:
        rows = await engine.fetch(
            "SELECT id FROM account WHERE login NOT LIKE '%@demo' AND status <> 'erased'"
        )
        if rows:
            raise errors.Refusal("in_use", what=f"{len(rows)} account")
        gone = [
            (topic, base.as_id(row["id"]))
            for topic, table in (("offering.changed", "offering"), ("need.changed", "need"))
            for row in await engine.fetch(f"SELECT id FROM {table}")
        ]
        # Whoever was erased a moment ago is still in the files.
        erased = await engine.rows("SELECT subject FROM outbox WHERE topic = 'account.erased'")
        gone += [("account.erased", base.as_id(subject)) for (subject,) in erased]
        await audit.start_over()
        kept = (services.ServiceType, audit.Audit, audit.AuditHead)
        names = [t._meta.tablename for t in reversed(tables.TABLES) if t not in kept]
        async with base.rules_lifted(names):
            for name in names:
                await engine.execute(f"DELETE FROM {name}")
        # The index forgets what it looks for in the database and does not find.
        for topic, subject in gone:
            await outbox.announce(work, topic, subject)


class _Loading:
    """One load: the ids that the stand-ins have become, and how far it has come."""

    def __init__(self, made: town.Town, progress: Progress | None) -> None:
        self._town = made
        self._progress = progress
        self._done = 0
        self._people: dict[str, uuid.UUID] = {}
        self._ids: dict[uuid.UUID, uuid.UUID] = {}

    async def run(self) -> None:
        for person in self._town.people:
            self._people[person.login] = await accounts.register(
                person.login, town.PASSWORD, person.name
            )
            self._advance()
        for place in self._town.places:
            await self._found(place)
        for person in self._town.people:
            await self._appoint(person)
        for partner in self._town.partners:
            await self._admit(partner)
        await self._hand_over()
        for start in range(0, len(self._town.offerings), _BATCH):
            await self._register(self._town.offerings[start : start + _BATCH])
        for need in self._town.needs:
            await self._post(need)

    async def _found(self, draft: places.PlaceDraft) -> None:
        parent = draft.parent_id and self._ids[draft.parent_id]
        place = await places.found(structs.replace(draft, parent_id=parent))
        self._ids[shapes.stand_in("place", draft.slug)] = place.id
        self._advance()

    async def _appoint(self, person: shapes.Person) -> None:
        if person.role != "partner_staff":  # that one comes with the partner it applies for
            place = self._place(person.place) if person.place else None
            await accounts.grant(self._people[person.login], person.role, place=place)

    async def _admit(self, partner: shapes.Partner) -> None:
        draft = structs.replace(
            partner.draft,
            place_id=self._ids[partner.draft.place_id],
            owner_place_id=partner.draft.owner_place_id and self._ids[partner.draft.owner_place_id],
        )
        record = await partners.apply(draft, self._people[partner.applicant])
        self._ids[shapes.stand_in("partner", partner.key)] = record.id
        if await self._verify(record.credentials, partner.verified, partner.place):
            record = await partners.read(record.id)
        for transition in _WALKS[partner.status]:
            record = await partners.move(record, transition)
        self._advance()

    async def _hand_over(self) -> None:
        """The operator entered most partners, and is not one of their people."""
        await engine.execute(
            "DELETE FROM role WHERE account = $1 AND name = 'partner_staff'",
            self._people[_OPERATOR],
        )

    async def _register(self, entries: tuple[shapes.Offering, ...]) -> None:
        drafts = [
            structs.replace(
                entry.draft,
                place_id=self._ids[entry.draft.place_id],
                partner_id=self._ids[entry.draft.partner_id],
            )
            for entry in entries
        ]
        made = await offerings.register_all(drafts)
        record_of = {(record.partner_id, record.title): record for record in made}
        for entry, draft in zip(entries, drafts, strict=True):
            record = record_of[draft.partner_id, draft.title]
            community = entry.place.partition("-")[0]
            await self._verify(record.credentials, entry.verified, community)
            await self._remember(entry, record.id)
            self._advance()

    async def _remember(self, entry: shapes.Offering, offering: uuid.UUID) -> None:
        """What agreements would have left behind: ratings, kept jobs, places served."""
        await engine.execute(
            "UPDATE offering SET ratings = $1, rating_sum = $2, jobs_agreed = $3, jobs_kept = $4"
            " WHERE id = $5",
            entry.ratings,
            entry.rating_sum,
            entry.jobs_agreed,
            entry.jobs_kept,
            offering,
        )
        for place, times in entry.served.items():
            await engine.execute(
                "INSERT INTO service_record (id, offering, place, times) VALUES ($1, $2, $3, $4)",
                base.new_id(),
                offering,
                self._place(place),
                times,
            )

    async def _post(self, need: shapes.Need) -> None:
        draft = structs.replace(need.draft, place_id=self._ids[need.draft.place_id])
        await needs.post(draft, self._people[need.posted_by])
        self._advance()

    async def _verify(
        self, held: Iterable[partners.CredentialRecord], seen: frozenset[str], community: str
    ) -> bool:
        verifier = self._people[_VERIFIERS.get(community, _OPERATOR)]
        numbers = [record.id for record in held if record.number in seen]
        for credential in numbers:
            await partners.verify(credential, verifier)
        return bool(numbers)

    def _place(self, slug: str) -> uuid.UUID:
        return self._ids[shapes.stand_in("place", slug)]

    def _advance(self) -> None:
        self._done += 1
        if self._progress:
            made = self._town
            groups = (made.people, made.places, made.partners, made.offerings, made.needs)
            self._progress(self._done, sum(len(group) for group in groups))
