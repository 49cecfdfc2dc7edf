"""Accounts: opening, changing, passwords, limits, bans. Each begins with the anonymous caller."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from models import accounts, base, engine
from models.accounts import limits, passwords
from tests import towns
from tests.clocks import Clock
from tests.towns import PASSWORD, Town


def a_newcomer(**change: Any) -> dict[str, Any]:
    """Wang Fang, who opens an account."""
    return {
        "login": "wang.fang@example.org",
        "password": "a long enough one",
        "display_name": "王芳",
        **change,
    }


async def sign_in(town: Town, login: str, password: str = PASSWORD) -> Any:
    body = {"login": login, "password": password}
    return await town.as_("anonymous", "POST", "/v1/sessions", json=body)


async def admit(town: Town, who: str, login: str, password: str = PASSWORD) -> None:
    """Sign in and let the town know the token as `who`."""
    answer = await sign_in(town, login, password)
    assert answer.status_code == 201, answer.text
    town.tokens = {**town.tokens, who: answer.json()["access_token"]}


async def open_account(town: Town, who: str, **change: Any) -> str:
    """Open an account, sign in as `who`, and answer the account's id."""
    body = a_newcomer(login=f"{who}@example.org", **change)
    made = await town.make("/v1/accounts", body, "anonymous")
    await admit(town, who, body["login"], body["password"])
    return str(made["id"])


async def status_of(town: Town, who: str) -> int:
    return (await town.as_(who, "GET", "/v1/sessions/current")).status_code


async def test_anybody_opens_an_account_as_a_resident_of_a_home(town: Town) -> None:
    made = await town.make("/v1/accounts", a_newcomer(home_place_id=town.grid), "anonymous")
    assert (made["display_name"], made["home_place_id"]) == ("王芳", town.grid)
    assert "password" not in str(made)
    await admit(town, "wang", "wang.fang@example.org", "a long enough one")
    session = await town.get("/v1/sessions/current", "wang")
    assert session["account"] == made["id"]
    assert session["roles"] == [{"name": "resident", "place": town.grid, "partner": None}]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Wang.Fang@Example.ORG", "wang.fang@example.org"),
        ("wang.fang@example.org", "ｗａｎｇ．ｆａｎｇ＠ｅｘａｍｐｌｅ．ｏｒｇ"),
        ("+86 138-0000-1234", "+8613800001234"),
        ("13800001234", " １３８ ００００ １２３４ "),
    ],
)
async def test_a_login_is_the_same_however_it_is_typed(
    town: Town, written: str, typed: str
) -> None:
    await town.make("/v1/accounts", a_newcomer(login=written), "anonymous")
    assert (await sign_in(town, typed, "a long enough one")).status_code == 201
    again = await town.as_("anonymous", "POST", "/v1/accounts", json=a_newcomer(login=typed))
    assert (again.status_code, again.json()["code"]) == (409, "taken")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"login": "wang fang"}, "login"),
        ({"login": "a@b@c"}, "login"),
        ({"login": "1234"}, "login"),
        ({"password": "too short"}, "password"),
        ({"password": "x" * 1001}, "password"),
        ({"display_name": ""}, "display_name"),
        ({"role": "operator"}, "role"),
        ({"status": "active"}, "status"),
    ],
)
async def test_an_account_that_cannot_be_opened_names_the_field(
    town: Town, change: dict[str, Any], field: str
) -> None:
    answer = await town.as_("anonymous", "POST", "/v1/accounts", json=a_newcomer(**change))
    assert answer.status_code == 400, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_home_that_does_not_exist_opens_no_account(town: Town) -> None:
    body = a_newcomer(home_place_id="00000000-0000-7000-8000-000000000000")
    answer = await town.as_("anonymous", "POST", "/v1/accounts", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "home_place_id")
    assert (await sign_in(town, body["login"], body["password"])).status_code == 401


async def test_of_parallel_registrations_of_one_login_one_succeeds(town: Town) -> None:
    answers = await asyncio.gather(
        *(town.as_("anonymous", "POST", "/v1/accounts", json=a_newcomer()) for _ in range(8))
    )
    codes = sorted((answer.status_code, answer.json().get("code", "")) for answer in answers)
    assert codes == [(201, "")] + [(409, "taken")] * 7


async def test_the_own_account_is_read_and_changed_by_nobody_else(town: Town) -> None:
    assert (await town.as_("anonymous", "GET", "/v1/accounts/current")).status_code == 401
    changed = await town.change("/v1/accounts/current", {"display_name": "老周"}, "resident")
    assert (changed["display_name"], changed["version"]) == ("老周", 2)
    assert (await town.get("/v1/accounts/current", "volunteer"))["display_name"] == "volunteer"
    stale = await town.as_(
        "resident",
        "PATCH",
        "/v1/accounts/current",
        json={"display_name": "x"},
        headers={"If-Match": '"1"'},
    )
    assert stale.status_code == 412


async def test_a_new_password_ends_every_other_sign_in(town: Town) -> None:
    await admit(town, "elsewhere", "resident@test")
    path, body = "/v1/accounts/current/password", {"old": PASSWORD, "new": "open sesame two"}
    assert (await town.as_("anonymous", "POST", path, json=body)).status_code == 401
    wrong = await town.as_("resident", "POST", path, json=body | {"old": "open"})
    assert (wrong.status_code, wrong.json()["errors"][0]["code"]) == (422, "wrong_password")
    assert await status_of(town, "elsewhere") == 200
    changed = await town.as_("resident", "POST", path, json=body)
    assert changed.status_code == 204
    assert (await status_of(town, "resident"), await status_of(town, "elsewhere")) == (200, 401)
    assert (await sign_in(town, "resident@test")).status_code == 401
    assert (await sign_in(town, "resident@test", "open sesame two")).status_code == 201


async def test_guessing_the_old_password_with_a_stolen_token_is_limited(
    town: Town, clock: Clock
) -> None:
    path = "/v1/accounts/current/password"
    body = {"old": "a guess", "new": "open sesame two"}
    for _ in range(limits.PER_LOGIN):
        assert (await town.as_("resident", "POST", path, json=body)).status_code == 422
    answer = await town.as_("resident", "POST", path, json=body | {"old": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")


@pytest.mark.parametrize("login", ["secretary@test", "nobody@test", "no login at all\x00"])
async def test_ten_failures_close_a_login_for_a_quarter_of_an_hour(
    town: Town, clock: Clock, login: str
) -> None:
    for _ in range(limits.PER_LOGIN):
        assert (await sign_in(town, login, "wrong")).json()["code"] == "wrong_login"
    answer = await sign_in(town, login)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
    seconds = int(answer.headers["retry-after"])
    assert 14 * 60 <= seconds <= 15 * 60
    assert str(seconds) in answer.json()["detail"]
    clock.advance(seconds=seconds - 1)
    assert (await sign_in(town, login)).status_code == 429
    clock.advance(seconds=1)
    assert (await sign_in(town, login)).status_code == (201 if login[0] == "s" else 401)


async def test_what_is_refused_by_the_limit_does_not_prolong_it(town: Town, clock: Clock) -> None:
    for _ in range(limits.PER_LOGIN):
        await sign_in(town, "secretary@test", "wrong")
    clock.advance(minutes=10)
    for _ in range(5):
        assert (await sign_in(town, "secretary@test")).status_code == 429
    clock.advance(minutes=5)
    assert (await sign_in(town, "secretary@test")).status_code == 201


async def test_a_success_starts_the_count_of_its_login_anew(town: Town, clock: Clock) -> None:
    for _ in range(2):
        for _ in range(limits.PER_LOGIN - 1):
            assert (await sign_in(town, "secretary@test", "wrong")).status_code == 401
        assert (await sign_in(town, "secretary@test")).status_code == 201


async def test_parallel_guesses_do_not_get_past_the_limit(town: Town) -> None:
    answers = await asyncio.gather(*(sign_in(town, "secretary@test", "guess") for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 10 + [429] * 10


async def test_fifty_failures_close_an_address_whatever_the_logins(
    town: Town, clock: Clock
) -> None:
    for number in range(limits.PER_ADDRESS):
        await limits.count(f"{number}@test", "127.0.0.1")
    answer = await sign_in(town, "secretary@test")
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
    clock.advance(minutes=15)
    assert (await sign_in(town, "secretary@test")).status_code == 201
    rows = await engine.fetch("SELECT failures FROM sign_in_failure")
    assert [row["failures"] for row in rows] == [0]


async def test_successes_cost_an_address_nothing(town: Town, clock: Clock) -> None:
    for number in range(limits.PER_ADDRESS - 1):
        await limits.count(f"{number}@test", "127.0.0.1")
    for _ in range(3):
        assert (await sign_in(town, "secretary@test")).status_code == 201


async def test_a_known_and_an_unknown_login_cost_one_verification_each(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    hasher = towns.full_hasher
    counting = type(
        "Counting",
        (),
        {
            "hash": staticmethod(hasher.hash),
            "verify": staticmethod(
                lambda *given: (verified.append(given[0]), hasher.verify(*given))[1]
            ),
        },
    )
    monkeypatch.setattr(passwords, "_hasher", counting)
    monkeypatch.setattr(passwords, "_nobody", [])
    await accounts.register("known@test", PASSWORD, "known")
    for login in ("known@test", "nobody@test", "no login"):
        before = len(verified)
        assert (await sign_in(town, login, "wrong")).status_code == 401
        assert len(verified) - before == 1
    assert {text[:31] for text in verified} == {"$argon2id$v=19$m=47104,t=1,p=1$"}


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("anonymous", 401),
        ("resident", 403),
        ("grid_worker", 403),
        ("partner_staff", 403),
        ("secretary", 403),
        ("sibling_secretary", 403),
        ("officer", 200),
        ("operator", 200),
    ],
)
async def test_accounts_are_banned_by_the_officer_above(town: Town, who: str, status: int) -> None:
    path = f"/v1/accounts/{town.accounts['volunteer']}/ban"
    answer = await town.as_(who, "POST", path)
    assert answer.status_code == status, answer.text
    assert await status_of(town, "volunteer") == (401 if status == 200 else 200)


@pytest.mark.parametrize("whom", ["officer", "operator", "stranger"])
async def test_an_officer_finds_nobody_who_does_not_stand_below(town: Town, whom: str) -> None:
    stranger = await open_account(town, "stranger", home_place_id=town.elsewhere)
    ids = {**{name: str(one) for name, one in town.accounts.items()}, "stranger": stranger}
    answer = await town.as_("officer", "POST", f"/v1/accounts/{ids[whom]}/ban")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_partners_people_are_banned_by_the_officer_above_the_partner(town: Town) -> None:
    path = f"/v1/accounts/{town.accounts['partner_staff']}/ban"
    assert (await town.as_("officer", "POST", path)).status_code == 200
    assert await status_of(town, "partner_staff") == 401


async def test_a_ban_ends_everything_on_the_next_request_until_it_is_lifted(town: Town) -> None:
    session = (await sign_in(town, "secretary@test")).json()
    path = f"/v1/accounts/{town.accounts['secretary']}"
    banned = await town.make(f"{path}/ban", None, "officer")
    assert (banned["status"], set(banned)) == ("banned", {"id", "status", "version"})
    assert await status_of(town, "secretary") == 401
    assert (await sign_in(town, "secretary@test")).json()["code"] == "wrong_login"
    refresh = {"refresh_token": session["refresh_token"]}
    answer = await town.as_("anonymous", "POST", "/v1/sessions/refresh", json=refresh)
    assert answer.status_code == 401
    twice = await town.as_("officer", "POST", f"{path}/ban")
    assert (twice.status_code, twice.json()["code"]) == (409, "wrong_state")
    await town.make(f"{path}/unban", None, "officer")
    assert await status_of(town, "secretary") == 401
    await admit(town, "secretary", "secretary@test")
    assert (await town.get("/v1/sessions/current", "secretary"))["roles"] != []


async def test_every_act_on_an_account_is_in_the_audit_trail_with_its_actor(town: Town) -> None:
    await town.change("/v1/accounts/current", {"display_name": "老周"}, "resident")
    await town.make(f"/v1/accounts/{town.accounts['resident']}/ban", None, "officer")
    rows = await engine.fetch(
        "SELECT action, actor FROM audit WHERE subject = $1 ORDER BY seq DESC LIMIT 2",
        town.accounts["resident"],
    )
    acts = [(row["action"], base.as_id(row["actor"])) for row in rows]
    assert acts == [
        ("account.banned", town.accounts["officer"]),
        ("account.changed", town.accounts["resident"]),
    ]


async def test_passwords_and_tokens_are_kept_as_hashes_only(town: Town) -> None:
    session = (await sign_in(town, "resident@test")).json()
    kept = str(await engine.fetch("SELECT * FROM token")) + str(
        await engine.fetch("SELECT * FROM account")
    )
    for secret in (session["access_token"], session["refresh_token"], PASSWORD):
        assert secret not in kept
    assert dt.timedelta(seconds=session["expires_in"]) == dt.timedelta(minutes=30)
