"""Pools of places shared by the hour, and their ledger."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import bookings, engine, pools
from tests.towns import Town, a_booking, a_space, an_offering

TIMES = st.lists(
    st.builds(
        lambda start, length, quantity: bookings.Time(start, start + length, quantity),
        st.integers(0, 40),
        st.integers(1, 20),
        st.integers(1, 9),
    )
)


async def a_pool(town: Town, capacity: int | None = 250, **change: Any) -> str:
    """The id of a car park."""
    body = an_offering(
        town,
        kind="goods",
        title={"zh": "桥北停车场", "en": "Qiaobei car park"},
        capacity=capacity,
        **change,
    )
    return str((await town.make("/v1/offerings", body, "secretary"))["id"])


async def _adjust(town: Town, pool: str, delta: int, reason: str = "rearranged", **o: Any) -> Any:
    body = {"delta": delta, "reason": reason}
    who = o.pop("who", "secretary")
    return await town.as_(who, "POST", f"/v1/offerings/{pool}/capacity", json=body, **o)


async def _book(town: Town, pool: str, quantity: int = 1, **change: Any) -> Any:
    body = a_booking(quantity=quantity, **change)
    return await town.as_("secretary", "POST", f"/v1/offerings/{pool}/bookings", json=body)


async def _ledger(town: Town, pool: str) -> list[tuple[int, int, int, str]]:
    found = (await town.get(f"/v1/offerings/{pool}/capacity", "secretary"))["items"]
    return [(e["before"], e["delta"], e["after"], e["reason"]) for e in reversed(found)]


@pytest.mark.parametrize(("who", "status"), [("anonymous", 401), ("resident", 403)])
async def test_a_ledger_is_written_and_read_by_the_people_of_the_pool(
    town: Town, who: str, status: int
) -> None:
    pool = await a_pool(town)
    assert (await _adjust(town, pool, 70, who=who)).status_code == status
    answer = await town.as_(who, "GET", f"/v1/offerings/{pool}/capacity")
    assert answer.status_code == status
    assert (await _adjust(town, pool, 70, who="partner_staff")).status_code == 201


async def test_250_parking_spaces_become_320_and_the_ledger_shows_the_70(town: Town) -> None:
    """A9: before/after difference is +70."""
    pool = await a_pool(town, 250)
    spots = await a_pool(town, 180, features=["charging"])
    made = (await _adjust(town, pool, 70)).json()
    assert (made["before"], made["delta"], made["after"]) == (250, 70, 320)
    assert made["by"] == str(town.accounts["secretary"])
    assert (await _adjust(town, pool, -5, "out_of_order")).status_code == 201
    assert await _ledger(town, pool) == [
        (250, 70, 320, "rearranged"),
        (320, -5, 315, "out_of_order"),
    ]
    assert await _ledger(town, spots) == []
    assert (await town.get(f"/v1/offerings/{pool}"))["capacity"] == 315
    assert (await _book(town, pool, 315)).status_code == 201
    assert (await _book(town, pool, 1)).json()["code"] == "full"


async def test_a_repeated_change_of_a_pool_happens_once(town: Town) -> None:
    pool = await a_pool(town)
    key = {"Idempotency-Key": "the-new-lines"}
    first = (await _adjust(town, pool, 70, headers=key)).json()
    assert (await _adjust(town, pool, 70, headers=key)).json() == first
    assert (await town.get(f"/v1/offerings/{pool}"))["capacity"] == 320


async def test_no_place_is_taken_away_that_is_booked_and_the_times_are_named(town: Town) -> None:
    pool = await a_pool(town, 10)
    await _book(town, pool, 4, start="06:00", end="08:00")
    late = (await _book(town, pool, 4, start="07:00", end="09:00")).json()
    answer = await _adjust(town, pool, -3, "removed")
    assert (answer.status_code, answer.json()["code"]) == (409, "booked_ahead")
    assert "23:00–00:00" in answer.json()["detail"]
    assert "22:00" not in answer.json()["detail"]
    assert (await _adjust(town, pool, -2, "removed")).status_code == 201
    await town.make(f"/v1/bookings/{late['id']}/cancel", {}, "secretary")
    assert (await _adjust(town, pool, -4, "removed")).status_code == 201
    assert [after for _, _, after, _ in await _ledger(town, pool)] == [8, 4]


async def test_a_capacity_is_not_changed_to_fewer_places_than_are_booked(town: Town) -> None:
    pool = await a_pool(town, 80)
    booked = (await _book(town, pool, 60)).json()
    path, match = f"/v1/offerings/{pool}", {"If-Match": "*"}
    answer = await town.as_("secretary", "PATCH", path, json={"capacity": 59}, headers=match)
    assert (answer.status_code, answer.json()["code"]) == (409, "booked_ahead")
    assert [error["field"] for error in answer.json()["errors"]] == ["capacity"]
    assert (await town.change(path, {"capacity": 60}, "secretary"))["capacity"] == 60
    assert (await town.change(path, {"capacity": None}, "secretary"))["capacity"] is None
    await town.make(f"/v1/bookings/{booked['id']}/cancel", {}, "secretary")
    assert (await town.change(path, {"capacity": 10}, "secretary"))["capacity"] == 10


async def test_a_pool_never_has_fewer_than_no_places_or_more_than_a_million(town: Town) -> None:
    pool = await a_pool(town, 10)
    for delta in (-11, 999_991):
        answer = await _adjust(town, pool, delta)
        assert answer.status_code == 400
        assert [error["field"] for error in answer.json()["errors"]] == ["delta"]
    for delta in (0, 1_000_001, 10**30):
        assert (await _adjust(town, pool, delta)).status_code == 400
    assert (await _adjust(town, pool, -10)).status_code == 201
    assert (await _book(town, pool)).json()["code"] == "full"


async def test_only_what_is_counted_is_a_pool(town: Town) -> None:
    space = (await town.make("/v1/offerings", a_space(town), "secretary"))["id"]
    boundless = await a_pool(town, None)
    for offering in (space, boundless):
        assert (await _adjust(town, offering, 1)).json()["code"] == "wrong_state"


async def test_the_capacity_of_a_pool_changes_through_its_ledger_only(town: Town) -> None:
    pool = await a_pool(town, 10)
    await town.change(f"/v1/offerings/{pool}", {"capacity": 20}, "secretary")
    await _adjust(town, pool, 5)
    path, headers = f"/v1/offerings/{pool}", {"If-Match": "*"}
    for capacity in (26, None):
        body = {"capacity": capacity}
        answer = await town.as_("secretary", "PATCH", path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "ledger_only")
    await town.change(path, {"capacity": 25, "features": ["roofed"]}, "secretary")
    # The database itself refuses, too.
    with pytest.raises(engine.CONFLICTS):
        await engine.execute("UPDATE offering SET capacity = 26 WHERE id = $1", uuid.UUID(pool))


@pytest.mark.parametrize("table", ["pool_entry", "condition_change"])
async def test_no_row_of_a_ledger_or_history_is_changed_or_removed(town: Town, table: str) -> None:
    await _adjust(town, await a_pool(town), 70)
    space = (await town.make("/v1/offerings", a_space(town), "secretary"))["id"]
    body = {"condition": "idle", "reason": "vacated"}
    await town.make(f"/v1/offerings/{space}/condition", body, "secretary")
    for statement in (f"UPDATE {table} SET reason = 'other'", f"DELETE FROM {table}"):
        with pytest.raises(engine.CONFLICTS):
            await engine.execute(statement)
    ((rows,),) = await engine.rows(f"SELECT count(*) FROM {table} WHERE reason <> 'other'")
    assert rows == 1


async def test_50_concurrent_bookings_and_changes_never_leave_a_pool_below_what_is_booked(
    town: Town,
) -> None:
    """A9: never negative under 50 concurrent bookings."""
    pool = await a_pool(town, 20)
    answers = await asyncio.gather(
        *(_book(town, pool) for _ in range(50)),
        *(_adjust(town, pool, -1, "removed") for _ in range(5)),
        *(_adjust(town, pool, 1, "built") for _ in range(5)),
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    booked = sum(answer.is_success for answer in answers[:50])
    entries = await _ledger(town, pool)
    capacity = (await town.get(f"/v1/offerings/{pool}"))["capacity"]
    assert booked <= capacity == entries[-1][2]
    assert booked >= 15
    # One chain from the first row to the last.
    assert [after for _, _, after, _ in entries[:-1]] == [before for before, *_ in entries[1:]]
    assert all(before + delta == after for before, delta, after, _ in entries)
    assert all(answer.is_success for answer in answers[55:])


@given(TIMES, st.integers(0, 30), st.integers(0, 30))
def test_crowded_times_are_the_minutes_at_which_more_are_taken_than_there_are_places(
    times: list[bookings.Time], places: int, since: int
) -> None:
    times = [time for time in times if time.ends > since]
    found = pools.crowded(times, places, since)

    def taken(minute: int) -> int:
        return sum(t.quantity for t in times if t.starts <= minute < t.ends)

    for minute in range(since, 62):
        inside = [t for t in found if t.starts <= minute < t.ends]
        assert bool(inside) == (taken(minute) > places)
    for time in found:
        assert time.quantity == max(taken(minute) for minute in range(time.starts, time.ends))
