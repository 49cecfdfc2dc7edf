"""Roles: giving, revoking, moving, lending, inviting. Each begins with the anonymous caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from models import accounts, base
from search import engine as index
from search import scopes
from tests.api.test_accounts import admit, open_account, status_of
from tests.clocks import Clock
from tests.towns import Town, a_need

NOBODY = "00000000-0000-7000-8000-000000000000"


async def a_person(town: Town, who: str = "newcomer") -> str:
    """A new account, signed in as `who`; made past the API, which allows few in a minute."""
    account = await accounts.register(f"{who}@example.org", "a long enough one", who)
    await admit(town, who, f"{who}@example.org", "a long enough one")
    return str(account)


def a_role(town: Town, account: str, role: str = "volunteer", **change: Any) -> dict[str, Any]:
    """A volunteer of Qiaobei."""
    return {"account_id": account, "role": role, "place_id": town.community, **change}


async def roles_of(town: Town, who: str) -> list[tuple[str, str | None]]:
    session = await town.get("/v1/sessions/current", who)
    return sorted((role["name"], role["place"] or role["partner"]) for role in session["roles"])


async def role_id(town: Town, who: str) -> str:
    account = town.accounts[who]
    page = await town.get(f"/v1/roles?account={account}", "operator")
    return str(page["items"][0]["id"])


@pytest.mark.parametrize(
    ("who", "gives"),
    [
        ("resident", set()),
        ("volunteer", set()),
        ("vanguard", set()),
        ("grid_worker", set()),
        ("partner_staff", {"partner_staff@partner"}),
        ("other_staff", set()),
        (
            "secretary",
            {f"{role}@community" for role in ("resident", "volunteer", "vanguard", "grid_worker")},
        ),
        (
            "officer",
            {
                f"{role}@{place}"
                for role in ("resident", "volunteer", "vanguard", "grid_worker", "secretary")
                for place in ("community", "sibling")
            },
        ),
        (
            "operator",
            {
                f"{role}@{place}"
                for role in ("resident", "volunteer", "vanguard", "grid_worker", "secretary")
                for place in ("community", "sibling", "elsewhere")
            }
            | {"officer@subdistrict", "officer@district", "operator@", "partner_staff@partner"},
        ),
    ],
)
async def test_everybody_gives_exactly_the_roles_that_are_theirs_to_give(
    town: Town, who: str, gives: set[str]
) -> None:
    account = await a_person(town)
    given = set()
    for role in ("resident", "volunteer", "vanguard", "grid_worker", "secretary"):
        for place in ("community", "sibling", "elsewhere"):
            body = a_role(town, account, role, place_id=getattr(town, place))
            answer = await town.as_(who, "POST", "/v1/roles", json=body)
            assert answer.status_code in (201, 403), answer.text
            given |= {f"{role}@{place}"} if answer.status_code == 201 else set()
    for place in ("subdistrict", "district"):
        body = a_role(town, account, "officer", place_id=getattr(town, place))
        if (await town.as_(who, "POST", "/v1/roles", json=body)).status_code == 201:
            given.add(f"officer@{place}")
    for body, name in (
        ({"role": "operator"}, "operator@"),
        ({"role": "partner_staff", "partner_id": town.partner}, "partner_staff@partner"),
    ):
        body = {"account_id": account, **body}
        if (await town.as_(who, "POST", "/v1/roles", json=body)).status_code == 201:
            given.add(name)
    assert given == gives


async def test_nobody_anonymous_gives_lists_or_revokes_roles(town: Town) -> None:
    body = a_role(town, str(town.accounts["resident"]))
    one = f"/v1/roles/{await role_id(town, 'grid_worker')}"
    for method, path in (("POST", "/v1/roles"), ("GET", "/v1/roles"), ("DELETE", one)):
        options = {"json": body} if method == "POST" else {}
        assert (await town.as_("anonymous", method, path, **options)).status_code == 401


async def test_an_officer_makes_officers_only_strictly_below(town: Town) -> None:
    account = await a_person(town)
    await town.make(
        "/v1/roles", a_role(town, account, "officer", place_id=town.district), "operator"
    )
    other = await a_person(town, "other")
    for place, status in ((town.subdistrict, 201), (town.district, 403)):
        body = a_role(town, other, "officer", place_id=place)
        assert (await town.as_("newcomer", "POST", "/v1/roles", json=body)).status_code == status


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"account_id": NOBODY}, 422, "account_id"),
        ({"place_id": NOBODY}, 422, "place_id"),
        ({"place_id": None}, 400, "place_id"),
        ({"partner_id": NOBODY}, 400, "partner_id"),
        ({"role": "mayor"}, 400, "role"),
        ({"role": "officer"}, 422, "place_id"),
        ({"valid_to": "2026-01-01T00:00:00Z"}, 400, "valid_to"),
        ({"valid_to": "2026-01-01T00:00:00"}, 400, "valid_to"),
        ({"valid_to": "9999-12-31T23:59:59-12:00"}, 400, "valid_to"),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, 400, "valid_from"),
        ({"granted_by": NOBODY}, 400, "granted_by"),
    ],
)
async def test_a_role_that_cannot_be_given_names_the_field(
    town: Town, change: dict[str, Any], status: int, field: str
) -> None:
    body = a_role(town, str(town.accounts["resident"]), **change)
    answer = await town.as_("operator", "POST", "/v1/roles", json=body)
    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_role_holds_between_its_dates(town: Town, clock: Clock) -> None:
    account = await a_person(town)
    body = a_role(town, account, valid_from=clock.after(minutes=1), valid_to=clock.after(minutes=3))
    await town.make("/v1/roles", body)
    assert await roles_of(town, "newcomer") == []
    clock.advance(minutes=1)
    assert await roles_of(town, "newcomer") == [("volunteer", town.community)]
    clock.advance(minutes=2)
    assert await roles_of(town, "newcomer") == []


async def test_a_role_is_not_held_twice_so_that_one_revocation_ends_it(town: Town) -> None:
    account = await a_person(town)
    answers = await asyncio.gather(
        *(town.as_("secretary", "POST", "/v1/roles", json=a_role(town, account)) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    made = next(answer.json() for answer in answers if answer.status_code == 201)
    path = f"/v1/roles/{made['id']}"
    assert (await town.as_("secretary", "DELETE", path)).status_code == 204
    assert (await town.as_("secretary", "DELETE", path)).status_code == 404
    assert await roles_of(town, "newcomer") == []
    await town.make("/v1/roles", a_role(town, account))


async def test_a_repeated_grant_with_one_key_happens_once(town: Town) -> None:
    body, headers = a_role(town, await a_person(town)), {"Idempotency-Key": "volunteer-1"}
    answers = [
        await town.as_("secretary", "POST", "/v1/roles", json=body, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("resident", 404),
        ("sibling_secretary", 404),
        ("partner_staff", 404),
        ("grid_worker", 204),  # it is the own one
        ("secretary", 204),
        ("officer", 204),
        ("operator", 204),
    ],
)
async def test_a_role_is_revoked_by_whoever_gives_it_or_holds_it(
    town: Town, who: str, status: int
) -> None:
    path = f"/v1/roles/{await role_id(town, 'grid_worker')}"
    assert (await town.as_(who, "DELETE", path)).status_code == status
    left = await roles_of(town, "grid_worker")
    assert left == ([] if status == 204 else [("grid_worker", town.grid)])


async def test_a_colleague_who_sees_a_role_does_not_revoke_it(town: Town) -> None:
    worker = await a_person(town, "worker")
    await town.make("/v1/roles", a_role(town, worker, "grid_worker"))
    path = f"/v1/roles/{await role_id(town, 'grid_worker')}"
    assert (await town.as_("worker", "DELETE", path)).status_code == 403


async def test_roles_are_listed_to_their_holders_and_the_staff_above(town: Town) -> None:
    def holders(page: Any) -> set[str]:
        names = {str(one): name for name, one in town.accounts.items()}
        return {names[item["account_id"]] for item in page["items"]}

    local = {"resident", "volunteer", "vanguard", "grid_worker", "secretary", "partner_staff"}
    beside = {"sibling_secretary", "other_staff"}
    for who, seen in (
        ("resident", {"resident"}),
        ("grid_worker", {"grid_worker"}),
        ("secretary", local),
        ("sibling_secretary", beside),
        ("officer", local | beside | {"officer"}),
        ("operator", set(town.accounts)),
    ):
        assert holders(await town.get("/v1/roles?limit=100", who)) == seen, who
    narrowed = await town.get(f"/v1/roles?place={town.grid}", "officer")
    assert holders(narrowed) == {"grid_worker"}
    narrowed = await town.get(f"/v1/roles?account={town.accounts['operator']}", "officer")
    assert narrowed == {"items": [], "next": None}


async def test_the_people_of_a_partner_are_listed_to_the_staff_of_its_place(town: Town) -> None:
    acts_for = {"role": "partner_staff", "partner_id": town.partner}
    for who, seen in (
        ("resident", 0),
        ("grid_worker", 0),  # the partner is of the whole community
        ("sibling_secretary", 0),
        ("partner_staff", 1),
        ("secretary", 1),
        ("officer", 1),
        ("operator", 1),
    ):
        listed = (await town.get("/v1/roles?limit=100", who))["items"]
        found = [role for role in listed if role.items() >= acts_for.items()]
        assert len(found) == seen, who
    answer = await town.as_("secretary", "DELETE", f"/v1/roles/{found[0]['id']}")
    assert answer.status_code == 403


async def test_a_role_is_read_by_who_sees_it_in_the_list_until_it_ends(town: Town) -> None:
    path = f"/v1/roles/{await role_id(town, 'grid_worker')}"
    for who, status in (
        ("anonymous", 401),
        ("resident", 404),
        ("sibling_secretary", 404),
        ("grid_worker", 200),
        ("secretary", 200),
        ("operator", 200),
    ):
        assert (await town.as_(who, "GET", path)).status_code == status, who
    read = await town.get(path, "secretary")
    assert (read["role"], read["place_id"]) == ("grid_worker", town.grid)
    sparse = await town.get(f"{path}?fields=role", "secretary")
    assert sparse == {"id": read["id"], "role": "grid_worker"}
    assert (await town.as_("secretary", "DELETE", path)).status_code == 204
    assert (await town.as_("secretary", "GET", path)).status_code == 404


async def _drafts(town: Town) -> dict[str, str]:
    """One draft in each of two grids of Qiaobei and one in the community beside it."""
    grid_3, grid_4 = [
        await town.make(
            "/v1/places",
            {
                "slug": f"grid-{number}",
                "kind": "grid",
                "parent_id": town.community,
                "name": {"zh": f"第{number}网格", "en": f"Grid {number}"},
            },
            "officer",
        )
        for number in (3, 4)
    ]
    places = {"grid 3": grid_3["id"], "grid 4": grid_4["id"], "beside": town.sibling}
    for name, place in places.items():
        title = {"zh": f"晨间诊所 {name}", "en": f"Morning clinic {name}"}
        need = a_need(town, place_id=place, status="draft", title=title)
        await town.make("/v1/needs", need, "officer")
    await town.indexed()
    return places


async def _seen(town: Town, who: str) -> set[str]:
    """The drafts that somebody reads; the list and the index say the same, and count no more."""
    listed = await town.get("/v1/needs", who)
    caller = await accounts.caller_of(town.tokens.get(who, ""))
    query = index.Query(text="clinic", kinds=("need",), statuses=("draft",), facets=("kind",))
    scope = scopes.of(caller or accounts.ANONYMOUS)
    found = await town.app.state.engine.search(query, scope)
    assert {hit.document.id for hit in found.hits} == {item["id"] for item in listed["items"]}
    assert found.total == sum(found.facets["kind"].values()) == len(listed["items"])
    return {item["title"]["en"].removeprefix("Morning clinic ") for item in listed["items"]}


async def test_the_worker_of_grid_3_cannot_read_grid_4_and_the_subdistrict_sees_all_below(
    town: Town,
) -> None:
    places = await _drafts(town)
    for number in (3, 4):
        worker = await a_person(town, f"worker {number}".replace(" ", "_"))
        role = a_role(town, worker, "grid_worker", place_id=places[f"grid {number}"])
        await town.make("/v1/roles", role)
    assert await _seen(town, "worker_3") == {"grid 3"}
    assert await _seen(town, "worker_4") == {"grid 4"}
    assert await _seen(town, "secretary") == {"grid 3", "grid 4"}
    assert await _seen(town, "sibling_secretary") == {"beside"}
    assert await _seen(town, "officer") == {"grid 3", "grid 4", "beside"}
    assert await _seen(town, "resident") == set()
    assert await _seen(town, "anonymous") == set()


async def test_a_moved_person_loses_access_at_once_in_search_too(town: Town) -> None:
    places = await _drafts(town)
    worker = await a_person(town, "worker")
    body = a_role(town, worker, "grid_worker", place_id=places["grid 3"])
    before = await town.make("/v1/roles", body)
    (mine,) = (await town.get("/v1/needs", "worker"))["items"]
    assert await _seen(town, "worker") == {"grid 3"}
    assert (await town.as_("secretary", "DELETE", f"/v1/roles/{before['id']}")).status_code == 204
    assert await _seen(town, "worker") == set()
    await town.make("/v1/roles", body | {"place_id": places["grid 4"]})
    assert await _seen(town, "worker") == {"grid 4"}
    assert (await town.as_("worker", "GET", f"/v1/needs/{mine['id']}")).status_code == 404
    change = {"json": {"beneficiaries": 1}, "headers": {"If-Match": "*"}}
    answer = await town.as_("worker", "PATCH", f"/v1/needs/{mine['id']}", **change)
    assert answer.status_code == 404


async def test_a_lent_role_acts_like_the_own_and_ends_when_said(town: Town, clock: Clock) -> None:
    deputy = await a_person(town, "deputy")
    path = f"/v1/roles/{await role_id(town, 'secretary')}/delegate"
    body = {"account_id": deputy, "valid_to": clock.after(days=7)}
    assert (await town.as_("anonymous", "POST", path, json=body)).status_code == 401
    lent = await town.make(path, body)
    assert (lent["role"], lent["granted_by"]) == ("secretary", str(town.accounts["secretary"]))
    await town.make("/v1/needs", a_need(town), "deputy")
    clock.advance(days=7)
    answer = await town.as_("deputy", "GET", "/v1/sessions/current")
    assert answer.status_code == 401  # the access token is older than that
    await admit(town, "deputy", "deputy@example.org", "a long enough one")
    assert await roles_of(town, "deputy") == []


async def test_a_lent_role_ends_with_the_original(town: Town, clock: Clock) -> None:
    holder, deputy = await a_person(town, "holder"), await a_person(town, "deputy")
    role = await town.make(
        "/v1/roles",
        a_role(town, holder, "grid_worker", valid_to=clock.after(minutes=20)),
    )
    path = f"/v1/roles/{role['id']}/delegate"
    body = {"account_id": deputy, "valid_to": clock.after(days=7)}
    lent = await town.make(path, body, "holder")
    assert lent["valid_to"] == role["valid_to"]
    assert (await town.as_("holder", "DELETE", f"/v1/roles/{lent['id']}")).status_code == 204
    assert await roles_of(town, "deputy") == []
    await town.make(path, body, "holder")
    assert (await town.as_("secretary", "DELETE", f"/v1/roles/{role['id']}")).status_code == 204
    assert await roles_of(town, "deputy") == []
    gone = await town.as_("holder", "POST", path, json=body)
    assert gone.status_code == 404


async def test_a_ban_of_the_holder_ends_what_the_holder_lent(town: Town, clock: Clock) -> None:
    deputy = await a_person(town, "deputy")
    path = f"/v1/roles/{await role_id(town, 'secretary')}/delegate"
    await town.make(path, {"account_id": deputy, "valid_to": clock.after(days=7)})
    await town.make(f"/v1/accounts/{town.accounts['secretary']}/ban", None, "officer")
    assert await roles_of(town, "deputy") == []


async def test_a_lent_role_is_not_lent_on_and_gives_no_roles_keys_or_invitations(
    town: Town, clock: Clock
) -> None:
    deputy, third = await a_person(town, "deputy"), await a_person(town, "third")
    path = f"/v1/roles/{await role_id(town, 'secretary')}/delegate"
    body = {"account_id": deputy, "valid_to": clock.after(days=7)}
    lent = await town.make(path, body)
    for who in ("officer", "resident"):
        answer = await town.as_(who, "POST", path, json=body | {"account_id": third})
        assert answer.status_code == (403 if who == "officer" else 404)
    onward = f"/v1/roles/{lent['id']}/delegate"
    answer = await town.as_("deputy", "POST", onward, json=body | {"account_id": third})
    assert (answer.status_code, answer.json()["code"]) == (409, "lent_role")
    for path, body in (
        ("/v1/roles", a_role(town, third)),
        ("/v1/invitations", {"role": "volunteer", "place_id": town.community}),
        ("/v1/service-keys", {"name": "x", "scopes": ["read"], "place_id": town.community}),
    ):
        assert (await town.as_("deputy", "POST", path, json=body)).status_code == 403, path


async def test_nothing_lent_survives_a_revocation_at_the_same_moment(
    town: Town, clock: Clock
) -> None:
    deputy = await a_person(town, "deputy")
    for _ in range(5):
        holder = await accounts.register(f"{base.new_id()}@example.org", "a long enough one", "x")
        body = a_role(town, str(holder), "grid_worker")
        role = await town.make("/v1/roles", body)
        record = await accounts.browse_roles(
            accounts.EVERYTHING, holder, limit=1, role_id=base.as_id(role["id"])
        )
        lending = accounts.Delegation(
            account_id=base.as_id(deputy), valid_to=base.moment(clock.after(days=1))
        )
        await asyncio.gather(
            accounts.delegate(record[0], lending, holder),
            accounts.revoke(record[0]),
            return_exceptions=True,
        )
        assert await roles_of(town, "deputy") == []


async def test_a_banned_account_is_given_no_role(town: Town) -> None:
    account = await open_account(town, "newcomer")
    await town.make(f"/v1/accounts/{account}/ban", None, "operator")
    assert await status_of(town, "newcomer") == 401
    answer = await town.as_("secretary", "POST", "/v1/roles", json=a_role(town, account))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "account_id")
