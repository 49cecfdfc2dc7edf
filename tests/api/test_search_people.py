"""What people expect of a search: nearness on foot, opening hours, licences, their own language,
pinyin, and another word where theirs finds nothing."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.test_spaces import a_part
from tests.clocks import Clock
from tests.towns import Town, a_need, a_point, a_space, an_offering

ALWAYS = {"days": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "24:00"}
# Wednesday 4 November 2026, 12:30 in Chongqing.
NOON = dt.datetime(2026, 11, 4, 4, 30, tzinfo=dt.UTC)
NOON_TEXT = "2026-11-04T12:30%2B08:00"


async def _offer(town: Town, name: str, **change: Any) -> str:
    body = a_space(
        town, title={"zh": f"{name}间", "en": name}, **{"availability": [ALWAYS], **change}
    )
    return str((await town.make("/v1/offerings", body, "partner_staff"))["id"])


async def _names(town: Town, query: str, who: str = "anonymous") -> list[str]:
    found = await town.get(f"/v1/search?{query}", who)
    return [item["title"]["en"] for item in found["items"]]


async def test_near_me_is_what_lies_within_a_walk_the_nearest_first(town: Town) -> None:
    for name, east_m in (("far", 1_200), ("corner", 980), ("next door", 40), ("street", 500)):
        await _offer(town, name, location=a_point(east_m))
    await _offer(town, "nowhere", location=None)
    await town.indexed()
    here = "lat=29.57&lon=106.55"
    assert await _names(town, f"near_me=true&{here}") == ["next door", "street", "corner"]
    assert await _names(town, f"walk_minutes=8&{here}") == ["next door", "street"]
    assert await _names(town, f"walk_minutes=60&{here}&radius_m=100") == ["next door"]
    found = (await town.get(f"/v1/search?near_me=true&{here}"))["items"]
    assert [item["walk_minutes"] for item in found] == [1, 8, 15]
    assert found[1]["distance_m"] == pytest.approx(500, abs=2)


async def test_near_me_without_saying_where_is_refused(town: Town) -> None:
    answer = await town.as_("anonymous", "GET", "/v1/search?near_me=true")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["lat", "lon"]


async def test_open_now_knows_dates_exceptions_odd_minutes_and_the_week(
    town: Town, clock: Clock
) -> None:
    clock.set(NOON)
    noon = {"days": [3], "start": "12:00", "end": "13:00"}
    for name, window in {
        "always": ALWAYS,
        "at noon": noon,
        "until half past": {**noon, "end": "12:30"},
        "from half past": {**noon, "start": "12:30"},
        "just over": {**noon, "start": "12:00", "end": "12:29"},
        "a minute more": {**noon, "start": "12:00", "end": "12:31"},
        "not today": {**noon, "except": ["2026-11-04"]},
        "not last week": {**noon, "except": ["2026-10-28"]},
        "from tomorrow": {**noon, "from": "2026-11-05"},
        "until yesterday": {**noon, "until": "2026-11-03"},
        "this month": {**noon, "from": "2026-11-01", "until": "2026-11-30"},
        "on Thursdays": {**noon, "days": [4]},
        "noon in Berlin": {**noon, "timezone": "Europe/Berlin"},
        "morning in Berlin": {
            **noon,
            "start": "05:00",
            "end": "06:00",
            "timezone": "Europe/Berlin",
        },
        "over midnight": {"days": [3], "start": "22:00", "end": "13:00"},
        "since last night": {"days": [2], "start": "22:00", "end": "13:00"},
    }.items():
        await _offer(town, name, availability=[window])
    await town.indexed()
    expected = {
        "always",
        "at noon",
        "from half past",
        "a minute more",
        "not last week",
        "this month",
        "morning in Berlin",
        "since last night",
    }
    found = await town.get("/v1/search?open_at=now&facet=kind&page_size=3&sort=newest")
    assert (found["total"], found["facets"]["kind"]) == (8, {"space": 8})
    assert (found["pages"], found["total_capped"]) == (3, False)
    names = []
    for page in (1, 2, 3):
        names += await _names(town, f"open_at=now&page_size=3&sort=newest&page={page}")
    assert sorted(names) == sorted(expected)
    assert set(await _names(town, f"open_at={NOON_TEXT}&page_size=50")) == expected
    thursday = await _names(town, "open_at=2026-11-05T12:45%2B08:00&page_size=50")
    assert set(thursday) == {"always", "on Thursdays", "over midnight"}


async def test_a_facet_counts_what_is_open_whatever_its_own_filter_says(
    town: Town, clock: Clock
) -> None:
    clock.set(NOON)
    closed = {**ALWAYS, "except": ["2026-11-04"]}
    dated = {**ALWAYS, "from": "2026-01-01"}
    await _offer(town, "room", availability=[dated])
    for name, window in (("stall", dated), ("shut stall", closed)):
        body = an_offering(town, title={"zh": name, "en": name}, availability=[window])
        await town.make("/v1/offerings", body, "partner_staff")
    await town.indexed()
    found = await town.get("/v1/search?open_at=now&kind=space&facet=kind")
    assert found["facets"]["kind"] == {"merchant": 1, "space": 1}
    assert found["total"] == 1


async def test_what_is_booked_out_is_not_open_and_a_held_time_is_free_when_it_is_over(
    town: Town, clock: Clock
) -> None:
    clock.set(NOON)
    room = await _offer(town, "room", capacity=30)
    stall = an_offering(town, title={"zh": "摊", "en": "stall"}, availability=[ALWAYS], capacity=2)
    stall_id = (await town.make("/v1/offerings", stall, "partner_staff"))["id"]
    at = {"starts_at": "2026-11-04T12:40:00+08:00", "ends_at": "2026-11-04T14:00:00+08:00"}
    await town.make(f"/v1/offerings/{room}/bookings", {**at, "hold_s": 60})
    await town.make(f"/v1/offerings/{stall_id}/bookings", {**at, "quantity": 1})
    await town.indexed()
    one = "2026-11-04T13:00%2B08:00"
    assert await _names(town, f"open_at={one}") == ["stall"]
    await town.make(f"/v1/offerings/{stall_id}/bookings", {**at, "quantity": 1})
    assert await _names(town, f"open_at={one}") == []
    clock.set(NOON + dt.timedelta(minutes=2))
    assert await _names(town, f"open_at={one}") == ["room"]
    assert set(await _names(town, "open_at=2026-11-04T14:00%2B08:00")) == {"room", "stall"}


@pytest.mark.parametrize(
    "when", ["yesterday", "2026-11-04", "2026-11-04T12:00", "9999-12-31T23:59Z"]
)
async def test_a_time_that_is_none_is_refused(town: Town, when: str) -> None:
    answer = await town.as_("anonymous", "GET", f"/v1/search?open_at={when}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "open_at"


async def _device(town: Town, name: str, east_m: int, valid_to: str, *, seen: bool = True) -> None:
    """A defibrillator with an inspection, which somebody has seen or not."""
    inspection = {"kind": "inspection", "issuer": "市计量院", "number": name, "valid_to": valid_to}
    body = an_offering(
        town,
        kind="goods",
        title={"zh": f"除颤仪{name}", "en": name},
        location=a_point(east_m),
        service_types=["first_aid_equipment"],
        features=["aed"],
        availability=[ALWAYS],
        credentials=[inspection],
    )
    made = await town.make("/v1/offerings", body, "partner_staff")
    if seen:
        credential = made["credentials"][0]["id"]
        await town.make(f"/v1/offerings/{made['id']}/credentials/{credential}/verify", None)


async def test_defibrillators_on_foot_come_by_distance_and_the_expired_one_says_why(
    town: Town, clock: Clock
) -> None:
    """A8: whoever looks for one now is not sent to one that may not work."""
    clock.set(NOON)
    await _device(town, "library", 310, "2027-11-01")
    await _device(town, "gate", 120, "2026-11-04")
    await _device(town, "lobby", 20, "2026-11-03")
    await _device(town, "office", 60, "2027-11-01", seen=False)
    await _device(town, "far away", 1_900, "2027-11-01")
    await town.indexed()
    asked = "/v1/search?tag=aed&credential=inspection&near_me=true&lat=29.57&lon=106.55"
    found = await town.get(asked)
    near = [(item["title"]["en"], item["distance_m"]) for item in found["items"]]
    assert near == [("gate", 120), ("library", 310)]
    assert (found["total"], found["excluded_total"]) == (2, 2)
    said = {out["item"]["title"]["en"]: out["because"][0]["text"] for out in found["excluded"]}
    assert said["lobby"].startswith("licence inspection is valid until 2026-11-04 00:00, needed")
    assert said["office"] == "licence inspection is not verified"
    chinese = await town.get(asked, headers={"Accept-Language": "zh-Hans-CN"})
    assert "有效至" in chinese["excluded"][0]["because"][0]["text"]


async def test_verified_doctors_free_within_500_m_now_and_the_expired_one_is_named(
    town: Town, clock: Clock
) -> None:
    """A13, second half: the search knows the verified ones who are free, by the middle of the cell
    in which each lives."""
    clock.set(NOON)

    def vanguard(number: int, east_m: int, **change: Any) -> dict[str, Any]:
        return an_offering(
            town,
            kind="vanguard",
            title={"zh": f"第{number}位先锋", "en": f"Vanguard {number}"},
            location=a_point(east_m),
            service_types=["health_clinic"],
            **{"availability": [{**ALWAYS, "start": "08:00", "end": "20:00"}], **change},
        )

    def licence(valid_to: str = "2030-01-01") -> list[dict[str, Any]]:
        held = {"kind": "doctor_licence", "issuer": "卫健委", "number": "D", "valid_to": valid_to}
        return [held]

    people = [vanguard(number, 5_000 + number) for number in range(25)]
    people += [vanguard(900 + at, 40 * at, credentials=licence()) for at in range(3)]
    asleep = [{**ALWAYS, "start": "18:00", "end": "20:00"}]
    people += [vanguard(903, 0, credentials=licence(), availability=asleep)]
    people += [vanguard(904, 0, credentials=licence("2026-11-03"))]
    made = (await town.make("/v1/offerings/bulk", {"items": people}, "partner_staff"))["items"]
    for offering in made:
        for credential in offering["credentials"]:
            path = f"/v1/offerings/{offering['id']}/credentials/{credential['id']}/verify"
            await town.make(path, None)
    await town.indexed()
    # One of them is booked just then.
    at = {"starts_at": "2026-11-04T12:31:00+08:00", "ends_at": "2026-11-04T14:00:00+08:00"}
    booked = next(one["id"] for one in made if one["title"]["en"] == "Vanguard 902")
    await town.make(f"/v1/offerings/{booked}/bookings", at)
    clock.set(NOON + dt.timedelta(minutes=1))
    asked = "kind=vanguard&credential=doctor_licence&open_at=now&lat=29.57&lon=106.55&radius_m=500"
    found = await town.get(f"/v1/search?{asked}&sort=distance&facet=kind")
    names = {item["title"]["en"] for item in found["items"]}
    assert names == {"Vanguard 900", "Vanguard 901"}
    assert found["facets"]["kind"] == {"vanguard": 2}
    (out,) = found["excluded"]
    assert out["item"]["title"]["en"] == "Vanguard 904"
    assert "2026-11-04 00:00" in out["because"][0]["text"]


async def test_titles_and_facets_are_told_in_the_callers_language(town: Town) -> None:
    await _offer(town, "Sunny", service_types=["breakfast_point"])
    await town.indexed()
    path = "/v1/search?facet=kind&facet=service_types&facet=community&facet=weekdays"
    for tongue, title, kind, service in (
        ("zh-CN", "Sunny间", "空间", "早餐点"),
        ("en", "Sunny", "Spaces", "Breakfast point"),
        ("fr", "Sunny", "Spaces", "Breakfast point"),
    ):
        found = await town.get(path, headers={"Accept-Language": tongue})
        assert found["items"][0]["title_text"] == title
        assert found["labels"]["kind"]["space"] == kind
        assert found["labels"]["kind"].keys() == found["facets"]["kind"].keys()
        assert found["labels"]["service_types"] == {"breakfast_point": service}
        assert set(found["labels"]["community"]) == set(found["facets"]["community"])
        assert len(found["labels"]["weekdays"]) == 7


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("zaocan", True),
        ("zao can", True),
        ("zaoc", True),
        ("zc", True),
        ("ZC", True),
        ("yunbofuzaocan", True),
        ("yunbofu", True),
        ("zaocann", False),
    ],
)
async def test_chinese_is_found_by_pinyin_and_by_initials(
    town: Town, text: str, found: bool
) -> None:
    body = a_space(
        town, title={"zh": "云伯父早餐", "en": "Uncle"}, service_types=["activity_station"]
    )
    await town.make("/v1/offerings", body, "partner_staff")
    await town.indexed()
    asked = f"q={quote(text)}&match=all&kind=space"
    assert await _names(town, asked) == (["Uncle"] if found else [])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("早参", "早餐"),
        ("长者食塘", "长者食堂"),
        ("長者食塘", "长者食堂"),
        ("cafeterria hole", None),
        ("brekfst", "breakfast"),
        ("hal", None),
        ("xyzzy", None),
        ("早餐", None),
    ],
)
async def test_where_little_is_found_another_text_is_offered_that_finds_more(
    town: Town, text: str, meant: str | None
) -> None:
    title = {"zh": "长者食堂大厅", "en": "Senior cafeteria hall"}
    await town.make(
        "/v1/offerings",
        a_space(town, title=title, service_types=["senior_cafeteria"]),
        "partner_staff",
    )
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    await town.indexed()
    found = await town.get(f"/v1/search?q={quote(text)}&match=all")
    offered = found["did_you_mean"]
    assert (offered and offered["text"]) == meant
    if offered:
        again = await town.get(f"/v1/search?q={quote(offered['text'])}&match=all")
        assert again["total"] == offered["total"] > found["total"]


async def test_a_short_word_with_another_first_letter_is_not_what_was_meant(town: Town) -> None:
    await town.make(
        "/v1/offerings",
        a_space(town, title={"zh": "大厅", "en": "Xylophone hall"}),
        "partner_staff",
    )
    await town.indexed()
    meant = [(await town.get(f"/v1/search?q={text}"))["did_you_mean"] for text in ("xall", "hakl")]
    assert [one and one["text"] for one in meant] == [None, "hall"]


async def test_no_other_text_comes_from_what_the_caller_may_not_see(town: Town) -> None:
    """X8."""
    title = {"zh": "灯塔旅馆", "en": "Lighthouse inn"}
    draft = a_space(town, title=title, status="draft")
    await town.make("/v1/offerings", draft, "partner_staff")
    await town.indexed()
    for text in ("灯塌旅馆", "lighthse"):
        path = f"/v1/search?q={quote(text)}&match=all"
        assert (await town.get(path))["did_you_mean"] is None


async def test_a_room_is_taken_while_the_floor_it_lies_in_is_booked(
    town: Town, clock: Clock
) -> None:
    clock.set(NOON)
    always = {"availability": [ALWAYS]}
    floor = await a_part(town, "floor", title={"zh": "楼层", "en": "floor"}, **always)
    await a_part(town, "room", floor, title={"zh": "房间", "en": "room"}, **always)
    await town.indexed()
    assert set(await _names(town, "open_at=now")) == {"floor", "room"}
    at = {"starts_at": "2026-11-04T13:00:00+08:00", "ends_at": "2026-11-04T14:00:00+08:00"}
    await town.make(f"/v1/offerings/{floor}/bookings", at)
    assert await _names(town, "open_at=2026-11-04T13:30%2B08:00") == []
    assert set(await _names(town, "open_at=2026-11-04T14:00%2B08:00")) == {"floor", "room"}
