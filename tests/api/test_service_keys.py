"""Service keys: what a partner's own system may do, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from api import auth
from api.documentation import endpoints
from models import engine
from tests.api import contract
from tests.api.test_partners import LICENCE, a_partner
from tests.api.test_roles import role_id
from tests.clocks import Clock
from tests.towns import Town, a_need, a_point, a_space, an_offering

EVERY = ["read", "offerings", "needs", "partners"]


def a_key(town: Town, **change: Any) -> dict[str, Any]:
    """The key of Qiaobei's own system, which may do all that keys may."""
    return {"name": "街道平台", "scopes": EVERY, "place_id": town.community, **change}


async def make_key(town: Town, who: str = "secretary", **change: Any) -> dict[str, Any]:
    """A new key, which the town then knows as `key`."""
    made = await town.make("/v1/service-keys", a_key(town, **change), who)
    town.tokens = {**town.tokens, "key": made["key"]}
    return dict(made["record"])


@pytest.mark.parametrize(
    ("who", "at_place", "of_partner"),
    [
        ("anonymous", 401, 401),
        ("resident", 403, 403),
        ("grid_worker", 403, 403),
        ("sibling_secretary", 403, 403),
        ("partner_staff", 403, 201),
        ("secretary", 201, 403),
        ("officer", 201, 403),
        ("operator", 201, 201),
    ],
)
async def test_keys_are_made_by_who_decides_for_the_place_or_acts_for_the_partner(
    town: Town, who: str, at_place: int, of_partner: int
) -> None:
    of_this = a_key(town, place_id=None, partner_id=town.partner)
    for body, status in ((a_key(town), at_place), (of_this, of_partner)):
        answer = await town.as_(who, "POST", "/v1/service-keys", json=body)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes[0]"),
        ({"place_id": None}, "place_id"),
        ({"name": ""}, "name"),
        ({"key": "cpk_mine"}, "key"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_a_key_that_cannot_be_made_names_the_field(
    town: Town, change: dict[str, Any], field: str
) -> None:
    answer = await town.as_("secretary", "POST", "/v1/service-keys", json=a_key(town, **change))
    assert answer.status_code in (400, 422), answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_key_is_shown_once_and_kept_as_its_hash(town: Town) -> None:
    headers = {"Idempotency-Key": "key-1"}
    made = await town.make("/v1/service-keys", a_key(town), headers=headers)
    mark, prefix, secret = made["key"].split("_", 2)
    assert (mark, prefix, len(prefix)) == ("cpk", made["record"]["prefix"], 8)
    assert len(secret) >= 43
    assert secret not in str(await town.get("/v1/service-keys", "secretary"))
    for table in ("service_key", "answer", "audit", "outbox"):
        assert secret not in str(await engine.fetch(f"SELECT * FROM {table}"))


async def test_keys_are_listed_and_revoked_where_they_are_made(town: Town) -> None:
    record = await make_key(town)
    for who, seen in (("officer", 1), ("secretary", 1), ("grid_worker", 0), ("partner_staff", 0)):
        assert len((await town.get("/v1/service-keys", who))["items"]) == seen, who
    assert (await town.as_("anonymous", "GET", "/v1/service-keys")).status_code == 401
    path = f"/v1/service-keys/{record['id']}"
    assert (await town.as_("sibling_secretary", "DELETE", path)).status_code == 404
    await town.get("/v1/needs", "key")
    assert (await town.as_("officer", "DELETE", path)).status_code == 204
    assert (await town.as_("key", "GET", "/v1/needs")).status_code == 401
    assert (await town.as_("officer", "DELETE", path)).status_code == 404
    assert (await town.get("/v1/service-keys", "secretary"))["items"] == []


async def test_a_key_writes_like_the_secretary_of_its_place_and_nowhere_else(town: Town) -> None:
    await make_key(town)
    draft = await town.make("/v1/needs", a_need(town, status="draft"), "key")
    assert (await town.get(f"/v1/needs/{draft['id']}", "key"))["status"] == "draft"
    await town.change(f"/v1/needs/{draft['id']}", {"beneficiaries": 61}, "key")
    await town.make("/v1/offerings", a_space(town), "key")
    body = a_need(town, place_id=town.sibling)
    assert (await town.as_("key", "POST", "/v1/needs", json=body)).status_code == 403


async def test_a_program_of_a_community_is_not_its_staff(town: Town) -> None:
    """A key of a place reads what everybody may, and drafts only where it may write them."""
    home = an_offering(town, kind="volunteer", credentials=[LICENCE], location=a_point(3, 4))
    volunteer = await town.make("/v1/offerings", home, "partner_staff")
    ill = await town.make("/v1/needs", a_need(town, beneficiary="self", location=a_point(3, 4)))
    draft = await town.make("/v1/needs", a_need(town, status="draft"))
    paths = [
        f"/v1/offerings/{volunteer['id']}",
        f"/v1/needs/{ill['id']}",
        f"/v1/partners/{town.partner}",
        f"/v1/needs/{ill['id']}/matches",
        "/v1/search?sort=distance&lat=29.57&lon=106.55",
    ]
    await town.indexed()
    told = [(await town.as_("anonymous", "GET", path)).json() for path in paths]
    for scopes, drafts in ((["read"], 0), (EVERY, 1)):
        await make_key(town, scopes=scopes)
        for path, public in zip(paths, told, strict=True):
            answer = await town.get(path, "key")
            assert answer | {"snapshot": None, "lag_s": 0} == public | {
                "snapshot": None,
                "lag_s": 0,
            }
        assert len((await town.get("/v1/needs?status=draft", "key"))["items"]) == drafts
        answer = await town.as_("key", "GET", f"/v1/needs/{draft['id']}")
        assert answer.status_code == (200 if drafts else 404)
    exact = (await town.get(paths[3], "secretary"))["snapshot"]
    assert (await town.as_("key", "GET", f"/v1/snapshots/{exact}")).status_code == 404
    changed = await town.change(paths[0], {"capacity": 2}, "key")
    assert (changed["location_exact"], "number" in changed["credentials"][0]) == (False, False)
    assert (await town.get(paths[0], "secretary"))["location"] == a_point(3, 4)


async def test_a_key_that_replaces_a_calendar_is_not_told_the_home(town: Town) -> None:
    home = an_offering(town, kind="volunteer", location=a_point(3, 4))
    path = f"/v1/offerings/{(await town.make('/v1/offerings', home, 'partner_staff'))['id']}"
    await make_key(town)
    calendar = await town.as_("key", "GET", f"{path}/availability.ics")
    headers = {"If-Match": "*", "Content-Type": "text/calendar"}
    answer = await town.as_(
        "key", "PUT", f"{path}/availability.ics", content=calendar.content, headers=headers
    )
    assert (answer.status_code, answer.json()["location_exact"]) == (200, False)


async def test_a_key_of_a_partner_sees_its_own_homes_and_nobody_elses(town: Town) -> None:
    home = an_offering(town, kind="volunteer", location=a_point(3, 4))
    own = await town.make("/v1/offerings", home, "partner_staff")
    other = await town.make("/v1/partners", a_partner(town, kind="resident"), "vanguard")
    await town.make(f"/v1/partners/{other['id']}/admit", None)
    strange = await town.make("/v1/offerings", home | {"partner_id": other["id"]}, "vanguard")
    await make_key(town, "partner_staff", place_id=None, partner_id=town.partner)
    for made, exact in ((own, True), (strange, False)):
        read = await town.get(f"/v1/offerings/{made['id']}", "key")
        assert read["location_exact"] is exact
    assert (await town.get(f"/v1/partners/{town.partner}", "key"))["contact_phone"]


async def test_a_key_of_a_partner_acts_like_its_people(town: Town) -> None:
    await make_key(town, "partner_staff", place_id=None, partner_id=town.partner)
    await town.make("/v1/offerings", an_offering(town), "key")
    assert (await town.as_("key", "POST", "/v1/needs", json=a_need(town))).status_code == 403


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"read", "search", "preview"}),
        (["needs"], {"needs"}),
        (["offerings"], {"offerings"}),
        (["partners"], {"partners"}),
        (EVERY, {"read", "search", "preview", "needs", "offerings", "partners"}),
    ],
)
async def test_a_key_does_what_its_scopes_say_and_no_more(
    town: Town, scopes: list[str], allowed: set[str]
) -> None:
    await make_key(town, scopes=scopes)
    partner = {"headers": {"If-Match": "*"}, "json": {"contact_name": "周姐"}}
    asked: dict[str, tuple[str, str, dict[str, Any]]] = {
        "read": ("GET", "/v1/needs", {}),
        "search": ("GET", "/v1/search?q=x", {}),
        "preview": ("POST", "/v1/needs/preview", {"json": a_need(town)}),
        "needs": ("POST", "/v1/needs", {"json": a_need(town)}),
        "offerings": ("POST", "/v1/offerings", {"json": an_offering(town)}),
        "partners": ("PATCH", f"/v1/partners/{town.partner}", partner),
    }
    done = set()
    for name, (method, path, options) in asked.items():
        answer = await town.as_("key", method, path, **options)
        if answer.status_code in (200, 201):
            done.add(name)
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "key_scope"), answer.text
    assert done == allowed


async def test_what_is_for_people_is_for_no_key(town: Town) -> None:
    await make_key(town, "operator")
    for method, path, body in (
        ("GET", "/v1/sessions/current", None),
        ("DELETE", "/v1/sessions/current", None),
        ("GET", "/v1/accounts/current", None),
        ("POST", f"/v1/accounts/{town.accounts['resident']}/ban", None),
        ("GET", "/v1/roles", None),
        ("POST", "/v1/roles", {"account_id": str(town.accounts["resident"]), "role": "operator"}),
        ("POST", "/v1/invitations", {"role": "volunteer", "place_id": town.community}),
        ("GET", "/v1/service-keys", None),
        ("POST", "/v1/service-keys", a_key(town)),
        ("POST", f"/v1/partners/{town.partner}/suspend", None),
        ("POST", f"/v1/partners/{town.partner}/credentials/{town.partner}/verify", None),
        ("POST", "/v1/places", {}),
        ("PUT", f"/v1/places/{town.community}/blocked-partners/{town.partner}", None),
    ):
        answer = await town.as_("key", method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "key_scope"), path


def test_every_tag_of_the_key_tables_exists_and_what_has_no_row_is_for_people() -> None:
    tags = {endpoint.tag for endpoint in endpoints.of(contract.plain_app())}
    assert set(auth.KEY_WRITES) <= auth.KEY_READS <= tags
    secrets = {"sessions", "accounts", "roles", "invitations", "service keys", "audit"}
    assert auth.KEY_READS.isdisjoint(secrets)


async def test_a_key_ends_at_its_date(town: Town, clock: Clock) -> None:
    await make_key(town, expires_at=clock.after(hours=1))
    await town.get("/v1/needs", "key")
    clock.advance(hours=1)
    assert (await town.as_("key", "GET", "/v1/needs")).status_code == 401


async def test_a_key_ends_when_its_maker_is_moved_or_banned(town: Town) -> None:
    await make_key(town)
    await town.as_("officer", "DELETE", f"/v1/roles/{await role_id(town, 'secretary')}")
    assert (await town.as_("key", "GET", "/v1/needs")).status_code == 401
    await make_key(town, "officer")
    await town.get("/v1/needs", "key")
    await town.make(f"/v1/accounts/{town.accounts['officer']}/ban", None, "operator")
    assert (await town.as_("key", "GET", "/v1/needs")).status_code == 401


async def test_the_last_use_is_noted_at_most_once_a_minute(town: Town, clock: Clock) -> None:
    async def last_used() -> Any:
        (key,) = (await town.get("/v1/service-keys", "secretary"))["items"]
        return key["last_used_at"]

    await make_key(town)
    assert await last_used() is None
    await town.get("/v1/needs", "key")
    first = await last_used()
    clock.advance(seconds=59)
    await town.get("/v1/needs", "key")
    assert await last_used() == first
    clock.advance(seconds=1)
    await town.get("/v1/needs", "key")
    assert await last_used() > first


@pytest.mark.parametrize("key", ["cpk_", "cpk_abcdefgh_made-up", "cpk_" + "x" * 5000])
async def test_a_made_up_key_is_refused_on_public_reads_too(town: Town, key: str) -> None:
    answer = await town.client.get("/v1/needs", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]
