"""The audit trail as its readers meet it: over HTTP for officers, on the command line for whoever
runs the service."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from api import cli, worker
from api.documentation import endpoints
from models import audit, engine, plans
from tests import databases
from tests.api import agreement_days, partner_days
from tests.api.test_partners import LICENCE, a_partner
from tests.api.test_places import a_place
from tests.towns import Town, a_booking, a_need, a_space, an_offering


async def _acts(town: Town, who: str = "operator", query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await town.get(f"/v1/audit?limit=100{query}", who))["items"]
    return items


@pytest.mark.parametrize("who", ["anonymous", "resident", "grid_worker", "secretary"])
async def test_the_trail_is_not_for_everybody(town: Town, who: str) -> None:
    answer = await town.as_(who, "GET", "/v1/audit")
    assert answer.status_code == (401 if who == "anonymous" else 403)


async def test_an_officer_reads_what_happened_in_her_places_and_an_operator_everything(
    town: Town,
) -> None:
    need = await town.make("/v1/needs", a_need(town))
    elsewhere = await town.make("/v1/places", a_place(town, parent_id=town.district), "operator")
    subjects = [act["subject"] for act in await _acts(town, "officer")]
    assert need["id"] in subjects
    assert elsewhere["id"] not in subjects
    acts = await _acts(town)
    assert [act["subject"] for act in acts[:2]] == [elsewhere["id"], need["id"]]
    assert {act["place"] for act in await _acts(town, "officer")} <= {
        town.subdistrict,
        town.community,
        town.sibling,
        town.grid,
    }


async def test_an_act_says_who_did_what_to_what_and_where(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    (act,) = await _acts(town, query=f"&subject={need['id']}")
    assert {name: act[name] for name in ("actor", "action", "subject", "place", "detail")} == {
        "actor": str(town.accounts["secretary"]),
        "action": "need.posted",
        "subject": need["id"],
        "place": town.community,
        "detail": {},
    }
    before = next(a for a in await _acts(town) if a["seq"] == act["seq"] - 1)
    assert act["previous"] == before["hash"]


async def test_the_trail_can_be_asked_by_place_subject_actor_and_action(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    path = f"/v1/needs/{need['id']}"
    await town.change(path, {"beneficiaries": 70}, "officer")
    await town.make("/v1/needs", a_need(town, place_id=town.sibling), "officer")
    officer = town.accounts["officer"]

    async def found(query: str) -> list[str]:
        return [act["action"] for act in await _acts(town, "officer", query)]

    assert await found(f"&subject={need['id']}") == ["need.changed", "need.posted"]
    assert await found(f"&actor={officer}&place={town.community}") == ["need.changed"]
    assert await found(f"&actor={officer}&place={town.subdistrict}") == [
        "need.posted",
        "need.changed",
    ]
    assert await found(f"&action=need.posted&place={town.sibling}") == ["need.posted"]
    assert await found(f"&place={town.district}&action=place.founded") == await found(
        "&action=place.founded"
    )
    assert await found("&action=need.forgotten") == []


async def test_pages_of_the_trail_hold_every_act_once_the_last_first(town: Town) -> None:
    seqs: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        suffix = f"&cursor={cursor}" if cursor else ""
        page = await town.get(f"/v1/audit?limit=7{suffix}", "operator")
        seqs += [act["seq"] for act in page["items"]]
        cursor = page["next"]
    assert len(seqs) > 20
    assert seqs == list(range(len(seqs), 0, -1))


@pytest.mark.parametrize("cursor", ["_" * 21 + "w", "x"])
async def test_a_cursor_that_is_none_of_ours_is_refused(town: Town, cursor: str) -> None:
    answer = await town.as_("operator", "GET", "/v1/audit", params={"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "bad_cursor"


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
async def test_nobody_writes_the_trail_over_http(town: Town, method: str) -> None:
    assert (await town.as_("operator", method, "/v1/audit", json={})).status_code == 405


async def test_what_was_refused_leaves_no_act(town: Town) -> None:
    before = await _acts(town)
    for who, body in (
        ("resident", a_need(town)),
        ("secretary", a_need(town, service_type="time_travel")),
        ("secretary", a_need(town, beneficiaries=-1)),
    ):
        assert (await town.as_(who, "POST", "/v1/needs", json=body)).status_code >= 400
    assert await _acts(town) == before


async def test_a_repeated_post_is_one_act(town: Town) -> None:
    for _ in range(3):
        await town.make("/v1/needs", a_need(town), headers={"Idempotency-Key": "breakfast"})
    assert len(await _acts(town, query="&action=need.posted")) == 1


class Diary:
    """Changes things over HTTP, and looks into the trail after each."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.operations: set[str] = set()

    async def write(
        self,
        operation: str,
        who: str,
        request: str,
        action: str,
        body: Any = None,
        **options: Any,
    ) -> Any:
        """Make a change; answer the JSON that it answers.

        It must be one act of that name by the caller, and all that went with it the caller's, too.
        """
        method, path = request.split()
        headers = dict(options.pop("headers", {}))
        tag = (await self.town.as_(who, "GET", path)).headers.get("etag")
        if method != "POST" and tag:
            headers["If-Match"] = tag
        before = (await _acts(self.town))[0]["seq"]
        if body is not None:
            options["json"] = body
        answer = await self.town.as_(who, method, path, headers=headers, **options)
        assert answer.status_code < 300, (operation, answer.text)
        acts = [act for act in await _acts(self.town) if act["seq"] > before]
        assert [act["action"] for act in acts].count(action) == 1, (operation, acts)
        caller = None if who == "anonymous" else str(self.town.accounts[who])
        assert {act["actor"] for act in acts} == {caller}, (operation, acts)
        self.operations.add(operation)
        return answer.json() if answer.content else None


# These keep nothing, or nothing but the tokens of a sign-in that is in the trail already.
UNRECORDED = {"preview_need", "renew_session", "what_if"}


async def test_each_change_over_http_is_one_act_of_its_caller(town: Town) -> None:
    """F2: who did what. A new endpoint that writes belongs into one of these days."""
    diary = Diary(town)
    days = (
        partner_days.walks,
        partner_days.dockings,
        partner_days.trainings,
        agreement_days.agreements,
        agreement_days.enrolments,
        _places,
        _partners,
        _offerings,
        _spaces,
        _bookings,
        _groups,
        _needs,
        _plans,
        _roles,
        _keys,
        _people,
    )
    for day in days:
        await day(diary, town)
    writing = {
        endpoint.name
        for endpoint in endpoints.of(town.app)
        if endpoint.method != "get" and endpoint.path.startswith("/v1/")
    }
    assert diary.operations == writing - UNRECORDED
    assert [flaw async for flaw in audit.Verification(b"").flaws()] == []


async def _places(diary: Diary, town: Town) -> None:
    write = diary.write
    made = await write("found_place", "operator", "POST /v1/places", "place.founded", a_place(town))
    path = f"/v1/places/{made['id']}"
    body = {"population": 1}
    await write("change_place", "operator", f"PATCH {path}", "place.changed", body)
    await write("withdraw_place", "operator", f"DELETE {path}", "place.withdrawn")
    path = f"/v1/places/{town.community}/blocked-partners/{town.partner}"
    await write("block_partner", "secretary", f"PUT {path}", "partner.blocked")
    await write("unblock_partner", "secretary", f"DELETE {path}", "partner.unblocked")


async def _partners(diary: Diary, town: Town) -> None:
    write = diary.write
    made = await write(
        "apply_as_partner", "resident", "POST /v1/partners", "partner.applied", a_partner(town)
    )
    path = f"/v1/partners/{made['id']}"
    held = f"{path}/credentials/{made['credentials'][0]['id']}/verify"
    for operation, who, request, action, body in (
        ("verify_partner_credential", "secretary", f"POST {held}", "credential.verified", None),
        ("move_partner", "secretary", f"POST {path}/admit", "partner.admitted", None),
        ("change_partner", "resident", f"PATCH {path}", "partner.changed", {"credit_code": None}),
        (
            "reveal_contact",
            "secretary",
            f"POST {path}/contact/reveal",
            "contact.revealed",
            {"reason": "verify"},
        ),
    ):
        await write(operation, who, request, action, body)


async def _offerings(diary: Diary, town: Town) -> None:
    write, body = diary.write, an_offering(town, credentials=[LICENCE])
    made = await write(
        "register_offering", "partner_staff", "POST /v1/offerings", "offering.registered", body
    )
    bulk = {"items": [an_offering(town)]}
    await write(
        "register_offerings",
        "partner_staff",
        "POST /v1/offerings/bulk",
        "offering.registered",
        bulk,
    )
    path = f"/v1/offerings/{made['id']}"
    held = f"{path}/credentials/{made['credentials'][0]['id']}/verify"
    await write("verify_offering_credential", "secretary", f"POST {held}", "credential.verified")
    await write(
        "change_offering", "partner_staff", f"PATCH {path}", "offering.changed", {"capacity": 1}
    )
    calendar = await town.as_("partner_staff", "GET", f"{path}/availability.ics")
    await write(
        "import_availability",
        "partner_staff",
        f"PUT {path}/availability.ics",
        "offering.changed",
        content=calendar.content,
        headers={"Content-Type": "text/calendar"},
    )
    await write("withdraw_offering", "partner_staff", f"DELETE {path}", "offering.withdrawn")


async def _spaces(diary: Diary, town: Town) -> None:
    write = diary.write
    space = await town.make("/v1/offerings", a_space(town))
    path = f"/v1/offerings/{space['id']}"
    room = {"level": "room"}
    request, tag = f"PUT {path}/space", {"If-Match": '"1"'}
    await write("place_space", "secretary", request, "space.placed", room, headers=tag)
    idle = {"condition": "idle", "reason": "vacated"}
    request = f"POST {path}/condition"
    await write("convert_space", "partner_staff", request, "space.converted", idle)
    shop = await town.make("/v1/offerings", an_offering(town))
    request = f"POST /v1/offerings/{shop['id']}/capacity"
    more = {"delta": 70, "reason": "rearranged"}
    await write("adjust_capacity", "secretary", request, "pool.adjusted", more)


async def _groups(diary: Diary, town: Town) -> None:
    write = diary.write
    body = {**a_partner(town, kind="resident_group"), "credentials": []}
    group = (await town.make("/v1/partners", body, "resident"))["id"]
    await town.make(f"/v1/partners/{group}/admit", {}, "operator")
    path = f"POST /v1/groups/{group}"
    await write("join_group", "volunteer", f"{path}/members", "membership.asked")
    step = f"{path}/members/{town.accounts['volunteer']}/admit"
    await write("move_member", "resident", step, "membership.member")
    space = await town.make("/v1/offerings", a_space(town))
    day, window = a_booking()["starts_at"][:10], {"days": [1], "start": "06:30", "end": "09:00"}
    body = {"offering_id": space["id"], "windows": [window], "first": day, "last": day}
    made = await write("book_series", "resident", f"{path}/series", "series.booked", body)
    step = f"{path}/series/{made['id']}/cancel"
    await write("cancel_series", "resident", step, "series.cancelled")


async def _bookings(diary: Diary, town: Town) -> None:
    shop = await town.make("/v1/offerings", an_offering(town))
    request = f"POST /v1/offerings/{shop['id']}/bookings"
    body = {**a_booking(), "hold_s": 600}
    made = await diary.write("book_offering", "partner_staff", request, "booking.made", body)
    path = f"POST /v1/bookings/{made['id']}"
    await diary.write("confirm_booking", "secretary", f"{path}/confirm", "booking.confirmed")
    await diary.write("cancel_booking", "secretary", f"{path}/cancel", "booking.cancelled")


async def _needs(diary: Diary, town: Town) -> None:
    write = diary.write
    consent = {
        "given_by": "李奶奶",
        "relation": "self",
        "text": "同意",
        "channel": "phone",
        "given_at": "2026-01-01T08:00:00+08:00",
    }
    body = a_need(town, beneficiary="dependent_elder", consent=consent)
    made = await write("post_need", "secretary", "POST /v1/needs", "need.posted", body)
    path = f"/v1/needs/{made['id']}"
    await write("change_need", "secretary", f"PATCH {path}", "need.changed", {"beneficiaries": 70})
    await write(
        "withdraw_consent", "secretary", f"POST {path}/consent/withdraw", "consent.withdrawn"
    )
    other = await town.make("/v1/needs", a_need(town))
    await write("withdraw_need", "secretary", f"DELETE /v1/needs/{other['id']}", "need.withdrawn")


async def _plans(diary: Diary, town: Town) -> None:
    write = diary.write
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    body = {"place_id": town.community}
    asked = await write("ask_for_plan", "secretary", "POST /v1/plans", "plan.asked", body)
    path = f"/v1/plans/{asked['id']}"
    async with asyncio.timeout(30):
        while (await town.get(path, "secretary"))["status"] != "done":
            await asyncio.sleep(0.05)
    made = await write("propose_plan", "secretary", f"POST {path}/propose", "plan.proposed", {})
    await write(
        "decline_proposal",
        "partner_staff",
        f"POST /v1/proposals/{made['made'][0]['id']}/decline",
        "proposal.declined",
        {"reason": "time"},
    )
    other = await plans.ask(
        plans.PlanDraft(place_id=uuid.UUID(town.community)), town.accounts["secretary"]
    )
    await write("cancel_plan", "secretary", f"POST /v1/plans/{other.id}/cancel", "plan.cancelled")


async def _roles(diary: Diary, town: Town) -> None:
    write, place = diary.write, town.community
    volunteer, vanguard = (str(town.accounts[who]) for who in ("volunteer", "vanguard"))
    body = {"account_id": volunteer, "role": "grid_worker", "place_id": place}
    role = await write("give_role", "officer", "POST /v1/roles", "role.granted", body)
    path = f"/v1/roles/{role['id']}"
    lent = {"account_id": vanguard, "valid_to": "2030-01-01T00:00:00Z"}
    await write("delegate_role", "volunteer", f"POST {path}/delegate", "role.lent", lent)
    await write("revoke_role", "officer", f"DELETE {path}", "role.revoked")
    offer = {"role": "volunteer", "place_id": place}
    invited = await write("invite", "secretary", "POST /v1/invitations", "invitation.made", offer)
    other = await town.make("/v1/invitations", offer)
    path = f"/v1/invitations/{other['id']}"
    await write("withdraw_invitation", "officer", f"DELETE {path}", "invitation.withdrawn")
    await write(
        "accept_invitation",
        "vanguard",
        "POST /v1/invitations/accept",
        "role.granted",
        {"token": invited["token"]},
    )


async def _keys(diary: Diary, town: Town) -> None:
    body = {"name": "门禁系统", "scopes": ["read"], "place_id": town.community}
    made = await diary.write(
        "make_service_key", "secretary", "POST /v1/service-keys", "service_key.made", body
    )
    path = f"/v1/service-keys/{made['record']['id']}"
    await diary.write("revoke_service_key", "secretary", f"DELETE {path}", "service_key.revoked")


async def _people(diary: Diary, town: Town) -> None:
    write, secret = diary.write, {"login": "newcomer@test", "password": "open, sesame seeds!"}
    made = await write(
        "register_account",
        "anonymous",
        "POST /v1/accounts",
        "account.opened",
        {**secret, "display_name": "新人", "home_place_id": town.community},
    )
    town.accounts["newcomer"] = made["id"]
    session = await write("sign_in", "anonymous", "POST /v1/sessions", "session.opened", secret)
    town.tokens["newcomer"] = session["access_token"]
    for operation, who, request, action, body in (
        (
            "change_account",
            "newcomer",
            "PATCH /v1/accounts/current",
            "account.changed",
            {"display_name": "不新的人"},
        ),
        (
            "change_password",
            "newcomer",
            "POST /v1/accounts/current/password",
            "account.password_changed",
            {"old": secret["password"], "new": "close, sesame seeds!"},
        ),
        (
            "erase_account",
            "newcomer",
            "DELETE /v1/accounts/current",
            "account.erased",
            {"password": "close, sesame seeds!"},
        ),
        (
            "ban_account",
            "officer",
            f"POST /v1/accounts/{town.accounts['resident']}/ban",
            "account.banned",
            None,
        ),
        (
            "unban_account",
            "officer",
            f"POST /v1/accounts/{town.accounts['resident']}/unban",
            "account.unbanned",
            None,
        ),
        ("sign_out", "volunteer", "DELETE /v1/sessions/current", "session.closed", None),
    ):
        await write(operation, who, request, action, body)


async def test_the_trail_is_signed_every_hour_and_at_a_clean_stop(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def signed() -> list[int]:
        return [seq for (seq,) in await engine.rows("SELECT seq FROM audit_head ORDER BY seq")]

    monkeypatch.setattr(worker, "SIGN_EVERY_S", 0.01)
    signing = worker.Signing(b"a key")
    await signing.start()
    async with asyncio.timeout(5):
        while not (first := await signed()):
            await asyncio.sleep(0.01)
    await signing.stop()
    assert first == [(await _acts(town))[0]["seq"]]
    signing = worker.Signing(b"a key")
    await signing.stop()
    assert await signed() == first, "nothing happened since"
    await town.make("/v1/needs", a_need(town))
    await signing.stop()
    assert await signed() == [*first, first[0] + 1]


async def test_a_stop_without_a_database_is_a_stop_all_the_same() -> None:
    async with databases.sqlite_engine() as opened:
        await opened.close()
        await worker.Signing(b"a key").stop()


def test_the_command_line_verifies_and_signs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = cli.main([*words, "--data", str(tmp_path)])
        return code, capsys.readouterr().out

    run("demo")
    code, said = run("audit", "sign")
    assert (code, said.split()[:2]) == (0, ["Signed", "row"])
    assert run("audit", "sign") == (0, "Nothing new to sign.\n")
    code, said = run("audit", "verify", "--progress")
    assert code == 0
    assert said.startswith("The audit trail holds:")
    with sqlite3.connect(tmp_path / "community.sqlite") as database:
        database.execute("DROP TRIGGER audit_no_update")
        database.execute("UPDATE audit SET actor = NULL, action = 'nothing' WHERE seq = 7")
    database.close()
    code, said = run("audit", "verify")
    assert code == 1
    assert said.splitlines()[0] == "row 7 was changed: its hash is another"
    assert "does not hold: 1 flaws" in said
