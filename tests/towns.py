"""The application under test as its users meet it: over HTTP, signed in or not.

Builders are plain functions that answer request bodies: `a_space(town)`, `a_need(town)`. A test
changes what it is about and leaves the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import argon2
import httpx
import pytest
from litestar import Litestar
from msgspec import Struct

from api.app import create_app
from models import accounts, base, engine, partners, places, settings, values
from models.accounts import passwords
from tests.api import contract

PASSWORD = "open sesame"
# What a password costs is the matter of one test; all others, and the benchmarks, pay less.
full_hasher, passwords._hasher = passwords._hasher, argon2.PasswordHasher(1, 8, 1)


class Setting(Struct):
    """Two communities side by side, one account per role, one admitted partner. Made once a run;
    every test starts from a copy of its database."""

    district: uuid.UUID
    subdistrict: uuid.UUID
    community: uuid.UUID
    grid: uuid.UUID
    sibling: uuid.UUID
    elsewhere: uuid.UUID
    partner: uuid.UUID
    accounts: dict[str, uuid.UUID]
    tokens: dict[str, str]


class Town:
    """A running application on a copy of the setting, with a client."""

    def __init__(self, client: httpx.AsyncClient, app: Litestar, setting: Setting):
        self.client, self.app = client, app
        self.community, self.sibling = str(setting.community), str(setting.sibling)
        self.subdistrict, self.district = str(setting.subdistrict), str(setting.district)
        self.elsewhere = str(setting.elsewhere)
        self.grid, self.partner = str(setting.grid), str(setting.partner)
        self.accounts, self.tokens = dict(setting.accounts), dict(setting.tokens)

    async def as_(self, who: str, method: str, path: str, **options: Any) -> httpx.Response:
        """A request as one of the accounts, or as `anonymous`."""
        headers = dict(options.pop("headers", {}))
        if who != "anonymous":
            headers["Authorization"] = f"Bearer {self.tokens[who]}"
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, who: str = "anonymous", **options: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = await self.as_(who, "GET", path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def indexed(self) -> None:
        """Wait until the worker has carried every change to the index."""
        async with asyncio.timeout(20):
            while await engine.fetch("SELECT 1 FROM outbox LIMIT 1"):
                await asyncio.sleep(0.01)

    async def make(self, path: str, body: Any, who: str = "secretary", **options: Any) -> Any:
        """The JSON of a POST that must succeed."""
        answer = await self.as_(who, "POST", path, json=body, **options)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def change(self, path: str, body: Any, who: str = "secretary") -> Any:
        """The JSON of a PATCH of the current version, which must succeed."""
        etag = (await self.as_(who, "GET", path)).headers["etag"]
        answer = await self.as_(who, "PATCH", path, json=body, headers={"If-Match": etag})
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.asynccontextmanager
async def running_town(
    database_url: str, directory: Path, setting: Setting, **environment: str
) -> AsyncIterator[Town]:
    """Start the application on a copy of the setting's database, without limits unless asked.

    Every answer that is not as the OpenAPI document says fails the test that asked for it.
    """
    options = settings.load(
        {"RATE_LIMIT": "0", **environment},
        database_url=database_url,
        data=directory / "data",
        demo=False,
    )
    app = create_app(options) if environment else contract.plain_app()
    app.state.options = options
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        _alive(app),
        httpx.AsyncClient(
            transport=transport,
            base_url="http://town",
            event_hooks={"response": [contract.keep]},
        ) as client,
    ):
        yield Town(client, app, setting)


@contextlib.asynccontextmanager
async def _alive(app: Litestar) -> AsyncIterator[None]:
    """The application's lifespan in one task of its own: fixtures are entered and left in
    different tasks, which the cancel scopes inside do not allow."""
    started, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            started.set()
            await over.wait()

    life = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({life, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        waiting.cancel()
        life.result()
    try:
        yield
    finally:
        over.set()
        await life


async def settle() -> Setting:
    """Fill the database in use with the setting, as of the first day of 2026.

    Roles hold from then and tokens for decades, so that a test may stop the clock anywhere after.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "clock", lambda: dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
        return await _settle()


async def _settle() -> Setting:
    city = await _place("chongqing", "municipality", None)
    district = await _place("jiangbei", "district", city)
    elsewhere = await _place("jiefangbei", "community", await _place("yuzhong", "district", city))
    subdistrict = await _place("guanyinqiao", "subdistrict", district)
    community = await _place("qiaobei", "community", subdistrict)
    grid = await _place("qiaobei-grid-1", "grid", community)
    sibling = await _place("yubei", "community", subdistrict)
    at: dict[str, tuple[Any, uuid.UUID | None]] = {
        "resident": ("resident", community),
        "volunteer": ("volunteer", community),
        "vanguard": ("vanguard", community),
        "grid_worker": ("grid_worker", grid),
        "secretary": ("secretary", community),
        "sibling_secretary": ("secretary", sibling),
        "officer": ("officer", subdistrict),
        "operator": ("operator", None),
        "partner_staff": ("resident", community),
        "other_staff": ("resident", sibling),
    }
    ids, tokens = {}, {}
    for who, (role, place) in at.items():
        ids[who] = await accounts.register(f"{who}@test", PASSWORD, who)
        await accounts.grant(ids[who], role, place=place)
    applied = await partners.apply(_trader(community), ids["partner_staff"])
    await partners.move(applied, "admit")
    for who in at:
        decades = dt.timedelta(days=36_500)
        session = await accounts.sign_in(f"{who}@test", PASSWORD, decades, decades)
        tokens[who] = session.access_token
    return Setting(
        district, subdistrict, community, grid, sibling, elsewhere, applied.id, ids, tokens
    )


async def _place(slug: str, kind: str, parent: uuid.UUID | None) -> uuid.UUID:
    place = await places.found(
        places.PlaceDraft(
            slug=slug,
            kind=kind,  # type: ignore[arg-type]
            parent_id=parent,
            name=values.Bilingual(f"{slug} 社区", slug.title()),
            location=values.Point(29.57, 106.55),
        )
    )
    return place.id


def _trader(place: uuid.UUID) -> partners.PartnerDraft:
    return partners.PartnerDraft(
        kind="sole_trader",
        place_id=place,
        name=values.Bilingual("周姐早餐", "Zhou's breakfasts"),
        contact_name="周梅",
        contact_phone="+86 23 6789 0001",
    )


def a_point(east_m: int = 0, north_m: int = 0) -> dict[str, float]:
    """A position so many metres east and north of Qiaobei's centre."""
    return {"lat": round(29.57 + north_m / 111_195, 6), "lon": round(106.55 + east_m / 96_712, 6)}


def mornings(**change: Any) -> dict[str, Any]:
    """Monday to Friday, 06:30 to 09:00."""
    return {"days": [1, 2, 3, 4, 5], "start": "06:30", "end": "09:00", **change}


def an_offering(town: Town, **change: Any) -> dict[str, Any]:
    """Zhou's breakfasts, 100 m from the centre of Qiaobei."""
    return {
        "kind": "merchant",
        "partner_id": town.partner,
        "place_id": town.community,
        "title": {"zh": "周姐早餐店", "en": "Zhou's breakfast shop"},
        "location": a_point(100),
        "reach_m": 2000,
        "service_types": ["breakfast_point"],
        "features": ["licensed_kitchen"],
        "capacity": 80,
        "price": {"amount": 500, "currency": "CNY", "per": "session"},
        "price_tier": "low_fee",
        "availability": [mornings(start="06:00", end="10:00")],
        "languages": ["zh"],
        **change,
    }


def a_space(town: Town, **change: Any) -> dict[str, Any]:
    """The old toolroom of Qiaobei."""
    return an_offering(
        town,
        **{
            "kind": "space",
            "title": {"zh": "桥北闲置工具房", "en": "Qiaobei idle toolroom"},
            "reach_m": None,
            "features": ["step_free", "power"],
            "price": {"amount": 0},
            "price_tier": "public",
            **change,
        },
    )


def a_booking(start: str = "06:30", end: str = "09:00", **change: Any) -> dict[str, Any]:
    """The first Monday at least two days from now, 06:30 to 09:00 in Qiaobei."""
    day = (base.now() + dt.timedelta(days=2)).date()
    day += dt.timedelta(days=-day.weekday() % 7)
    return {
        "starts_at": f"{day}T{start}:00+08:00",
        "ends_at": f"{day}T{end}:00+08:00",
        **change,
    }


def a_docking(town: Town, **change: Any) -> dict[str, Any]:
    """The toolroom of Qiaobei becomes a breakfast point, with Zhou's kitchen."""
    return {
        "partner_id": town.partner,
        "place_id": town.community,
        "service_type": "breakfast_point",
        "title": {"zh": "工具房改造为早餐点", "en": "The toolroom becomes a breakfast point"},
        "brings": {"zh": "厨具", "en": "Kitchen equipment"},
        "starts_on": "2026-12-01",
        "ends_on": "2027-03-31",
        **change,
    }


def a_training(town: Town, **change: Any) -> dict[str, Any]:
    """First aid, good for two years."""
    return {
        "place_id": town.community,
        "title": {"zh": "急救员培训", "en": "First aid course"},
        "provider": {"zh": "江北区红十字会", "en": "Red Cross of Jiangbei"},
        "skill": "first_aid",
        "valid_for": "P2Y",
        **change,
    }


def a_need(town: Town, **change: Any) -> dict[str, Any]:
    """Breakfast at dawn for 60 people of Qiaobei, within a kilometre."""
    return {
        "service_type": "breakfast_point",
        "place_id": town.community,
        "title": {"zh": "需要早餐点", "en": "A breakfast point at dawn"},
        "location": a_point(),
        "radius_m": 1000,
        "beneficiaries": 60,
        "priority": "elders",
        "windows": [mornings()],
        "budget": {"amount": 1000, "currency": "CNY", "per": "session"},
        "slots": [{"role": "cook", "kind": "merchant", "min_capacity": 60}],
        **change,
    }
