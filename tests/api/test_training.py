"""Trainings and study visits: a skill until a day, which its holder cannot state."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
import zoneinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import training
from tests.api.test_partners import a_partner
from tests.clocks import Clock
from tests.towns import Town, a_need, a_training, an_offering

Json = dict[str, Any]
SHANGHAI = zoneinfo.ZoneInfo("Asia/Shanghai")


async def _vanguard(town: Town, **change: Any) -> str:
    body = an_offering(town, kind="vanguard", service_types=["emergency"], **change)
    return str((await town.make("/v1/offerings", body, "partner_staff"))["id"])


async def _complete(town: Town, course: str, offering: str, day: dt.date, who: str) -> Any:
    body = {"offering_id": offering, "completed_on": str(day)}
    return await town.as_(who, "POST", f"/v1/trainings/{course}/complete", json=body)


async def _matches(town: Town, need: Json) -> tuple[list[str], list[list[str]]]:
    """The offerings that are matched, and the gates of each that is not."""
    found = await town.get(f"/v1/needs/{need['id']}/matches?include=excluded", "secretary")
    slot = found["slots"][0]
    shut = [[failure["gate"] for failure in out["because"]] for out in slot["excluded"]]
    return [match["offering"]["id"] for match in slot["matches"]], shut


def _emergency(town: Town) -> Json:
    """First aid at any hour of any day."""
    days = [{"days": [1, 2, 3, 4, 5], "start": "06:30", "end": "09:00"}]
    slots = [{"role": "aider", "kind": "vanguard", "credentials": ["first_aid"]}]
    return a_need(town, service_type="emergency", windows=days, slots=slots)


async def test_a_completed_training_adds_the_skill_until_it_expires(
    town: Town, clock: Clock
) -> None:
    """A14: matched from the day on; the day after the last not matched, and still on record."""
    offering = await _vanguard(town)
    need = await town.make("/v1/needs", _emergency(town))
    assert await _matches(town, need) == ([], [["credentials"]])
    course = await town.make("/v1/trainings", a_training(town, valid_for="P1Y"))
    today = clock.read().astimezone(SHANGHAI).date()
    done = await _complete(town, course["id"], offering, today, "secretary")
    assert done.status_code == 201, done.text
    last = dt.date.fromisoformat(done.json()["valid_to"])
    assert (last - today).days in (364, 365)
    (held,) = (await town.get(f"/v1/offerings/{offering}"))["credentials"]
    assert (held["kind"], held["issuer"]) == ("first_aid", "qiaobei 社区")
    assert (held["valid_from"], held["valid_to"]) == (str(today), str(last))
    assert held["verified_by"] == str(town.accounts["secretary"])
    assert held["training_id"] == course["id"]
    assert await _matches(town, need) == ([offering], [])
    clock.advance(seconds=(_end_of(last) - clock.read()).total_seconds())
    matched, shut = await _matches(town, need)
    assert (matched, shut) == ([], [["credentials"]])
    (held,) = (await town.get(f"/v1/offerings/{offering}"))["credentials"]
    assert held["valid_to"] == str(last)
    path = f"/v1/completions?offering={offering}"
    assert [c["status"] for c in (await town.get(path, "partner_staff"))["items"]] == ["expired"]


def _end_of(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), SHANGHAI)


async def test_a_skill_is_good_to_the_last_minute_of_its_last_day(town: Town, clock: Clock) -> None:
    offering = await _vanguard(town)
    today = clock.read().astimezone(SHANGHAI).date()
    course = await town.make("/v1/trainings", a_training(town, valid_for="P1D"))
    done = (await _complete(town, course["id"], offering, today, "secretary")).json()
    assert (done["valid_to"], done["status"]) == (str(today), "valid")
    clock.advance(seconds=(_end_of(today) - clock.read()).total_seconds() - 60)
    path = f"/v1/completions/{done['id']}"
    assert (await town.get(path, "secretary"))["status"] == "valid"
    clock.advance(seconds=60)
    assert (await town.get(path, "secretary"))["status"] == "expired"


async def test_what_a_training_granted_survives_every_change_and_cannot_be_stated(
    town: Town, clock: Clock
) -> None:
    """A14: the skill is the community's word, and not its holder's."""
    doctor = {"kind": "doctor_licence", "issuer": "卫健委", "number": "D1"}
    offering = await _vanguard(town, credentials=[doctor])
    course = await town.make("/v1/trainings", a_training(town))
    today = clock.read().astimezone(SHANGHAI).date()
    await _complete(town, course["id"], offering, today, "secretary")
    path = f"/v1/offerings/{offering}"
    granted = (await town.get(path, "partner_staff"))["credentials"][-1]
    stated = {name: granted[name] for name in ("kind", "issuer", "number", "valid_from")}
    for body in (
        {"capacity": 3},
        {"credentials": []},
        {"credentials": [doctor]},
        {"credentials": [doctor, stated | {"valid_to": granted["valid_to"]}]},
        {"credentials": [stated | {"valid_to": "2099-01-01"}]},
    ):
        held = (await town.change(path, body, "partner_staff"))["credentials"]
        assert granted in held
        assert [c["kind"] for c in held if c["verified_by"]] == ["first_aid"]
    answer = await town.as_(
        "partner_staff",
        "PATCH",
        path,
        json={"credentials": [doctor | {"training_id": course["id"]}]},
        headers={"If-Match": "*"},
    )
    assert answer.json()["errors"][0]["code"] == "unknown_field"
    answer = await town.as_("officer", "POST", f"{path}/credentials/{granted['id']}/verify")
    assert answer.status_code == 404


async def test_lawyers_and_engineers_join_a_study_visit_until_a_last_day(
    town: Town, clock: Clock
) -> None:
    """A14."""
    last = clock.read().astimezone(SHANGHAI).date() + dt.timedelta(days=30)
    visit = a_training(
        town, kind="study_visit", skill="mediation", valid_for=None, valid_until=str(last)
    )
    made = await town.make("/v1/trainings", visit)
    for title in ("律师", "工程师"):
        offering = await _vanguard(town, title={"zh": title, "en": "Expert"})
        day = last - dt.timedelta(days=31)
        done = await _complete(town, made["id"], offering, day, "secretary")
        assert done.json()["valid_to"] == str(last)
    listed = await town.get(f"/v1/trainings?kind=study_visit&place={town.subdistrict}")
    assert [item["id"] for item in listed["items"]] == [made["id"]]
    assert (await town.get("/v1/trainings?skill=first_aid"))["items"] == []
    people = await town.get(f"/v1/completions?training={made['id']}&limit=1", "secretary")
    assert people["next"]


@pytest.mark.parametrize(
    ("who", "status"),
    [("anonymous", 401), ("partner_staff", 403), ("grid_worker", 403), ("sibling_secretary", 403)],
)
async def test_only_who_decides_for_its_place_stands_for_it(
    town: Town, who: str, status: int
) -> None:
    offering = await _vanguard(town)
    course = (await town.make("/v1/trainings", a_training(town)))["id"]
    today = dt.datetime.now(SHANGHAI).date()
    assert (await _complete(town, course, offering, today, who)).status_code == status
    answer = await town.as_(who, "POST", "/v1/trainings", json=a_training(town))
    assert answer.status_code == status


async def test_nobody_stands_for_the_people_of_another_community(town: Town) -> None:
    offering = await _vanguard(town, place_id=town.sibling)
    course = (await town.make("/v1/trainings", a_training(town)))["id"]
    today = dt.datetime.now(SHANGHAI).date()
    assert (await _complete(town, course, offering, today, "secretary")).status_code == 403
    assert (await _complete(town, course, offering, today, "officer")).status_code == 201


async def test_what_cannot_have_been_completed_is_refused(town: Town, clock: Clock) -> None:
    today = clock.read().astimezone(SHANGHAI).date()
    course = (await town.make("/v1/trainings", a_training(town)))["id"]
    over = a_training(town, valid_for=None, valid_until=str(today - dt.timedelta(days=2)))
    late = (await town.make("/v1/trainings", over))["id"]
    person, shop = await _vanguard(town), await town.make("/v1/offerings", an_offering(town))
    for asked, offering, day, field in (
        (course, person, today + dt.timedelta(days=1), "completed_on"),
        (course, person, dt.date(1, 1, 1), "completed_on"),
        (course, person, dt.date(9999, 12, 31), "completed_on"),
        (late, person, today, "completed_on"),
        (course, shop["id"], today, "offering_id"),
        (course, str(uuid.UUID(int=7 << 76 | 1 << 63)), today, "offering_id"),
    ):
        answer = await _complete(town, asked, offering, day, "secretary")
        assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert (await _complete(town, course, person, today, "secretary")).status_code == 201
    answer = await _complete(town, course, person, today, "secretary")
    assert (answer.status_code, answer.json()["code"]) == (409, "taken")
    etag = {"If-Match": "*"}
    await town.as_("secretary", "DELETE", f"/v1/trainings/{course}", headers=etag)
    day = today - dt.timedelta(days=1)
    answer = await _complete(town, course, person, day, "secretary")
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert (await town.as_("anonymous", "GET", f"/v1/trainings/{course}")).status_code == 404
    assert len((await town.get(f"/v1/offerings/{person}"))["credentials"]) == 1


async def test_of_concurrent_records_of_one_day_one_counts(town: Town) -> None:
    course = (await town.make("/v1/trainings", a_training(town)))["id"]
    person, today = await _vanguard(town), dt.datetime.now(SHANGHAI).date()
    answers = await asyncio.gather(
        *(_complete(town, course, person, today, "secretary") for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len((await town.get(f"/v1/offerings/{person}"))["credentials"]) == 1


async def test_a_record_by_mistake_is_taken_back_and_may_be_made_again(town: Town) -> None:
    course = (await town.make("/v1/trainings", a_training(town)))["id"]
    person, today = await _vanguard(town), dt.datetime.now(SHANGHAI).date()
    made = (await _complete(town, course, person, today, "secretary")).json()
    path = f"/v1/completions/{made['id']}/withdraw"
    assert (await town.as_("partner_staff", "POST", path)).status_code == 403
    assert (await town.make(path, None))["status"] == "withdrawn"
    assert (await town.get(f"/v1/offerings/{person}"))["credentials"] == []
    assert (await town.as_("secretary", "POST", path)).status_code == 409
    assert (await _complete(town, course, person, today, "secretary")).status_code == 201


async def test_only_the_words_of_a_training_change(town: Town) -> None:
    course = await town.make("/v1/trainings", a_training(town))
    path = f"/v1/trainings/{course['id']}"
    changed = await town.change(path, {"provider": {"zh": "消防站", "en": "Fire station"}})
    assert changed["provider"]["en"] == "Fire station"
    assert changed["title"] == course["title"]
    answer = await town.as_(
        "secretary", "PATCH", path, json={"valid_for": "P9Y"}, headers={"If-Match": "*"}
    )
    assert answer.json()["errors"][0]["code"] == "unknown_field"


@pytest.mark.parametrize("period", ["P0D", "P", "1Y", "P1H", "PT1H", "P-1Y", "P1Y1Y", "P0Y0M"])
async def test_a_duration_that_is_none_is_refused(town: Town, period: str) -> None:
    body = a_training(town, valid_for=period)
    answer = await town.as_("secretary", "POST", "/v1/trainings", json=body)
    assert [error["field"] for error in answer.json()["errors"]] == ["valid_for"]
    both = a_training(town, valid_until="2099-01-01")
    answer = await town.as_("secretary", "POST", "/v1/trainings", json=both)
    assert [error["field"] for error in answer.json()["errors"]] == ["valid_for"]


@pytest.mark.parametrize(
    ("begins", "period", "last"),
    [
        ("2026-11-27", "P1Y", "2027-11-26"),
        ("2026-01-31", "P1M", "2026-02-27"),
        ("2024-02-29", "P1Y", "2025-02-27"),
        ("2026-11-27", "P2W", "2026-12-10"),
        ("2026-11-27", "P1D", "2026-11-27"),
        ("2026-12-31", "P1Y1M1W1D", "2028-02-07"),
    ],
)
def test_the_last_day_is_that_of_the_calendar(begins: str, period: str, last: str) -> None:
    found = training.last_day(dt.date.fromisoformat(begins), period)
    assert found == dt.date.fromisoformat(last)


@given(
    st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1)),
    st.integers(0, 99),
    st.integers(0, 999),
    st.integers(1, 9999),
)
def test_a_longer_duration_never_ends_earlier(
    begins: dt.date, years: int, months: int, days: int
) -> None:
    last = training.last_day(begins, f"P{years}Y{months}M{days}D")
    assert last >= training.last_day(begins, f"P{days}D") >= begins
    assert last == training.last_day(begins, f"P{12 * years + months}M{days}D")
    assert training.last_day(begins, f"P{days + 1}D") - begins == dt.timedelta(days=days)


async def test_whoever_is_erased_leaves_no_training_behind(town: Town) -> None:
    body = a_partner(town, kind="resident", name={"zh": "律师", "en": "Lawyer"})
    partner = (await town.make("/v1/partners", body, "resident"))["id"]
    offering = an_offering(town, kind="volunteer", partner_id=partner)
    offering_id = (await town.make("/v1/offerings", offering, "resident"))["id"]
    course = (await town.make("/v1/trainings", a_training(town)))["id"]
    today = dt.datetime.now(SHANGHAI).date()
    assert (await _complete(town, course, offering_id, today, "secretary")).status_code == 201
    taken = await town.get("/v1/accounts/current/export", "resident")
    assert [row["training"] for row in taken["data"]["completions"]] == [course]
    body = {"password": "open sesame"}
    answer = await town.as_("resident", "DELETE", "/v1/accounts/current", json=body)
    assert answer.status_code == 204
    assert (await town.get("/v1/completions", "operator"))["items"] == []
