"""Failed sign-ins are counted in the database, so that the limits hold over several processes."""

from __future__ import annotations

import datetime as dt
import hashlib
import math

from msgspec import Struct

from models import base, engine, errors

WINDOW = dt.timedelta(minutes=15)
PER_LOGIN = 10
PER_ADDRESS = 50


class Attempt(Struct, frozen=True):
    """One counted attempt: the hashes of its login and address, and the minute it counts in."""

    login: str
    address: str | None
    minute: dt.datetime


async def count(login: str, address: str | None) -> Attempt:
    """Count an attempt before its password is looked at. Refuses, uncounted, above a limit.

    Counted first because of many at once: each of them would else see a count of nothing.
    """
    minute = base.now().replace(second=0, microsecond=0)
    attempt = Attempt(_subject("login", login), address and _subject("address", address), minute)
    async with engine.unit_of_work():
        await sweep("sign_in_failure", "window_start", base.now() - WINDOW)
        # Always in this order, so that no two wait for each other.
        await _add(attempt.login, minute, PER_LOGIN)
        if attempt.address:
            await _add(attempt.address, minute, PER_ADDRESS)
    return attempt


async def forgive(attempt: Attempt) -> None:
    """It was the right password: the login starts anew, the address gets this one back."""
    await engine.execute("DELETE FROM sign_in_failure WHERE subject = $1", attempt.login)
    if attempt.address:
        await engine.execute(
            "UPDATE sign_in_failure SET failures = failures - 1"
            " WHERE subject = $1 AND window_start = $2",
            attempt.address,
            attempt.minute,
        )


async def _add(subject: str, minute: dt.datetime, limit: int) -> None:
    await engine.execute(
        "INSERT INTO sign_in_failure (id, subject, window_start, failures) VALUES ($1, $2, $3, 1)"
        " ON CONFLICT (subject, window_start)"
        " DO UPDATE SET failures = sign_in_failure.failures + 1",
        base.new_id(),
        subject,
        minute,
    )
    rows = await engine.fetch(
        "SELECT window_start, failures FROM sign_in_failure"
        " WHERE subject = $1 AND window_start > $2 ORDER BY window_start",
        subject,
        base.now() - WINDOW,
    )
    over = sum(row["failures"] for row in rows) - limit
    if over > 0:
        raise _too_many(over, [(base.moment(r["window_start"]), r["failures"]) for r in rows])


def _too_many(over: int, minutes: list[tuple[dt.datetime, int]]) -> errors.Refusal:
    """The refusal that says when enough of the counted minutes will have passed."""
    free = minutes[-1][0]
    for free, failures in minutes:  # noqa: B007 - the minute that the loop ends on is the answer
        over -= failures
        if over <= 0:
            break
    seconds = max(1, math.ceil((free + WINDOW - base.now()).total_seconds()))
    return errors.Refusal(
        "too_many_attempts", headers={"Retry-After": str(seconds)}, seconds=seconds
    )


async def sweep(table: str, column: str, until: dt.datetime) -> None:
    """Delete up to 1,000 rows whose time has passed, leaving those that somebody else deletes."""
    locked = " FOR UPDATE SKIP LOCKED" if engine.current().dialect == "postgres" else ""
    await engine.execute(
        f"DELETE FROM {table} WHERE id IN"
        f" (SELECT id FROM {table} WHERE {column} <= $1 LIMIT 1000{locked})",
        until,
    )


def _subject(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}:{text}".encode("utf-8", "replace")).hexdigest()
