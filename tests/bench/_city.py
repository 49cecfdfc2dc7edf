"""A synthetic city of any size, always the same: it grows, its density does not.

About 1,000 offerings a km² of 20 services, two thirds of them around the middle of a community,
one community a km². Rows go straight into the tables; the verbs would take minutes.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from piccolo.table import Table

from models import accounts, base, engine, needs, offerings, partners, places, services, values

PER_KM2 = 1_000
TODAY = dt.datetime(2026, 11, 4, 4, tzinfo=dt.UTC)
SERVICES = tuple(service.slug for service in services.shipped()[:20])
_POPULAR = [1 / (rank + 4) for rank in range(len(SERVICES))]
KINDS = {"volunteer": 45, "vanguard": 15, "merchant": 22, "space": 12, "goods": 6}
_SOUTH, _WEST = 29.50, 106.45
_LAT_KM, _LON_KM = 1 / 111.195, 1 / 96.712
_LICENCES = ("food_licence", "first_aid", "teaching_certificate", "health_certificate")
_FEATURES = ("step_free", "power", "kitchen", "toilet", "quiet", "projector", "piano", "wifi")
_DAYS = ((1, 2, 3, 4, 5), (6, 7), (1, 3, 5), (2, 4), (6,), (1, 2, 3, 4, 5, 6, 7))


class City:
    """So many offerings, and what surrounds them. `asks` makes any number of needs."""

    def __init__(self, size: int) -> None:
        self._chance = random.Random(size)
        self._side = math.sqrt(size / PER_KM2)
        self._size = size
        self._made = 0
        across = max(1, round(self._side))
        self.communities = [
            (self.id(), (column + 0.5) * self._side / across, (row + 0.5) * self._side / across)
            for row in range(across)
            for column in range(across)
        ]
        self.account = self.id()

    def id(self) -> uuid.UUID:
        """As `base.new_id` makes them: sorted by time, the rest random."""
        self._made += 1
        bits = (1_762_000_000_000 + self._made) << 80 | self._chance.getrandbits(76)
        return uuid.UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62)

    async def settle(self) -> None:
        """Write all of it into the migrated database in use, and let it look at its indexes."""
        account = {"id": self.account, "login": "somebody@bench", "password_hash": "-"}
        await _copy(accounts.Account, [account])
        await _copy(places.Place, self._places())
        pairs = ({"ancestor": place, "descendant": place} for place, *_ in self.communities)
        await _copy(places.PlaceClosure, [{"id": self.id(), "depth": 0, **pair} for pair in pairs])
        rows = list(self._offerings())
        for table in (partners.Partner, offerings.Offering, offerings.OfferingService):
            await _copy(table, [row for kind, row in rows if kind is table])
        for table in (partners.Credential, offerings.ServiceRecord):
            await _copy(table, [row for kind, row in rows if kind is table])
        if engine.current().dialect == "postgres":
            # Its autovacuum would have done so; SQLite has nobody who does.
            await engine.execute("ANALYZE")

    def _places(self) -> Iterator[dict[str, Any]]:
        for number, (place, east, north) in enumerate(self.communities):
            name = {"name_zh": f"社区 {number}", "name_en": f"Community {number}"}
            at = self._at(east, north)
            state = {"timezone": "Asia/Shanghai", "status": "active", "version": 1}
            slug = f"community-{number}"
            yield {"id": place, "slug": slug, "kind": "community", **name, **at, **state}

    def _offerings(self) -> Iterator[tuple[type[Table], dict[str, Any]]]:
        """Partners, offerings and all that hangs on them."""
        shared: dict[tuple[uuid.UUID, str], uuid.UUID] = {}
        for _ in range(self._size):
            place, east, north = self._chance.choice(self.communities)
            kind = self._chance.choices(tuple(KINDS), tuple(KINDS.values()))[0]
            partner = shared.get((place, kind))
            # Half of the volunteers belong to their community's team, the others to nobody.
            if partner is None or self._chance.random() < 0.5:
                partner = self.id()
                if kind in ("volunteer", "vanguard"):
                    shared.setdefault((place, kind), partner)
                yield partners.Partner, self._partner(partner, place)
            row = self._offering(kind, partner, place, self._spread(east, north))
            yield offerings.Offering, row
            for slug in json.loads(row["service_types"]):
                link = {"id": self.id(), "offering": row["id"], "service_type": slug}
                yield offerings.OfferingService, {**link, "kind": kind, "cell": row["cell"]}
            if self._chance.random() < 0.4:
                yield partners.Credential, self._credential(partner, row["id"])
            if self._chance.random() < 0.1:
                record = {"offering": row["id"], "place": place, "times": 2}
                yield offerings.ServiceRecord, {"id": self.id(), **record}

    def _partner(self, partner: uuid.UUID, place: uuid.UUID) -> dict[str, Any]:
        status = self._chance.choices(("admitted", "applied"), (95, 5))[0]
        name = {"name_zh": "团队", "name_en": "Team", "kind": "resident_group", "version": 1}
        return {"id": partner, "place": place, "public_place": place, "status": status, **name}

    def _offering(
        self, kind: str, partner: uuid.UUID, place: uuid.UUID, at: tuple[float, float]
    ) -> dict[str, Any]:
        chance = self._chance
        position = self._at(*at)
        jobs = chance.choice([0, 0, 3, 20])
        wanted = dict.fromkeys(
            chance.choices(SERVICES, [1 / (rank + 4) for rank in range(20)], k=chance.randint(1, 3))
        )
        return {
            "id": self.id(),
            "kind": kind,
            "partner": partner,
            "place": place,
            "public_place": place,
            "title_zh": "服务",
            "title_en": "Service",
            **position,
            **{f"public_{name}": value for name, value in position.items()},
            "cell": offerings.cell(position["lat_e6"], position["lon_e6"]),
            "reach_m": None if kind == "space" else chance.choice([None, 500, 1000, 2000]),
            "capacity": chance.choice([None, 8, 20, 40, 80, 150]),
            "price_amount": chance.choice([0, 0, 300, 500, 800, 1500, 3000]),
            "price_currency": "CNY",
            "price_per": chance.choice(["session", "session", "month"]),
            "price_tier": "low_fee",
            "service_types": base.pack(list(wanted)),
            "features": base.pack(sorted(chance.sample(_FEATURES, chance.randint(0, 4)))),
            "requires_features": "[]",
            "languages": base.pack(chance.choice([["zh"], ["zh"], ["zh", "en"]])),
            "availability": base.pack([self._window() for _ in range(chance.choice([1, 1, 2]))]),
            "max_hours_week": chance.choice([None, 4, 8, 20]),
            "max_contacts_week": chance.choice([None, None, 3, 0]),
            "ratings": jobs,
            "rating_sum": jobs * chance.randint(300, 500),
            "jobs_agreed": jobs,
            "jobs_kept": jobs * chance.choice([9, 10]) // 10,
            "status": chance.choices(("active", "paused", "draft"), (92, 5, 3))[0],
            "version": 1,
        }

    def _credential(self, partner: uuid.UUID, offering: uuid.UUID) -> dict[str, Any]:
        ends = TODAY.date() + dt.timedelta(days=self._chance.randint(-60, 900))
        return {
            "id": self.id(),
            "partner": partner,
            "offering": offering if self._chance.random() < 0.7 else None,
            "kind": self._chance.choice(_LICENCES),
            "issuer": "街道办",
            "number": str(self._made),
            "valid_from": dt.date(2024, 1, 1),
            "valid_to": ends,
            "verified_by": self.account if self._chance.random() < 0.9 else None,
        }

    def _window(self) -> values.Window:
        first = self._chance.randrange(12, 40)
        last = min(first + self._chance.randint(4, 20), 48)
        year_ends = self._chance.random() < 0.2
        closed = (dt.date(2026, 11, 11), dt.date(2027, 1, 1))
        return values.Window(
            days=self._chance.choice(_DAYS),
            start=f"{first // 2:02}:{first % 2 * 30:02}",
            end=f"{last // 2:02}:{last % 2 * 30:02}",
            until=dt.date(2027, 12, 31) if year_ends else None,
            except_=closed if self._chance.random() < 0.2 else (),
        )

    def _spread(self, east: float, north: float) -> tuple[float, float]:
        """Mostly around the middle of the community, else anywhere in the city; in km."""
        if self._chance.random() < 2 / 3:
            return self._chance.gauss(east, 0.3), self._chance.gauss(north, 0.3)
        return self._chance.uniform(0, self._side), self._chance.uniform(0, self._side)

    def _at(self, east: float, north: float) -> dict[str, int]:
        return {
            "lat_e6": values.micro(_SOUTH + north * _LAT_KM),
            "lon_e6": values.micro(_WEST + east * _LON_KM),
        }

    def asks(self, count: int) -> list[tuple[uuid.UUID, needs.NeedDraft]]:
        """So many needs of one slot each, 500 to 1,500 m around a community's people."""
        chance = self._chance
        made = []
        for _ in range(count):
            place, east, north = chance.choice(self.communities)
            at = self._at(*self._spread(east, north))
            kind = chance.choices(tuple(KINDS), tuple(KINDS.values()))[0]
            slot: dict[str, Any] = {"role": "helper", "kind": kind}
            if chance.random() < 0.3:
                slot["min_capacity"] = chance.choice([8, 30, 60])
            if chance.random() < 0.2:
                slot["credentials"] = (chance.choice(_LICENCES),)
            if chance.random() < 0.2:
                slot["features"] = (chance.choice(_FEATURES),)
            draft = needs.NeedDraft(
                service_type=chance.choices(SERVICES, _POPULAR)[0],
                place_id=place,
                title=values.Bilingual("需要", "A need"),
                location=values.Point(at["lat_e6"] / 1e6, at["lon_e6"] / 1e6),
                radius_m=chance.randrange(500, 1501, 50),
                beneficiaries=chance.choice([0, 12, 40]),
                windows=(self._asked(),),
                min_coverage=chance.choice([0.25, 0.5, 1.0]),
                budget=chance.choice([None, values.Price(1000)]),
                slots=(values.Slot(**slot),),
            )
            made.append((self.id(), draft))
        return made

    def _asked(self) -> values.Window:
        first = self._chance.randrange(14, 38)
        return values.Window(
            days=self._chance.choice(_DAYS),
            start=f"{first // 2:02}:{first % 2 * 30:02}",
            end=f"{first // 2 + 2:02}:{first % 2 * 30:02}",
            until=dt.date(2026, 12, 31) if self._chance.random() < 0.5 else None,
        )

    async def post(self, asked: Iterable[tuple[uuid.UUID, needs.NeedDraft]]) -> None:
        """Write needs into the database in use."""
        rows = [
            {
                "id": identity,
                "place": draft.place_id,
                "public_place": draft.place_id,
                "posted_by": self.account,
                "version": 1,
            }
            | {"service_type": draft.service_type}
            | needs._columns(draft)
            for identity, draft in asked
        ]
        await _copy(needs.Need, rows)


async def _copy(table: type[Table], rows: Iterable[dict[str, Any]]) -> None:
    """Many rows at once; a column that a row leaves out has its default, moments are today."""
    columns = [column._meta.db_column_name for column in table._meta.columns]
    blank = {
        column._meta.db_column_name: TODAY
        if column._meta.db_column_name.endswith("_at")
        else None
        if column._meta.null
        else column.get_default_value()
        for column in table._meta.columns
    }
    filled = [tuple((blank | row)[name] for name in columns) for row in rows]
    opened = engine.current()
    name = table._meta.tablename
    if isinstance(opened, engine.Postgres):
        assert opened.pool is not None
        async with opened.pool.acquire() as connection:
            await connection.copy_records_to_table(name, records=filled, columns=columns)
        return
    with sqlite3.connect(opened.path) as beside:
        beside.executemany(
            f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            ([_plain(value) for value in row] for row in filled),
        )
    beside.close()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (uuid.UUID, dt.date)) else value
