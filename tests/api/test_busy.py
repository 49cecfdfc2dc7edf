"""Outside calendars: what is busy elsewhere is not given away here."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import httpx
import pytest

from models import base, engine
from tests.models.test_calendars.texts import ics
from tests.towns import Town, a_booking, a_need, a_space, an_offering, mornings

_NOW = dt.datetime(2026, 11, 1, 4, 0, tzinfo=dt.UTC)
# The Monday of `a_booking`, seen from there.
MONDAY = "DTSTART:20261109T070000\nDTEND:20261109T073000\nSUMMARY:看牙医 with Dr Wang"


@pytest.fixture(autouse=True)
def _first_of_november(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "clock", lambda: _NOW)


async def _offering(town: Town, kind: str = "space", **change: Any) -> str:
    body = (a_space if kind == "space" else an_offering)(town, **change)
    return str((await town.make("/v1/offerings", body, "partner_staff"))["id"])


async def _send(
    town: Town, offering: str, *events: str, who: str = "partner_staff", **options: Any
) -> httpx.Response:
    headers = {"Content-Type": "text/calendar"}
    path = f"/v1/offerings/{offering}/busy.ics"
    return await town.as_(who, "PUT", path, content=ics(*events), headers=headers, **options)


async def _book(town: Town, offering: str, **change: Any) -> httpx.Response:
    path = f"/v1/offerings/{offering}/bookings"
    return await town.as_("secretary", "POST", path, json={**a_booking(), **change})


async def test_only_its_own_people_and_who_decides_there_import_and_read(town: Town) -> None:
    space = await _offering(town)
    path = f"/v1/offerings/{space}/busy"
    for who, status in (
        ("anonymous", 401),
        ("resident", 403),
        ("other_staff", 403),
        ("sibling_secretary", 403),
        ("secretary", 200),
        ("partner_staff", 200),
    ):
        assert (await _send(town, space, MONDAY, who=who)).status_code == status, who
        assert (await town.as_(who, "GET", path)).status_code == status, who


@pytest.mark.parametrize("kind", ["space", "merchant"])
async def test_what_is_busy_elsewhere_can_neither_be_booked_nor_matched(
    town: Town, kind: str
) -> None:
    offering = await _offering(town, kind)
    role = {"role": "it", "kind": kind}
    window = mornings(days=[1], **{"from": "2026-11-09", "until": "2026-11-09"})
    need = await town.make("/v1/needs", a_need(town, slots=[role], windows=[window]))
    matches = f"/v1/needs/{need['id']}/matches?include=excluded"
    assert len((await town.get(matches, "secretary"))["slots"][0]["matches"]) == 1
    answer = await _send(town, offering, MONDAY)
    assert answer.json() == {
        "items": [{"start": "2026-11-08T23:00:00Z", "end": "2026-11-08T23:30:00Z"}],
        "conflicts": [],
    }
    refused = await _book(town, offering)
    assert (refused.status_code, refused.json()["code"]) == (409, "already_booked")
    assert "2026-11-08 23:00" in refused.json()["detail"]
    found = (await town.get(matches, "secretary"))["slots"][0]
    assert found["matches"] == []
    assert "busy 2026-11-09 07:00–07:30" in str(found["excluded"])
    # A calendar without events frees it.
    assert (await _send(town, offering)).json() == {"items": [], "conflicts": []}
    assert (await _book(town, offering)).status_code == 201


async def test_bookings_that_are_there_already_stand_and_are_named(town: Town) -> None:
    space = await _offering(town)
    booked = (await _book(town, space)).json()
    expected = {
        "booking_id": booked["id"],
        "status": "confirmed",
        "start": "2026-11-08T22:30:00Z",
        "end": "2026-11-09T01:00:00Z",
    }
    assert (await _send(town, space, MONDAY)).json()["conflicts"] == [expected]
    path = f"/v1/offerings/{space}/busy"
    assert (await town.get(path, "partner_staff"))["conflicts"] == [expected]
    await town.make(f"/v1/bookings/{booked['id']}/cancel", {})
    assert (await town.get(path, "partner_staff"))["conflicts"] == []


async def test_an_import_and_a_concurrent_booking_never_pass_each_other_unseen(
    town: Town,
) -> None:
    for _ in range(5):
        space = await _offering(town)
        booked, sent = await asyncio.gather(_book(town, space), _send(town, space, MONDAY))
        named = [conflict["booking_id"] for conflict in sent.json()["conflicts"]]
        if booked.status_code == 201:
            assert named == [booked.json()["id"]]
        else:
            assert (booked.json()["code"], named) == ("already_booked", [])


async def test_nothing_is_kept_of_what_an_event_is_about(town: Town) -> None:
    space = await _offering(town)
    await _send(town, space, f"{MONDAY}\nLOCATION:牙科诊所\nATTENDEE:mailto:wang@example.org")
    await town.indexed()
    rows = await engine.fetch("SELECT * FROM busy_time")
    assert [set(row) for row in rows] == [{"id", "offering", "starts", "ends"}]
    for table in ("audit", "answer", "outbox"):
        assert "牙" not in str(await engine.fetch(f"SELECT * FROM {table}"))


async def test_the_same_calendar_sent_again_changes_nothing(town: Town) -> None:
    space = await _offering(town)
    acts = "SELECT 1 FROM audit WHERE action = 'offering.busy'"
    for _ in range(3):
        await _send(town, space, MONDAY)
    assert len(await engine.fetch(acts)) == 1


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([f"{MONDAY}\nSTATUS:CANCELLED"], []),
        ([f"{MONDAY}\nTRANSP:TRANSPARENT"], []),
        ([f"{MONDAY}\nX-MICROSOFT-CDO-BUSYSTATUS:FREE"], []),
        (["DTSTART:20251109T070000\nDURATION:PT1H"], []),
        (["DTSTART:20281109T070000\nDURATION:PT1H"], []),
        # Half past to a minute after: a minute that is begun is gone.
        (
            ["DTSTART:20261109T070030\nDTEND:20261109T070130"],
            ["2026-11-08T23:00 2026-11-08T23:02"],
        ),
        (["DTSTART;VALUE=DATE:20261109"], ["2026-11-08T16:00 2026-11-09T16:00"]),
        # Two that overlap are one time.
        (
            [MONDAY, "DTSTART:20261109T071500\nDURATION:PT1H"],
            ["2026-11-08T23:00 2026-11-09T00:15"],
        ),
        # Across the end of summer time in Berlin, where it was 07:00 as every day.
        (
            [
                "DTSTART;TZID=Europe/Berlin:20270326T070000\nDURATION:PT1H\n"
                "RRULE:FREQ=DAILY;COUNT=4\nEXDATE;TZID=Europe/Berlin:20270327T070000"
            ],
            [
                "2027-03-26T06:00 2027-03-26T07:00",
                "2027-03-28T05:00 2027-03-28T06:00",
                "2027-03-29T05:00 2027-03-29T06:00",
            ],
        ),
        # The last weekday of the month, one of which was moved and one freed.
        (
            [
                "UID:a\nDTSTART:20261031T090000Z\nDURATION:PT1H\n"
                "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;UNTIL=20270201",
                "UID:a\nRECURRENCE-ID:20261130T090000Z\nDTSTART:20261201T100000Z\nDURATION:PT1H",
                "UID:a\nRECURRENCE-ID:20261231T090000Z\nDTSTART:20261231T090000Z\n"
                "DURATION:PT1H\nTRANSP:TRANSPARENT",
            ],
            ["2026-12-01T10:00 2026-12-01T11:00", "2027-01-29T09:00 2027-01-29T10:00"],
        ),
        # It began in October and goes on.
        (
            ["DTSTART:20261020T000000Z\nDTEND:20261105T000000Z"],
            ["2026-10-20T00:00 2026-11-05T00:00"],
        ),
    ],
)
async def test_events_take_the_time_that_they_say(
    town: Town, events: list[str], expected: list[str]
) -> None:
    answer = await _send(town, await _offering(town), *events)
    assert answer.status_code == 200, answer.text
    found = [f"{item['start'][:16]} {item['end'][:16]}" for item in answer.json()["items"]]
    assert found == expected


async def test_an_event_without_end_is_kept_as_far_as_can_be_booked(town: Town) -> None:
    daily = "DTSTART:20150101T070000\nDURATION:PT1H\nRRULE:FREQ=DAILY"
    items = (await _send(town, await _offering(town), daily)).json()["items"]
    assert len(items) == 397
    last = dt.datetime.fromisoformat(items[-1]["start"])
    assert last > base.now() + dt.timedelta(days=395)


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"x" * 10_000_000, 413, "1048576"),
        (b"BEGIN:VCALENDAR\r\n" * 50_000, 422, "nests too deeply"),
        (ics("DTSTART:20261109T070000\nDURATION:PT1H\nRRULE:FREQ=SECONDLY"), 422, "FREQ"),
        (ics(*["DTSTART:20261109T070000\nDURATION:PT1H"] * 5001), 422, "at most 5000 events"),
        (
            ics(*["DTSTART:20150101T070000\nDURATION:PT1H\nRRULE:FREQ=DAILY"] * 3000),
            422,
            "too often",
        ),
        (
            ics(
                *(
                    f"DTSTART:20261109T{hour:02}0000\nDURATION:PT1M\nRRULE:FREQ=DAILY"
                    for hour in range(6)
                )
            ),
            422,
            "at most 2000 times",
        ),
        (ics("DTSTART;TZID=Mars:20261109T070000"), 422, "unknown time zone"),
        (b"\x00", 422, "NUL"),
    ],
)
async def test_hostile_calendars_are_refused_clearly(
    town: Town, content: bytes, status: int, says: str
) -> None:
    path = f"/v1/offerings/{await _offering(town)}/busy.ics"
    headers = {"Content-Type": "text/calendar"}
    answer = await town.as_("partner_staff", "PUT", path, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert says in answer.text
    headers = {"Content-Type": "application/json"}
    answer = await town.as_("partner_staff", "PUT", path, content=b"{}", headers=headers)
    assert answer.status_code == 415
