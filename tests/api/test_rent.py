"""Space for service: rent paid in hours, month by month, and what happens when it is short."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from api import worker
from models import engine, errors, ledger
from models.agreements import arrears, deals, rent
from tests.clocks import Clock
from tests.deals import agreed, served, step
from tests.towns import Town

Json = dict[str, Any]
# Four Wednesdays; each is served for two and a half hours.
MORNINGS = tuple(f"2027-{day}T06:30+08:00" for day in ("03-10", "03-17", "03-31", "04-07"))


def a_rent(town: Town, **change: Any) -> Json:
    """Ten hours of service a month for the toolroom."""
    rent = {"partner_id": town.partner, "hours_per_month": 10, **change}
    return {"tier": "space_for_service", "rent": rent}


async def _record(
    town: Town, agreement: str, day: str, minutes: int, who: str = "secretary"
) -> Any:
    body = {"served_on": day, "minutes": minutes, "note": "社区义诊"}
    path = f"/v1/agreements/{agreement}/service-hours"
    return await town.as_(who, "POST", path, json=body)


async def _months(town: Town, agreement: str) -> list[tuple[str, int, int, int, bool]]:
    rent = await town.get(f"/v1/agreements/{agreement}/rent", "secretary")
    return [
        (m["month"], m["owed"], m["served"], m["carried"], m["closed_at"] is not None)
        for m in rent["months"]
    ]


async def _tasks(town: Town, status: str = "open") -> list[Json]:
    items: list[Json] = (await town.get(f"/v1/tasks?status={status}", "secretary"))["items"]
    return items


async def _posted(town: Town, agreement: str) -> list[tuple[str, int]]:
    """What the ledger has of the rent, oldest first; each transfer balances."""
    items = (await town.get(f"/v1/ledger?subject={agreement}&limit=100", "secretary"))["items"]
    found = []
    for item in reversed(items):
        assert sum(entry["amount"] for entry in item["entries"]) == 0
        assert {entry["unit"] for entry in item["entries"]} == {"minute"}
        found.append((item["kind"], item["entries"][0]["amount"]))
    return found


@pytest.mark.parametrize("who", ["anonymous", "resident", "sibling_secretary", "other_staff"])
async def test_a_rent_is_for_the_staff_of_the_place_and_the_partner(
    town: Town, march: Clock, who: str
) -> None:
    agreement = await agreed(town, a_rent(town))
    status = 401 if who == "anonymous" else 404
    assert (await town.as_(who, "GET", f"/v1/agreements/{agreement}/rent")).status_code == status
    assert (await _record(town, agreement, "2027-03-01", 60, who)).status_code == status


async def test_a_month_that_is_over_is_owed_and_what_is_short_is_a_task_of_the_staff(
    town: Town, march: Clock
) -> None:
    """X2: rent paid in hours of public-benefit service, shortfall becomes a case."""
    agreement = await agreed(town, a_rent(town, hour_worth={"amount": 3000}))
    await served(agreement, *MORNINGS[:3])
    march.stand("2027-03-31T23:59:59+08:00")
    await arrears.tick()
    assert await _months(town, agreement) == [("2027-03", 600, 450, 150, False)]
    assert await _tasks(town) == []
    march.stand("2027-04-01T00:00+08:00")
    await arrears.tick()
    assert (await _months(town, agreement))[0] == ("2027-03", 600, 450, 150, True)
    assert await _posted(town, agreement) == [("rent_paid", -150)] * 3 + [("rent_due", 600)]
    (task,) = await _tasks(town)
    assert (task["kind"], task["subject"]) == ("rent_shortfall", agreement)
    assert "2 h 30 min after 2027-03" in task["title"]["en"]
    assert "2 小时 30 分钟" in task["title"]["zh"]
    assert dt.datetime.fromisoformat(task["due_at"]) == dt.datetime(2027, 4, 30, 16, tzinfo=dt.UTC)
    told = await town.get(f"/v1/agreements/{agreement}/rent", "partner_staff")
    assert (told["outstanding"], told["outstanding_worth"]["amount"]) == (150, 7500)
    closed = dt.datetime.fromisoformat(told["months"][0]["closed_at"])
    assert closed == dt.datetime(2027, 3, 31, 16, tzinfo=dt.UTC)


async def test_a_shortfall_that_is_made_up_later_is_no_task_any_more(
    town: Town, march: Clock
) -> None:
    """X2."""
    agreement = await agreed(town, a_rent(town))
    await served(agreement, *MORNINGS[:3])
    march.stand("2027-04-03T09:00+08:00")
    await arrears.tick()
    answer = await _record(town, agreement, "2027-04-02", 149)
    assert (answer.status_code, answer.json()["month"]) == (201, "2027-04")
    assert [task["status"] for task in await _tasks(town)] == ["open"]
    await served(agreement, MORNINGS[3])
    await arrears.tick()  # it has yet to take place
    assert len(await _tasks(town)) == 1
    march.stand("2027-04-07T09:00+08:00")
    await arrears.tick()
    assert await _tasks(town) == []
    (done,) = await _tasks(town, "done")
    assert (done["subject"], done["closed_by"]) == (agreement, None)
    assert await _months(town, agreement) == [
        ("2027-03", 600, 450, 150, True),
        ("2027-04", 600, 299, 451, False),
    ]


async def test_rent_closes_at_a_recorded_hour_with_nobody_waiting_for_the_clock(
    town: Town, march: Clock
) -> None:
    """X2."""
    agreement = await agreed(town, a_rent(town))
    march.stand("2027-04-03T09:00+08:00")
    assert (await _record(town, agreement, "2027-04-02", 600)).status_code == 201
    assert (await _months(town, agreement))[0] == ("2027-03", 600, 0, 600, True)
    assert await _tasks(town) == []
    assert len(await _tasks(town, "done")) == 1


async def test_a_clock_that_slept_closes_every_month_as_if_it_had_not(
    town: Town, march: Clock
) -> None:
    """X2."""
    agreement = await agreed(town, a_rent(town))
    await served(agreement, *MORNINGS)
    march.stand("2027-07-15T09:00+08:00")
    ticking = worker.Clock()
    await ticking.start()  # as at every start of the program
    async with asyncio.timeout(30):
        while len(await _months(town, agreement)) < 5:
            await asyncio.sleep(0.01)
    await ticking.stop()
    wanted = [
        ("2027-03", 600, 450, 150, True),
        ("2027-04", 600, 150, 600, True),
        ("2027-05", 600, 0, 1200, True),
        ("2027-06", 600, 0, 1800, True),
        ("2027-07", 600, 0, 2400, False),
    ]
    assert await _months(town, agreement) == wanted
    await arrears.tick()
    assert await _months(town, agreement) == wanted
    (task,) = await _tasks(town)
    assert "30 h 0 min after 2027-06" in task["title"]["en"]


async def test_several_clocks_that_race_close_a_month_once(town: Town, march: Clock) -> None:
    agreement = await agreed(town, a_rent(town))
    await served(agreement, *MORNINGS)
    march.stand("2027-06-15T09:00+08:00")
    await asyncio.gather(*(arrears.tick() for _ in range(5)))
    posted = await _posted(town, agreement)
    assert posted.count(("rent_due", 600)) == 3
    assert posted.count(("rent_paid", -150)) == 4
    assert await ledger.balance(f"agreement:{agreement}:rent", "minute") == 1200


async def test_part_of_a_month_owes_its_part_and_a_pause_owes_nothing(
    town: Town, march: Clock
) -> None:
    """X2: pro rata for part months."""
    agreement = await agreed(town, a_rent(town), starts_on="2027-03-17", ends_on="2027-06-30")
    march.stand("2027-04-11T00:00+08:00")
    await step(town, agreement, "suspend", reason="safety")
    march.stand("2027-04-21T09:00+08:00")
    await step(town, agreement, "resume")
    march.stand("2027-05-10T12:00+08:00")
    await step(town, agreement, "end", reason="closed_down")
    march.stand("2027-08-10T12:00+08:00")
    await arrears.tick()
    assert [month[:2] for month in await _months(town, agreement)] == [
        ("2027-03", 600 - 600 * 16 // 31),
        ("2027-04", 200 + 600 - 400),
        ("2027-05", 600 * 10 // 31),
    ]
    assert (await town.get(f"/v1/agreements/{agreement}/rent", "secretary"))["next_due_at"] is None


async def test_what_was_served_in_advance_counts_for_the_next_month(
    town: Town, march: Clock
) -> None:
    """X2."""
    agreement = await agreed(town, a_rent(town))
    march.stand("2027-03-20T12:00+08:00")
    await _record(town, agreement, "2027-03-19", 900)
    march.stand("2027-05-02T12:00+08:00")
    await arrears.tick()
    assert await _months(town, agreement) == [
        ("2027-03", 600, 900, -300, True),
        ("2027-04", 600, 0, 300, True),
        ("2027-05", 600, 0, 900, False),
    ]
    assert len(await _tasks(town)) == 1


async def test_hours_recorded_by_mistake_are_taken_back_once(town: Town, march: Clock) -> None:
    agreement = await agreed(town, a_rent(town))
    march.stand("2027-03-01T12:00+08:00")
    hours = (await _record(town, agreement, "2027-03-01", 600)).json()
    path = f"/v1/agreements/{agreement}/service-hours/{hours['id']}/reverse"
    back = await town.make(path, {}, "secretary")
    assert (back["minutes"], back["reverses"]) == (-600, hours["id"])
    for one in (hours, back):
        path = f"/v1/agreements/{agreement}/service-hours/{one['id']}/reverse"
        answer = await town.as_("secretary", "POST", path)
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert await _posted(town, agreement) == [("rent_paid", -600), ("rent_paid", 600)]
    assert await _months(town, agreement) == [("2027-03", 600, 0, 600, False)]
    recorded = (await town.get(f"/v1/agreements/{agreement}/rent", "secretary"))["recorded"]
    assert [one["minutes"] for one in recorded] == [-600, 600]


async def test_hours_are_recorded_by_the_staff_and_not_by_who_owes_them(
    town: Town, march: Clock
) -> None:
    agreement = await agreed(town, a_rent(town))
    march.stand("2027-03-01T12:00+08:00")
    answer = await _record(town, agreement, "2027-03-01", 60, "partner_staff")
    assert answer.json()["code"] == "forbidden"
    body = {"account_id": str(town.accounts["secretary"]), "role": "partner_staff"}
    await town.make("/v1/roles", {**body, "partner_id": town.partner}, "operator")
    assert (await _record(town, agreement, "2027-03-01", 60)).json()["code"] == "own_work"
    assert (await _record(town, agreement, "2027-03-01", 60, "officer")).status_code == 201


@pytest.mark.parametrize(
    ("day", "minutes", "field"),
    [
        ("2027-03-02", 60, "served_on"),
        ("2027-02-28", 60, "served_on"),
        ("2027-03-01", 0, "minutes"),
        ("2027-03-01", 2**60, "minutes"),
    ],
)
async def test_hours_that_cannot_have_been_are_refused_by_their_field(
    town: Town, march: Clock, day: str, minutes: int, field: str
) -> None:
    agreement = await agreed(town, a_rent(town))
    march.stand("2027-03-01T12:00+08:00")
    answer = await _record(town, agreement, day, minutes)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_an_agreement_without_a_rent_has_none(town: Town, march: Clock) -> None:
    agreement = await agreed(town, {"tier": "public"})
    march.stand("2027-03-01T12:00+08:00")
    answer = await town.as_("secretary", "GET", f"/v1/agreements/{agreement}/rent")
    assert answer.status_code == 404
    assert (await _record(town, agreement, "2027-03-01", 60)).status_code == 404


async def test_occurrences_are_no_rent_where_that_was_agreed_on(town: Town, march: Clock) -> None:
    terms = a_rent(town, occurrences_count=False)
    agreement = await agreed(town, terms)
    await served(agreement, *MORNINGS)
    march.stand("2027-04-10T12:00+08:00")
    await arrears.tick()
    assert (await _months(town, agreement))[0] == ("2027-03", 600, 0, 600, True)


_ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 50)),
        st.tuples(st.just("record"), st.integers(1, 1500)),
        st.tuples(st.just("tick"), st.just(0)),
    ),
    max_size=10,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(acts=[("pass", 50), ("pass", 50), ("pass", 50), ("pass", 34), ("record", 1)])
@given(acts=_ACTS)
async def test_whatever_happens_the_months_add_up_to_the_ledger_and_a_task_says_what_is_short(
    town: Town, march: Clock, acts: list[tuple[str, int]]
) -> None:
    """X2: month accounts add up over any split of months."""
    march.stand("2027-02-28T12:00+08:00")
    agreement = uuid.UUID(await agreed(town, a_rent(town)))
    march.advance(days=1)
    deal = await deals.read(agreement)
    for act, much in acts:
        if act == "pass":
            march.advance(days=much)
        elif act == "tick":
            await arrears.tick()
        else:
            draft = rent.HoursDraft(served_on=deal.starts_on, minutes=much)
            with contextlib.suppress(errors.Refusal):
                await rent.record(deal, draft, town.accounts["secretary"])
    await arrears.tick()
    found = await rent.read(deal)
    carried = 0
    for month in found.months:
        assert month.carried == carried + month.owed - month.served
        carried = month.carried
    balance = await ledger.balance(f"agreement:{agreement}:rent", "minute")
    running = found.months[-1]
    open_owed = 0 if running.closed_at else running.owed
    # What is recorded after the last month is closed pays the debt, and is in no month.
    late = sum(one.minutes for one in found.recorded) - sum(one.served for one in found.months)
    assert late == 0 or running.closed_at
    assert balance == found.outstanding == carried - open_owed - late
    rows = await engine.rows(
        "SELECT count(*) FROM task WHERE subject = $1 AND status = 'open'", agreement
    )
    assert bool(rows[0][0]) == (balance > 0)
    sums = await engine.rows("SELECT unit, SUM(amount) FROM entry GROUP BY unit")
    assert [total for _, total in sums if total] == []
