"""Calendars to subscribe to: secret addresses that show what their maker may see now."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import httpx
import icalendar
import pytest

from models import base, bookings, engine
from tests.api.test_agreements import _active, _need, _offer, _step
from tests.towns import Town, a_booking, a_need, a_space, an_offering

Json = dict[str, Any]


async def _calendar(
    town: Town, kind: str, subject: str | None = None, who: str = "secretary"
) -> Json:
    body = {"kind": kind, "subject_id": subject} if subject else {"kind": kind}
    made: Json = await town.make("/v1/calendars", body, who)
    return made


async def _read(town: Town, made: Json, **headers: str) -> httpx.Response:
    """As a calendar program does, which has nothing but the address."""
    return await town.client.request("GET", made["address"], headers=headers)


async def _events(town: Town, made: Json) -> list[Any]:
    answer = await _read(town, made)
    assert answer.status_code == 200, answer.text
    return list(icalendar.Calendar.from_ical(answer.content).walk("VEVENT"))


async def _space(town: Town, **change: Any) -> str:
    return str((await town.make("/v1/offerings", a_space(town, **change), "partner_staff"))["id"])


async def _book(town: Town, offering: str, **change: Any) -> Json:
    body = {**a_booking(), **change}
    made: Json = await town.make(f"/v1/offerings/{offering}/bookings", body)
    return made


async def test_an_address_needs_no_sign_in_and_a_wrong_one_shows_nothing(town: Town) -> None:
    answer = await town.as_("anonymous", "POST", "/v1/calendars", json={"kind": "account"})
    assert answer.status_code == 401
    made = await _calendar(town, "account", who="resident")
    answer = await _read(town, made)
    assert answer.headers["content-type"].startswith("text/calendar")
    assert answer.headers["cache-control"].startswith("private")
    address = made["address"]
    other = await _calendar(town, "account", who="volunteer")
    secret = other["address"].rpartition("/")[2]
    for wrong in (
        address.removesuffix(".ics"),
        address.replace(".ics", ".txt"),
        f"{address[:-5]}.ics",
        f"{address.rpartition('/')[0]}/{secret}",
        f"/v1/calendars/{uuid.uuid4()}/{secret}",
        f"{address.rpartition('/')[0]}/%00%C3%A9%F0%9F%98%80.ics",
    ):
        answer = await town.client.request("GET", wrong)
        assert answer.status_code == 404, wrong


async def test_the_token_is_kept_nowhere(town: Town) -> None:
    made = await _calendar(town, "account", who="resident")
    token = made["address"].rpartition("/")[2].removesuffix(".ics")
    for table in ("feed", "audit", "outbox", "answer"):
        assert token not in str(await engine.fetch(f"SELECT * FROM {table}"))
    listed = await town.as_("resident", "GET", "/v1/calendars")
    assert token not in listed.text


async def test_bookings_are_events_as_rfc_5545_has_them(town: Town) -> None:
    """X10."""
    space = await _space(town)
    kept = await _book(town, space)
    held = await _book(town, space, **a_booking("09:00", "10:00"), hold_s=600)
    gone = await _book(town, space, **a_booking("06:00", "06:30"))
    await town.make(f"/v1/bookings/{gone['id']}/cancel", {})
    made = await _calendar(town, "offering", space, "partner_staff")
    answer = await _read(town, made)
    assert b"\r\n" in answer.content
    assert all(len(line) <= 75 for line in answer.content.split(b"\r\n"))
    calendar = icalendar.Calendar.from_ical(answer.content)
    assert [str(name) for name in calendar["NAME"]] == ["桥北闲置工具房", "Qiaobei idle toolroom"]
    assert str(calendar["X-WR-CALNAME"]) == "桥北闲置工具房 Qiaobei idle toolroom"
    assert calendar["REFRESH-INTERVAL"].to_ical() == b"PT1H"
    assert calendar["X-PUBLISHED-TTL"].to_ical() == b"PT1H"
    (zone,) = calendar.walk("VTIMEZONE")
    assert zone["TZID"] == "Asia/Shanghai"
    events = {str(event["UID"]): event for event in calendar.walk("VEVENT")}
    status = {f"{b['id']}@community-partners": None for b in (kept, held, gone)}
    assert events.keys() == status.keys()
    event = events[f"{kept['id']}@community-partners"]
    assert event["DTSTART"].params["TZID"] == "Asia/Shanghai"
    assert event["DTSTART"].dt == dt.datetime.fromisoformat(kept["starts_at"])
    assert event["LAST-MODIFIED"].dt.replace(microsecond=0) == dt.datetime.fromisoformat(
        kept["updated_at"]
    ).replace(microsecond=0)
    assert (event["STATUS"], event["SEQUENCE"]) == ("CONFIRMED", 0)
    assert events[f"{held['id']}@community-partners"]["STATUS"] == "TENTATIVE"
    cancelled = events[f"{gone['id']}@community-partners"]
    assert (cancelled["STATUS"], cancelled["SEQUENCE"]) == ("CANCELLED", 1)
    assert {str(e["LOCATION"]) for e in events.values()} == {"qiaobei 社区 Qiaobei"}


async def test_a_calendar_that_has_not_changed_is_not_sent_again(town: Town) -> None:
    space = await _space(town)
    made = await _calendar(town, "offering", space)
    tag = (await _read(town, made)).headers["etag"]
    answer = await _read(town, made, **{"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    await _book(town, space)
    answer = await _read(town, made, **{"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag


async def test_times_are_those_of_the_zone_of_the_place(town: Town) -> None:
    await town.change(f"/v1/places/{town.community}", {"timezone": "Europe/Berlin"})
    space = await _space(town)
    await _book(town, space)
    (event,) = await _events(town, await _calendar(town, "offering", space))
    assert event["DTSTART"].params["TZID"] == "Europe/Berlin"
    assert event["DTSTART"].dt.time() in (dt.time(23, 30), dt.time(0, 30))


async def test_an_address_is_dead_once_it_is_revoked(town: Town) -> None:
    space = await _space(town)
    made, other = [await _calendar(town, "offering", space) for _ in range(2)]
    path = f"/v1/calendars/{made['record']['id']}"
    assert (await town.as_("officer", "DELETE", path)).status_code == 404
    assert (await town.as_("secretary", "DELETE", path)).status_code == 204
    assert (await _read(town, made)).status_code == 404
    assert (await town.as_("secretary", "DELETE", path)).status_code == 404
    assert (await _read(town, other)).status_code == 200
    listed = (await town.get("/v1/calendars", "secretary"))["items"]
    assert [one["id"] for one in listed] == [other["record"]["id"]]


async def test_it_tells_when_it_was_used_last(town: Town) -> None:
    made = await _calendar(town, "account", who="resident")
    assert made["record"]["last_used_at"] is None
    await _read(town, made)
    (listed,) = (await town.get("/v1/calendars", "resident"))["items"]
    assert listed["last_used_at"] is not None
    assert (await town.get("/v1/calendars", "volunteer"))["items"] == []


async def test_who_is_banned_or_loses_the_role_loses_the_calendar_at_once(town: Town) -> None:
    """F1."""
    space = await _space(town)
    booked = await _book(town, space)
    made = [
        await _calendar(town, kind, subject)
        for kind, subject in (("offering", space), ("place", town.community))
    ]
    own = await _calendar(town, "account")
    for one in made:
        (event,) = await _events(town, one)
        assert event["UID"] == f"{booked['id']}@community-partners"
    account = town.accounts["secretary"]
    for role in (await town.get(f"/v1/roles?account={account}", "operator"))["items"]:
        path = f"/v1/roles/{role['id']}"
        assert (await town.as_("operator", "DELETE", path, headers={"If-Match": "*"})).is_success
    assert [(await _read(town, one)).status_code for one in made] == [404, 404]
    assert (await _read(town, own)).status_code == 200
    await town.make(f"/v1/accounts/{account}/ban", {}, "operator")
    assert (await _read(town, own)).status_code == 404
    await town.make(f"/v1/accounts/{account}/unban", {}, "operator")
    assert (await _read(town, own)).status_code == 200


async def test_nobody_makes_a_calendar_of_what_is_not_theirs(town: Town) -> None:
    space = await _space(town)
    draft = await _space(town, status="draft")
    need = (await town.make("/v1/needs", a_need(town)))["id"]
    for kind, subject, who, status in (
        ("offering", space, "resident", 403),
        ("offering", space, "other_staff", 403),
        ("offering", draft, "resident", 404),
        ("offering", str(uuid.uuid4()), "operator", 404),
        ("need", need, "resident", 403),
        ("need", need, "partner_staff", 403),
        ("need", need, "secretary", 201),
        ("place", town.community, "resident", 403),
        ("place", town.community, "sibling_secretary", 403),
        ("place", town.community, "officer", 201),
        ("account", str(town.accounts["volunteer"]), "resident", 400),
        ("offering", None, "secretary", 400),
        ("town", space, "secretary", 400),
    ):
        body = {"kind": kind, "subject_id": subject} if subject else {"kind": kind}
        answer = await town.as_(who, "POST", "/v1/calendars", json=body)
        assert answer.status_code == status, (kind, who, answer.text)


async def test_an_account_has_at_most_fifty(town: Town) -> None:
    for _ in range(50):
        await _calendar(town, "account", who="resident")
    answer = await town.as_("resident", "POST", "/v1/calendars", json={"kind": "account"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "too_many")
    listed = (await town.get("/v1/calendars", "resident"))["items"]
    path = f"/v1/calendars/{listed[0]['id']}"
    assert (await town.as_("resident", "DELETE", path)).status_code == 204
    await _calendar(town, "account", who="resident")


async def test_a_home_is_told_of_by_its_public_place_alone(town: Town) -> None:
    """X16."""
    building = await town.make(
        "/v1/places",
        {
            "slug": "building-7",
            "kind": "building",
            "parent_id": town.grid,
            "name": {"zh": "七号楼", "en": "Building 7"},
        },
        "officer",
    )
    body = a_need(
        town,
        place_id=building["id"],
        beneficiary="dependent_elder",
        consent={
            "given_by": "李奶奶",
            "relation": "self",
            "text": "同意",
            "channel": "phone",
            "given_at": "2026-01-02T03:04:05Z",
        },
    )
    need = await town.make("/v1/needs", body, "operator")
    helper = await town.make(
        "/v1/offerings", an_offering(town, kind="vanguard", capacity=None), "partner_staff"
    )
    await _book(town, helper["id"], need_id=need["id"])
    for kind, subject in (("offering", helper["id"]), ("need", need["id"]), ("account", None)):
        who = "partner_staff" if kind == "account" else "secretary"
        made = await _calendar(town, kind, subject, who)
        (event,) = await _events(town, made)
        assert event["LOCATION"] == "qiaobei-grid-1 社区 Qiaobei-Grid-1", kind
        text = (await _read(town, made)).text
        for secret in ("七号楼", "Building 7", "李奶奶", "周梅", "6789", str(building["id"])):
            assert secret not in text, (kind, secret)


async def test_an_account_has_what_it_booked_and_what_its_partners_have_promised(
    town: Town,
) -> None:
    booked = await _book(town, await _space(town))
    for who, expected in (
        ("secretary", [f"{booked['id']}@community-partners"]),
        ("partner_staff", [f"{booked['id']}@community-partners"]),
        ("officer", []),
        ("operator", []),
    ):
        events = await _events(town, await _calendar(town, "account", who=who))
        assert [str(event["UID"]) for event in events] == expected, who


async def test_an_agreement_is_in_the_calendars_of_all_it_concerns(town: Town) -> None:
    """A2, X10."""
    need, shop = await _need(town), await _offer(town)
    before = await _calendar(town, "need", need["id"])
    assert await _events(town, before) == []
    made = await _active(town, need, ("cook", shop))
    await town.make(f"/v1/needs/{need['id']}/enrolments", {"label": "小明"}, "resident")
    await town.make(f"/v1/needs/{need['id']}/enrolments", {}, "resident")
    own = await _calendar(town, "account", who="partner_staff")
    guest = await _calendar(town, "account", who="resident")
    stranger = await _calendar(town, "account", who="volunteer")
    served = await _calendar(town, "need", need["id"], "partner_staff")
    place = await _calendar(town, "place", town.community)
    times = (await town.get(f"/v1/agreements/{made['id']}/times", "partner_staff"))["items"]
    starts = sorted(dt.datetime.fromisoformat(one["starts_at"]) for one in times)
    for feed in (before, own, guest, served, place):
        events = await _events(town, feed)
        assert sorted(event["DTSTART"].dt for event in events) == starts
        assert {str(event["STATUS"]) for event in events} == {"CONFIRMED"}
        assert "小明" not in (await _read(town, feed)).text
        if feed is own:
            # Though the need is filled, and on no list any more.
            assert {str(event["SUMMARY"]) for event in events} == {
                "周姐早餐店 Zhou's breakfast shop · 需要早餐点 A breakfast point at dawn"
            }
    assert await _events(town, stranger) == []
    assert len(starts) == 60, "five mornings a week for twelve weeks"
    answer = await _step(town, made, "end", "secretary", reason="no_longer_needed", note="x")
    assert answer.status_code == 200, answer.text
    for feed in (before, own, served, place):
        ahead = [e for e in await _events(town, feed) if e["DTSTART"].dt > base.now()]
        assert {str(event["STATUS"]) for event in ahead} == {"CANCELLED"}


async def test_of_a_very_full_calendar_the_nearest_thousand_are_told(town: Town) -> None:
    shop = await town.make("/v1/offerings", an_offering(town, capacity=None), "partner_staff")
    need = await town.make("/v1/needs", a_need(town))
    first = bookings.minute(base.now()) + 60
    await bookings.book_times(
        uuid.UUID(shop["id"]),
        [(first + 10 * n, first + 10 * n + 5) for n in range(1_200)],
        1,
        need=uuid.UUID(need["id"]),
        commitment=uuid.uuid4(),
        booked_by=town.accounts["secretary"],
    )
    made = await _calendar(town, "offering", shop["id"])
    answer = await _read(town, made)
    calendar = icalendar.Calendar.from_ical(answer.content)
    starts = [event["DTSTART"].dt for event in calendar.walk("VEVENT")]
    assert starts == [bookings.moment_of(first + 10 * n) for n in range(1_000)]
    assert "1000" in str(calendar["DESCRIPTION"])


async def test_calendars_are_taken_along_and_forgotten_with_their_account(town: Town) -> None:
    made = await _calendar(town, "account", who="resident")
    export = await town.get("/v1/accounts/current/export", "resident")
    (kept,) = export["data"]["calendars"]
    assert kept["id"] == made["record"]["id"]
    assert "token_hash" not in kept
    answer = await town.as_(
        "resident", "DELETE", "/v1/accounts/current", json={"password": "open sesame"}
    )
    assert answer.status_code == 204, answer.text
    assert (await _read(town, made)).status_code == 404
    assert await engine.fetch("SELECT 1 FROM feed") == []


@pytest.mark.parametrize("key", ["own", "none"])
async def test_a_service_key_makes_no_calendar_that_would_outlive_it(town: Town, key: str) -> None:
    body = {"name": "kiosk", "scopes": ["read", "offerings"], "place_id": town.community}
    town.tokens["key"] = (await town.make("/v1/service-keys", body))["key"]
    subject = {"own": town.community, "none": str(uuid.uuid4())}[key]
    body = {"kind": "place", "subject_id": subject}
    answer = await town.as_("key", "POST", "/v1/calendars", json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "key_scope")
