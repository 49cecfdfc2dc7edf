"""Callers who give up, and crowds: nothing acknowledged is lost, nothing stays taken."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvicorn

from models import engine
from models.engine import lending
from tests import balance
from tests.towns import Town, a_need, an_offering

GIVEN_UP = 1500
TOGETHER = 50
# Yeses that are given up.
GIVEN_UP_YES = 12


async def test_1500_cancelled_requests_leave_every_connection_free_and_no_write_half_done(
    town: Town,
) -> None:
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    need = await town.make("/v1/needs", a_need(town))
    await town.indexed()
    await _warm(town, need["id"])
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    chance = random.Random(1500)
    acknowledged: set[str] = set()

    async def request(number: int) -> None:
        if number % 3 == 0:
            answer = await _post(town, f"{number:04}")
            assert answer.status_code == 201, answer.text
            acknowledged.add(f"{number:04}")
        elif number % 3 == 1:
            await town.get(f"/v1/needs/{need['id']}/matches?include=excluded", "secretary")
        else:
            await town.get("/v1/needs?limit=5", "officer")

    async def given_up(number: int) -> None:
        task = asyncio.create_task(request(number))
        # Anywhere in the program, however fast the machine; and anywhere in a database's answer.
        if chance.random() < 0.5:
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(chance.uniform(0, 0.15))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    for first in range(0, GIVEN_UP, TOGETHER):
        await asyncio.gather(*(given_up(first + number) for number in range(TOGETHER)))

    began = time.monotonic()
    assert (await _post(town, "the-next")).status_code == 201
    assert time.monotonic() - began < lending.ACQUIRE_S
    await _settled(threads, tasks)
    kept = await _kept()
    assert set(kept.values()) == {1}
    assert acknowledged <= kept.keys()
    # Both kinds must have happened, or this test is worth nothing.
    assert 0 < len(acknowledged) < GIVEN_UP / 3
    # Whoever asks again with the same key gets the one need, whether it was made before or not.
    again = [f"{number:04}" for number in range(0, GIVEN_UP, 3 * 7)]
    for title in again:
        assert (await _post(town, title)).status_code == 201
    kept = await _kept()
    assert set(kept.values()) == {1}
    assert kept.keys() >= {*again, *acknowledged}


async def test_concurrent_accepts_that_are_given_up_are_whole_or_nothing(town: Town) -> None:
    """A client that disconnects: the agreement is active with all its bookings, or as before."""
    chance = random.Random(60)
    slots = [{"role": "cook", "kind": "merchant", "quantity": GIVEN_UP_YES}]
    need = await town.make("/v1/needs", a_need(town, beneficiaries=0, slots=slots))
    made = []
    for _ in range(GIVEN_UP_YES):
        shop = await town.make("/v1/offerings", an_offering(town), "partner_staff")
        members = [{"role": "cook", "offering_id": shop["id"]}]
        made.append(await town.make("/v1/agreements", {"need_id": need["id"], "members": members}))

    async def accept(agreement: dict[str, Any]) -> httpx.Response:
        path = f"/v1/agreements/{agreement['id']}/accept"
        headers = {"Idempotency-Key": agreement["id"]}
        return await town.as_("partner_staff", "POST", path, json={}, headers=headers)

    async def given_up(agreement: dict[str, Any]) -> bool:
        task = asyncio.create_task(accept(agreement))
        if chance.random() < 0.5:
            for _ in range(chance.randrange(200)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(chance.uniform(0, 0.3))
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    given = await asyncio.gather(*(given_up(one) for one in made))
    async with asyncio.timeout(10):
        # Nobody waits for a commit whose caller has gone.
        while await balance.flaws():
            await asyncio.sleep(0.05)
    assert True in given, "or this test is worth nothing"
    again = [await accept(one) for one in made]
    assert {answer.status_code for answer in again} == {200}
    assert {answer.json()["state"] for answer in again} == {"active"}
    assert await balance.flaws() == []
    ((booked,),) = await engine.rows("SELECT count(*) FROM booking")
    assert booked == sum(one["commitments"][0]["times"] for one in made)


async def test_100_writers_at_once_over_http_all_get_through(town: Town) -> None:
    async with _listening(town) as address:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as client:

            async def writer(name: int) -> list[int]:
                codes = []
                for number in range(3):
                    answer = await _post(town, f"{name}-{number}", client)
                    codes.append(answer.status_code)
                return codes

            codes = await asyncio.gather(*(writer(name) for name in range(100)))
    assert Counter(code for several in codes for code in several) == {201: 300}
    assert await _kept() == {f"{name}-{number}": 1 for name in range(100) for number in range(3)}


async def test_the_same_key_sent_by_20_at_once_writes_once(town: Town) -> None:
    answers = await asyncio.gather(*(_post(town, "once") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await _kept() == {"once": 1}


async def _post(town: Town, title: str, client: httpx.AsyncClient | None = None) -> httpx.Response:
    """Post a need of this title, with its title as the key that makes it happen once."""
    headers = {"Authorization": f"Bearer {town.tokens['secretary']}", "Idempotency-Key": title}
    body: dict[str, Any] = a_need(town, title={"zh": title, "en": title})
    return await (client or town.client).post("/v1/needs", json=body, headers=headers)


async def _kept() -> Counter[str]:
    """How often each title is in the database; the need that was there before is left out."""
    rows = await engine.fetch("SELECT title_en FROM need")
    default = "A breakfast point at dawn"
    return Counter(row["title_en"] for row in rows if row["title_en"] not in (default, "the-next"))


async def _warm(town: Town, need: str) -> None:
    """What stays from the first requests on (caches, slow readers' threads) is there now."""
    await asyncio.gather(
        *(_post(town, "the-next") for _ in range(3)),
        *(town.get(f"/v1/needs/{need}/matches?include=excluded") for _ in range(20)),
    )


async def _settled(threads: int, tasks: int) -> None:
    """Every connection free, and no thread or task more than before."""
    opened = engine.current()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > tasks or not _all_free(opened):
                await asyncio.sleep(0.01)
    assert _all_free(opened)
    assert len(asyncio.all_tasks()) <= tasks, asyncio.all_tasks()
    assert threading.active_count() <= threads, threading.enumerate()


def _all_free(opened: engine.Engine) -> bool:
    if isinstance(opened, engine.SQLite):
        return True
    assert opened.pool is not None
    return bool(opened.pool.get_idle_size() == opened.pool.get_size())


@contextlib.asynccontextmanager
async def _listening(town: Town) -> AsyncIterator[str]:
    """The town behind a real server, on a port of its own."""
    config = uvicorn.Config(town.app, lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        serving = asyncio.create_task(_without_signals(server, listening))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def _without_signals(server: uvicorn.Server, listening: socket.socket) -> None:
    """Signals stay with pytest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "capture_signals", contextlib.nullcontext)
        await server.serve(sockets=[listening])
