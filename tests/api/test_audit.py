"""The audit trail as its readers meet it: over HTTP for officers, on the command line for whoever
runs the service."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from api import cli, worker
from api.documentation import endpoints
from models import audit, engine
from tests import databases
from tests.api import agreement_days, days, deal_days, partner_days
from tests.api.test_places import a_place
from tests.clocks import Clock
from tests.towns import Town, a_need


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

    def __init__(self, town: Town, clock: Clock) -> None:
        self.town, self.clock = town, clock
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


# These keep nothing, or nothing but the tokens of a sign-in that is in the trail already, or what
# nobody but the account itself ever sees: that it has read a notice, and what it has searched for.
UNRECORDED = {
    "forget_recent_searches",
    "make_search_token",
    "preview_need",
    "read_notice",
    "renew_session",
    "what_if",
}


async def test_each_change_over_http_is_one_act_of_its_caller(town: Town, march: Clock) -> None:
    """F2: who did what. A new endpoint that writes belongs into one of these days."""
    diary = Diary(town, march)
    whole = (
        # These let time pass.
        deal_days.terms,
        deal_days.rent,
        deal_days.contracts,
        deal_days.service,
        partner_days.walks,
        partner_days.dockings,
        partner_days.trainings,
        agreement_days.agreements,
        agreement_days.enrolments,
        deal_days.calendars,
        deal_days.searches,
        deal_days.duties,
        days.places,
        days.partners,
        days.offerings,
        days.spaces,
        days.bookings,
        days.groups,
        days.needs,
        days.planning,
        days.roles,
        days.keys,
        days.people,
    )
    for day in whole:
        await day(diary, town)
    writing = {
        endpoint.name
        for endpoint in endpoints.of(town.app)
        if endpoint.method != "get" and endpoint.path.startswith("/v1/")
    }
    assert diary.operations == writing - UNRECORDED
    assert [flaw async for flaw in audit.Verification(b"").flaws()] == []


async def test_the_trail_is_signed_every_hour_and_at_a_clean_stop(
    town: Town, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def signed() -> list[int]:
        return [seq for (seq,) in await engine.rows("SELECT seq FROM audit_head ORDER BY seq")]

    monkeypatch.setattr(worker, "SIGN_EVERY_S", 0.2)
    signing = worker.Signing(b"a key")
    await signing.start()
    async with asyncio.timeout(20):
        while not (first := await signed()):
            await asyncio.sleep(0.01)
    await signing.stop()
    assert first == [(await _acts(town))[0]["seq"]]
    signing = worker.Signing(b"a key")
    await signing.stop()
    assert await signed() == first, "nothing happened since"
    await town.make("/v1/needs", a_need(town))
    capfd.readouterr()
    await signing.stop()
    assert await signed() == [*first, first[0] + 1]
    # The copy that whoever changes the database cannot change, too.
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    heads = [(one["seq"], one["hash"]) for one in said if one["event"] == "audit.signed"]
    assert heads == await engine.rows("SELECT seq, hash FROM audit_head WHERE seq > $1", first[0])


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
