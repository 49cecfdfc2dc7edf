"""A person's own data: all of it to take along, and after erasure no trace of it anywhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from models import accounts, audit, base, engine, plans, proposals, settings, tables
from tests.towns import PASSWORD, Town, a_booking, a_docking, a_need, a_point, an_offering

LOGIN = "canary.login@example.com"
# Words that are nobody else's, in every text that can be stated.
CANARIES = (
    "canary.login",
    "CanaryName",
    "金丝雀人",
    "CanaryPartner",
    "金丝雀户",
    "6789 4321",
    "CanaryTitle",
    "金丝雀课",
    "canarydescription",
    "CANARY-LICENCE",
    "CanaryIssuer",
    "canaryneed",
    "金丝雀愿",
    "canaryconsent",
    "canarykey",
    "canarynote",
    "CanaryProject",
    "canarybrings",
    "canaryresult",
)


class Person:
    """Somebody of Qiaobei who has done everything that a person can do here."""

    def __init__(self, town: Town, account: str, token: str) -> None:
        self.town, self.account, self.token = town, account, token
        self.partner = self.offering = self.need = self.key = self.booking = ""

    async def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return await self.town.client.request(method, path, headers=headers, **options)

    async def make(self, path: str, body: Any, **options: Any) -> Any:
        answer = await self.call("POST", path, json=body, **options)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def erase(self, password: str = PASSWORD) -> Any:
        return await self.call("DELETE", "/v1/accounts/current", json={"password": password})


async def a_person(town: Town) -> Person:
    """Opens an account, offers a course at home, works in a grid, asks for help."""
    body = {
        "login": LOGIN,
        "password": PASSWORD,
        "display_name": "金丝雀人 CanaryName",
        "home_place_id": town.community,
    }
    account = (await town.make("/v1/accounts", body, "anonymous"))["id"]
    await accounts.grant(base.as_id(account), "grid_worker", place=base.as_id(town.grid))
    signed_in = await _sign_in(town)
    assert signed_in.status_code == 201
    person = Person(town, account, signed_in.json()["access_token"])
    await _offer(town, person)
    await _ask(town, person)
    await town.indexed()
    await _agree(town, person)
    body = {"name": "canarykey", "scopes": ["read"], "partner_id": person.partner}
    person.key = (await person.make("/v1/service-keys", body))["key"]
    await town.indexed()
    return person


async def _offer(town: Town, person: Person) -> None:
    licence = {"kind": "doctor_licence", "issuer": "CanaryIssuer", "number": "CANARY-LICENCE"}
    partner = {
        "kind": "resident",
        "place_id": town.community,
        "name": {"zh": "金丝雀户", "en": "CanaryPartner"},
        "contact_name": "金丝雀人",
        "contact_phone": "+86 23 6789 4321",
    }
    made = await person.make("/v1/partners", partner, headers={"Idempotency-Key": "p"})
    person.partner = made["id"]
    await town.make(f"/v1/partners/{person.partner}/admit", None, headers={"Idempotency-Key": "a"})
    offering = an_offering(
        town,
        kind="vanguard",
        partner_id=person.partner,
        title={"zh": "金丝雀课", "en": "CanaryTitle"},
        description={"zh": "", "en": "canarydescription"},
        location=a_point(321),
        credentials=[licence],
    )
    made = await person.make("/v1/offerings", offering, headers={"Idempotency-Key": "o"})
    person.offering = made["id"]
    # The secretary's answers are kept for repetition, too, and tell of the person.
    path = f"/v1/offerings/{person.offering}/credentials/{made['credentials'][0]['id']}/verify"
    await town.make(path, None, headers={"Idempotency-Key": "v"})
    path = f"/v1/partners/{person.partner}/contact/reveal"
    await town.make(path, {"reason": "verify"}, headers={"Idempotency-Key": "r"})
    await _dock(town, person)


async def _dock(town: Town, person: Person) -> None:
    """Brings something to a project of the community, which is done."""
    project = a_docking(
        town,
        partner_id=person.partner,
        title={"zh": "实事项目", "en": "CanaryProject"},
        brings={"zh": "", "en": "canarybrings"},
    )
    made = await town.make("/v1/dockings", project, headers={"Idempotency-Key": "d"})
    path = f"/v1/dockings/{made['id']}"
    await town.make(f"{path}/dock", None)
    await town.make(f"{path}/deliver", {"result": {"zh": "好", "en": "canaryresult"}})


async def _ask(town: Town, person: Person) -> None:
    consent = {
        "given_by": "金丝雀人 CanaryName",
        "relation": "self",
        "text": "canaryconsent",
        "channel": "app",
        "given_at": "2026-01-01T08:00:00+08:00",
    }
    need = a_need(
        town,
        place_id=town.grid,
        beneficiary="self",
        title={"zh": "金丝雀愿", "en": "canaryneed"},
        consent=consent,
        slots=[{"role": "helper", "kind": "vanguard"}],
    )
    made = await person.make("/v1/needs", need, headers={"Idempotency-Key": "n"})
    person.need = made["id"]
    found = await town.get(f"/v1/needs/{person.need}/matches", "secretary")
    assert found["snapshot"]
    other = await town.make("/v1/needs", a_need(town, slots=need["slots"]))
    found = await town.get(f"/v1/needs/{other['id']}/matches", "secretary")
    assert found["slots"][0]["matches"][0]["offering"]["id"] == person.offering


async def _agree(town: Town, person: Person) -> None:
    """Is proposed for two needs, says no to one of them, and is booked for a morning."""
    place, operator = base.as_id(town.community), town.accounts["operator"]
    plan = await plans.ask(plans.PlanDraft(place_id=place), operator)
    seats = [
        proposals.Seat(
            need=base.as_id((await town.make("/v1/needs", a_need(town)))["id"]),
            place=place,
            role="cook",
            seat=0,
            offering=base.as_id(person.offering),
            partner=base.as_id(person.partner),
            score=5_000,
            snapshot="0" * 64,
        )
        for _ in range(2)
    ]
    made = await proposals.make(plan.id, place, seats)
    body = {"reason": "personal", "note": "canarynote"}
    await person.make(f"/v1/proposals/{made[0].id}/decline", body)
    path = f"/v1/offerings/{person.offering}/bookings"
    person.booking = (await person.make(path, a_booking(), headers={"Idempotency-Key": "b"}))["id"]


async def _sign_in(town: Town) -> Any:
    body = {"login": LOGIN, "password": PASSWORD}
    return await town.as_("anonymous", "POST", "/v1/sessions", json=body)


def _in_files(paths: Iterable[Path]) -> set[str]:
    """The canaries that any of these files holds."""
    kept = b"".join(path.read_bytes() for path in paths if path.is_file())
    return {canary for canary in CANARIES if canary.encode() in kept}


async def _in_database() -> set[str]:
    """The canaries in the files of SQLite with its log, or in any column on PostgreSQL."""
    database = engine.current()
    if isinstance(database, engine.SQLite):
        return _in_files(Path(f"{database.path}{suffix}") for suffix in ("", "-wal", "-shm"))
    kept = ""
    for table in tables.TABLES:
        rows = await engine.rows(f"SELECT t::text FROM {table._meta.tablename} t")
        kept += "\n".join(text for (text,) in rows)
    return {canary for canary in CANARIES if canary in kept}


async def _flaws(data: Path) -> list[audit.Flaw]:
    key = settings.signing_key(settings.load({}, data=data))
    return [flaw async for flaw in audit.Verification(key).flaws()]


@pytest.mark.parametrize("path", ["/v1/accounts/current/export", "/v1/accounts/current"])
async def test_nobody_takes_along_or_erases_what_is_not_their_own(town: Town, path: str) -> None:
    method = "GET" if path.endswith("export") else "DELETE"
    body = None if method == "GET" else {"password": PASSWORD}
    answer = await town.as_("anonymous", method, path, json=body)
    assert answer.status_code == 401
    person = await a_person(town)
    if method == "GET":
        for who in ("resident", "secretary", "operator"):
            answer = await town.as_(who, method, path)
            assert answer.status_code == 200
            assert not [canary for canary in CANARIES if canary in answer.text], who
    answer = await town.client.request(
        method, path, json=body, headers={"Authorization": f"Bearer {person.key}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "key_scope")


async def test_an_export_holds_everything_that_was_stated_and_no_secret(town: Town) -> None:
    person = await a_person(town)
    answer = await person.call("GET", "/v1/accounts/current/export")
    assert answer.status_code == 200
    assert [canary for canary in CANARIES if canary not in answer.text] == []
    data = answer.json()["data"]
    assert data["account"][0]["id"] == person.account
    assert {role["name"] for role in data["roles"]} == {"resident", "grid_worker", "partner_staff"}
    assert [partner["id"] for partner in data["partners"]] == [person.partner]
    assert [offering["id"] for offering in data["offerings"]] == [person.offering]
    assert data["offerings"][0]["lat_e6"] == round(a_point(321)["lat"] * 1e6)
    assert data["offerings"][0]["service_types"] == ["breakfast_point"]
    assert [need["id"] for need in data["needs"]] == [person.need]
    assert data["needs"][0]["slots"][0]["role"] == "helper"
    assert data["consents"][0]["given_by"] == "金丝雀人 CanaryName"
    assert [booking["id"] for booking in data["bookings"]] == [person.booking]
    assert sorted(row["status"] for row in data["proposals"]) == ["declined", "proposed"]
    assert data["plans"] == []
    assert "need.posted" in {act["action"] for act in data["acts"]}
    for secret in ("hash", "argon2", person.token, person.key):
        assert secret not in answer.text.replace('"hash":', "").replace('"previous":', "")


async def test_an_export_of_somebody_who_has_moved_tells_nothing_new_of_others(
    town: Town,
) -> None:
    person = await a_person(town)
    other = await person.make(
        "/v1/needs",
        a_need(
            town,
            place_id=town.grid,
            beneficiary="minor",
            location=a_point(77),
            consent={
                "given_by": "别人的妈妈",
                "relation": "parent",
                "text": "同意",
                "channel": "paper",
                "given_at": "2026-01-01T08:00:00+08:00",
            },
        ),
    )
    before = (await person.call("GET", "/v1/accounts/current/export")).text
    assert "别人的妈妈" in before
    await engine.execute(
        "DELETE FROM role WHERE account = $1 AND name = 'grid_worker'", base.as_id(person.account)
    )
    answer = await person.call("GET", "/v1/accounts/current/export")
    assert "别人的妈妈" not in answer.text
    (need,) = [n for n in answer.json()["data"]["needs"] if n["id"] == other["id"]]
    assert not {"lat_e6", "lon_e6", "beneficiary"} & set(need)
    assert len(answer.json()["data"]["consents"]) == 1


async def test_an_export_as_csv_is_read_by_any_program_and_runs_in_none(town: Town) -> None:
    person = await a_person(town)
    formula = '=HYPERLINK("http://evil","a, b")\n+1'
    await town.change("/v1/accounts/current", {"display_name": "-2+3"}, "resident")
    body = an_offering(town, partner_id=person.partner, description={"zh": formula, "en": "@x"})
    await person.make("/v1/offerings", body)
    answer = await person.call("GET", "/v1/accounts/current/export", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    text = answer.content.decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == ["section", "row", "field", "value"]
    assert {len(row) for row in rows} == {4}
    assert text.count("\r\n") >= len(rows)
    values = {(section, field): value for section, _, field, value in rows}
    assert values["offerings", "description_zh"] == f"'{formula}"
    assert values["offerings", "description_en"] == "'@x"
    assert values["partners", "contact_phone"] == "'+86 23 6789 4321"
    assert values["account", "login"] == LOGIN
    assert json.loads(values["offerings", "service_types"]) == ["breakfast_point"]
    own = await town.as_(
        "resident", "GET", "/v1/accounts/current/export", headers={"Accept": "text/csv"}
    )
    assert "display_name,'-2+3\r\n" in own.content.decode("utf-8-sig")


async def test_a_wrong_password_erases_nothing(town: Town) -> None:
    person = await a_person(town)
    answer = await person.erase("not the password")
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert (error["field"], error["code"]) == ("password", "wrong_password")
    assert (await person.call("GET", "/v1/accounts/current")).status_code == 200
    assert (await town.get(f"/v1/offerings/{person.offering}"))["title"]["en"] == "CanaryTitle"


async def test_after_erasure_nothing_of_them_is_left_and_the_audit_chain_still_holds(
    town: Town, tmp_path: Path
) -> None:
    person = await a_person(town)
    data = tmp_path / "data"
    in_index = _in_files(data.rglob("*"))
    # Some of its files are compressed, others are not.
    assert "canaryneed" in in_index
    assert await _in_database() == set(CANARIES)
    assert (await person.erase()).status_code == 204
    await town.indexed()
    assert await _in_database() == set()
    assert _in_files(data.rglob("*")) == set()
    assert await _flaws(data) == []


async def test_after_erasure_nothing_of_the_person_can_be_used_or_found(town: Town) -> None:
    person = await a_person(town)
    found = await town.get("/v1/search?q=CanaryTitle")
    assert [item["id"] for item in found["items"]] == [person.offering]
    assert (await person.erase()).status_code == 204
    assert (await person.call("GET", "/v1/accounts/current")).status_code == 401
    assert (await person.erase()).status_code == 401
    assert (await _sign_in(town)).status_code == 401
    key = {"Authorization": f"Bearer {person.key}"}
    assert (await town.client.get("/v1/offerings", headers=key)).status_code == 401
    for path in (f"/v1/offerings/{person.offering}", f"/v1/partners/{person.partner}"):
        assert (await town.as_("anonymous", "GET", path)).status_code == 404
    await town.indexed()
    for who in ("anonymous", "operator"):
        assert (await town.get("/v1/search?q=CanaryTitle", who))["total"] == 0
    offering = await town.get(f"/v1/offerings/{person.offering}", "secretary")
    assert (offering["status"], offering["title"]["en"]) == ("withdrawn", "Erased")
    assert (offering["location"], offering["credentials"]) == (None, [])
    partner = await town.get(f"/v1/partners/{person.partner}", "secretary")
    assert (partner["status"], partner["contact_phone"]) == ("exited", None)
    need = await town.get(f"/v1/needs/{person.need}", "secretary")
    assert (need["status"], need["title"]["en"]) == ("withdrawn", "Erased")
    booking = await town.get(f"/v1/bookings/{person.booking}", "secretary")
    assert booking["status"] == "cancelled"
    asked = (await town.get(f"/v1/proposals?partner={person.partner}", "secretary"))["items"]
    assert {(one["status"], one["decline_note"]) for one in asked} == {("declined", "")}
    (act,) = (await town.get("/v1/audit?action=account.erased", "operator"))["items"]
    assert (act["actor"], act["subject"]) == (person.account, person.account)


async def test_an_erased_login_is_free_for_somebody_new(town: Town) -> None:
    person = await a_person(town)
    assert (await person.erase()).status_code == 204
    body = {"login": LOGIN, "password": PASSWORD, "display_name": "新人"}
    made = await town.make("/v1/accounts", body, "anonymous")
    assert made["id"] != person.account
    answer = await town.as_("operator", "POST", f"/v1/accounts/{person.account}/unban")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")


async def test_a_partner_with_other_people_outlives_one_of_them(town: Town) -> None:
    person = await a_person(town)
    await accounts.grant(
        town.accounts["volunteer"], "partner_staff", partner=base.as_id(person.partner)
    )
    assert (await person.erase()).status_code == 204
    partner = await town.get(f"/v1/partners/{person.partner}", "volunteer")
    assert (partner["status"], partner["name"]["en"]) == ("admitted", "CanaryPartner")
    offering = await town.get(f"/v1/offerings/{person.offering}")
    assert offering["title"]["en"] == "CanaryTitle"


async def test_what_was_done_for_others_stays_when_whoever_did_it_goes(town: Town) -> None:
    person = await a_person(town)
    need = await person.make("/v1/needs", a_need(town, place_id=town.grid))
    assert (await person.erase()).status_code == 204
    assert (await town.get(f"/v1/needs/{need['id']}"))["status"] == "open"
