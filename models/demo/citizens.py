"""Who lives in a community of the synthetic city, what they offer, and what it asks for.

Drafts as callers would send them become the columns that the verbs would write.
"""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import uuid
from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct, convert
from piccolo.table import Table

from models import needs, offerings, partners, services, values
from models.demo import city, texts
from models.demo.city import Community, Row
from models.demo.draw import Draw
from models.demo.names import Names

SERVICES = services.shipped()[:20]
LICENCES = ("food_licence", "first_aid", "teaching_certificate", "health_certificate")
FEATURES = ("step_free", "power", "kitchen", "toilet", "quiet", "projector", "piano", "wifi")
_DAYS = ((1, 2, 3, 4, 5), (6, 7), (1, 3, 5), (2, 4), (6,), (1, 2, 3, 4, 5, 6, 7))
_PARTNERS: dict[str, partners.PartnerKind] = {
    "volunteer": "resident",
    "vanguard": "resident",
    "merchant": "sole_trader",
    "space": "institution",
    "goods": "resident_group",
}
_TEAMS: dict[str, partners.PartnerKind] = {
    "volunteer": "resident_group",
    "vanguard": "social_org",
    "space": "enterprise",
}
# A few services are wanted far more often than the others.
_WANTED = list(itertools.accumulate(10_000 // (rank + 4) for rank in range(len(SERVICES))))


class Official(Struct, frozen=True):
    """In whose name needs are posted and licences verified, and when."""

    account: uuid.UUID
    moment: dt.datetime


class Filling:
    """Everything in one community. `rows` has it by table, in an order in which it can be
    written: the same for the same community and day, whatever else is made."""

    def __init__(self, community: Community, today: dt.date, official: Official) -> None:
        self.rows: dict[type[Table], list[Row]] = defaultdict(list)
        self._community, self._today, self._official = community, today, official
        self._ids = city.Ids(1 + community.number)
        self._draw = Draw(city.SEED + 1 + community.number)
        self._names, self._asking = Names(self._draw), Asking(self._draw, today)
        self._teams = {kind: self._team(kind) for kind in _TEAMS}
        kinds = [kind for kind, count in community.kind.offers.items() for _ in range(count)]
        for number in range(community.size):
            # Shuffled as far as is needed, so that one cut short has some of each.
            other = self._draw.between(number, len(kinds) - 1)
            kinds[number], kinds[other] = kinds[other], kinds[number]
            self._offer(kinds[number], number)
        for _ in range(community.size // city.OFFERINGS_PER_NEED):
            self._post(self._asking.any(community))

    def _team(self, kind: str) -> uuid.UUID:
        return self._partner(_TEAMS[kind], texts.read("city")["teams"][kind], "admitted")

    def _partner(
        self, kind: partners.PartnerKind, words: Sequence[str], status: partners.PartnerStatus
    ) -> uuid.UUID:
        place, name = self._community.name, self._names.person()
        identity = self._ids.next()
        self.rows[partners.Partner].append(
            {
                "id": identity,
                "kind": kind,
                "place": self._community.id,
                "public_place": self._community.id,
                "name_zh": words[0].format(place=place.zh, name=name.zh),
                "name_en": words[1].format(place=place.en, name=name.en),
                "status": status,
            }
        )
        return identity

    def _offer(self, kind: values.OfferingKind, number: int) -> None:
        draw = self._draw
        # Half of the people belong to a team of their community, and most of the rooms to one
        # company; the others are on their own.
        team = self._teams.get(kind) if draw.chance(80 if kind == "space" else 50) else None
        partner = team or self._partner(
            _PARTNERS[kind],
            texts.read("city")["partners"][kind],
            "applied" if draw.chance(5) else "admitted",
        )
        draft = self._draft(kind, partner, number)
        identity, jobs = self._ids.next(), draw.pick((0, 0, 3, 20))
        kept = jobs * draw.between(9, 10) // 10
        record = {"ratings": jobs, "rating_sum": jobs * draw.between(300, 500)}
        record |= {"jobs_agreed": jobs, "jobs_kept": kept}
        row = {"id": identity, "kind": kind, "partner": partner}
        # No place of the city is a building, so that everybody may know of each.
        row |= {"place": draft.place_id, "public_place": draft.place_id}
        row |= record | offerings.columns(draft)
        self.rows[offerings.Offering].append(row)
        for slug in draft.service_types:
            link = {"id": self._ids.next(), "offering": identity, "service_type": slug}
            self.rows[offerings.OfferingService].append(link | {"kind": kind, "cell": row["cell"]})
        if draw.chance(40):
            self._license(partner, identity)
        if jobs and draw.chance(20):
            served: Row = {"offering": identity, "place": self._community.id}
            served |= {"id": self._ids.next(), "times": draw.between(1, 4)}
            self.rows[offerings.ServiceRecord].append(served)

    def _draft(
        self, kind: values.OfferingKind, partner: uuid.UUID, number: int
    ) -> offerings.OfferingDraft:
        draw, several = self._draw, _several(self._draw)
        at = draw.between(0, len(self._community.grids) - 1)
        helped = kind in ("merchant", "vanguard") and draw.chance(20)
        return offerings.OfferingDraft(
            kind=kind,
            partner_id=partner,
            place_id=self._community.grids[at],
            title=self._title(kind, several[0], number + 1),
            location=_somewhere(draw, self._community, at),
            reach_m=None if kind == "space" else draw.pick((None, 500, 1000, 2000)),
            service_types=tuple(dict.fromkeys(service.slug for service in several)),
            features=_some(draw, FEATURES, draw.between(0, 4)),
            requires_features=(draw.pick(("kitchen", "power")),) if helped else (),
            capacity=draw.pick((None, 8, 20, 40, 80, 150)),
            price=values.Price(
                draw.pick((0, 0, 300, 500, 800, 1500, 3000)),
                per="month" if draw.chance(33) else "session",
            ),
            price_tier="low_fee",
            availability=tuple(self._window() for _ in range(draw.pick((1, 1, 2)))),
            languages=draw.pick((("zh",), ("zh",), ("zh", "en"))),
            max_hours_week=draw.pick((None, 4, 8, 20)),
            max_contacts_week=draw.pick((None, None, 3, 0)),
            status="active" if draw.chance(92) else draw.pick(("paused", "draft")),
        )

    def _title(
        self, kind: str, service: services.ServiceTypeRecord, number: int
    ) -> values.Bilingual:
        zh, en = texts.read("city")["titles"][kind]
        place, name, word = self._community.name, self._names.person(), _word(self._draw, service)
        return values.Bilingual(
            zh.format(place=place.zh, name=name.zh, word=word.zh, number=number),
            en.format(place=place.en, name=name.en, word=word.en, number=number),
        )

    def _license(self, partner: uuid.UUID, offering: uuid.UUID) -> None:
        draw = self._draw
        verified = draw.chance(90)
        self.rows[partners.Credential].append(
            {
                "id": self._ids.next(),
                "partner": partner,
                "offering": offering if draw.chance(70) else None,
                "kind": draw.pick(LICENCES),
                "issuer": "街道办事处 Subdistrict office",
                "number": f"C{self._community.number:04}{len(self.rows[partners.Credential]):05}",
                "valid_from": self._today - dt.timedelta(days=draw.between(100, 900)),
                "valid_to": self._today + dt.timedelta(days=draw.between(-60, 900)),
                "verified_by": self._official.account if verified else None,
                "verified_at": self._official.moment if verified else None,
            }
        )

    def _window(self) -> values.Window:
        draw = self._draw
        first = draw.between(12, 39)
        last = min(first + draw.between(4, 20), 48)
        closed = tuple(self._today + dt.timedelta(days=days) for days in (7, 58))
        return values.Window(
            days=draw.pick(_DAYS),
            start=_clock(first),
            end=_clock(last),
            until=self._today + dt.timedelta(days=420) if draw.chance(20) else None,
            except_=closed if draw.chance(20) else (),
        )

    def _post(self, draft: needs.NeedDraft) -> None:
        row = {"id": self._ids.next(), "service_type": draft.service_type}
        row |= {"place": draft.place_id, "public_place": draft.place_id}
        row |= {"posted_by": self._official.account} | needs.columns(draft)
        self.rows[needs.Need].append(row)


class Asking:
    """Draws needs of communities: of one role, or of several that have to come together."""

    def __init__(self, draw: Draw, today: dt.date) -> None:
        self._draw, self._today = draw, today

    def any(self, community: Community) -> needs.NeedDraft:
        """Two in five take several roles."""
        return self.together(community) if self._draw.chance(40) else self.single(community)

    def single(self, community: Community) -> needs.NeedDraft:
        """One role, of the kinds in which the city offers."""
        draw = self._draw
        kinds = community.kind.offers
        counts = list(itertools.accumulate(kinds.values()))
        kind = tuple(kinds)[bisect.bisect(counts, draw.between(0, counts[-1] - 1))]
        slot = values.Slot(
            role="helper",
            kind=kind,
            min_capacity=draw.pick((8, 30, 60)) if draw.chance(30) else None,
            credentials=(draw.pick(LICENCES),) if draw.chance(20) else (),
            features=(draw.pick(FEATURES),) if draw.chance(20) else (),
        )
        return self._need(community, _one(draw), (slot,), "one")

    def together(self, community: Community) -> needs.NeedDraft:
        """A room, who runs it, and who helps: a bundle."""
        raw = self._draw.pick(texts.read("city")["together"])
        (service,) = (service for service in SERVICES if service.slug == raw["service"])
        return self._need(
            community, service, convert(raw["slots"], tuple[values.Slot, ...]), "together"
        )

    def _need(
        self,
        community: Community,
        service: services.ServiceTypeRecord,
        slots: tuple[values.Slot, ...],
        words: str,
    ) -> needs.NeedDraft:
        draw = self._draw
        zh, en = texts.read("city")["needs"][words]
        word = _word(draw, service)
        grid = draw.between(0, len(community.grids) - 1)
        return needs.NeedDraft(
            service_type=service.slug,
            place_id=community.id,
            title=values.Bilingual(
                zh.format(place=community.name.zh, word=word.zh),
                en.format(place=community.name.en, word=word.en),
            ),
            location=_somewhere(draw, community, grid),
            radius_m=draw.between(500, 1500, 50),
            beneficiaries=draw.pick((0, 12, 40)),
            priority=draw.pick(("normal", "normal", "elders", "children", "special")),
            windows=(self._window(),),
            min_coverage=draw.pick((0.25, 0.5, 1.0)),
            budget=draw.pick((None, values.Price(1000 * len(slots)))),
            slots=slots,
        )

    def _window(self) -> values.Window:
        first = self._draw.between(14, 37)
        return values.Window(
            days=self._draw.pick(_DAYS),
            start=_clock(first),
            end=_clock(first + 4),
            until=self._today + dt.timedelta(days=57) if self._draw.chance(50) else None,
        )


def _one(draw: Draw) -> services.ServiceTypeRecord:
    return SERVICES[bisect.bisect(_WANTED, draw.between(0, _WANTED[-1] - 1))]


def _several(draw: Draw) -> list[services.ServiceTypeRecord]:
    return [_one(draw) for _ in range(draw.between(1, 3))]


def _some(draw: Draw, items: Sequence[str], count: int) -> tuple[str, ...]:
    """So many of the items, each once, in their own order."""
    chosen = {draw.pick(items) for _ in range(count)}
    return tuple(item for item in items if item in chosen)


def _word(draw: Draw, service: services.ServiceTypeRecord) -> values.Bilingual:
    """One of the words that people use for a service."""
    zh = draw.pick((service.name.zh, *service.synonyms.zh))
    en = draw.pick((service.name.en, *service.synonyms.en))
    return values.Bilingual(zh, en.lower())


def _somewhere(draw: Draw, community: Community, grid: int) -> values.Point:
    """In a grid: mostly around its middle. Sums only, which every machine rounds alike."""
    kind = community.kind
    row, column = divmod(grid, kind.grids_across)
    pulls = 3 if draw.chance(67) else 1
    east, north = (sum(draw.share() for _ in range(pulls)) / pulls for _ in range(2))
    return city.position(
        community,
        (column + east) * kind.east_km / kind.grids_across,
        (row + north) * kind.north_km / kind.grids_across,
    )


def _clock(half_hours: int) -> str:
    return f"{half_hours // 2:02}:{half_hours % 2 * 30:02}"


def asks(made: city.City, count: int) -> list[tuple[uuid.UUID, needs.NeedDraft]]:
    """So many needs of one role all over a city, with ids, for measuring; written nowhere."""
    draw, ids = Draw(city.SEED - 1), city.Ids(len(made.communities) + 1)
    asking = Asking(draw, made.today)
    return [(ids.next(), asking.single(draw.pick(made.communities))) for _ in range(count)]
