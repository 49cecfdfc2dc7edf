"""What must hold at every moment, whatever happened before: capacity is given once, never twice.

`flaws()` reads the database in use and says in sentences what is wrong; nothing is right. It asks
the tables, not the program: it counts anew what the program counts as it goes.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec

from models import base, engine

STANDING = ("active", "suspended", "completed", "reviewed")
LIVE = ("active", "suspended")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


async def flaws() -> list[str]:
    """Everything that is wrong now."""
    agreements = {str(row["id"]): row for row in await engine.fetch("SELECT * FROM agreement")}
    commitments = await engine.fetch("SELECT * FROM commitment")
    found = list(_states(agreements, commitments, await engine.fetch("SELECT * FROM party")))
    found += await _needs(agreements, commitments)
    found += await _intakes(agreements)
    found += await _booked(agreements, commitments)
    found += await _overlaps()
    found += await _occurrences()
    return found + await _ledger()


async def _needs(
    agreements: dict[str, dict[str, Any]], commitments: list[dict[str, Any]]
) -> list[str]:
    """What is taken of a need is what its agreements take; it is closed when that is all."""
    taken: Counter[tuple[str, str]] = Counter()
    for one in commitments:
        if one["status"] == "live" and one["role"]:
            taken[str(agreements[str(one["agreement"])]["need"]), one["role"]] += 1
    for row in agreements.values():
        if row["state"] in STANDING and row["places"]:
            taken[str(row["need"]), ""] += row["places"]
    counted = {
        (str(need), role): count
        for need, role, count in await engine.rows("SELECT need, role, taken FROM need_fill")
    }
    found = [
        f"{counted.get(key, 0)} of {key} are counted as taken, and {taken[key]} are"
        for key in taken.keys() | counted.keys()
        if counted.get(key, 0) != taken[key]
    ]
    for need in await engine.fetch("SELECT * FROM need WHERE status IN ('open', 'closed')"):
        wanted = Counter({"": need["beneficiaries"] or 0})
        for slot in msgspec.json.decode(need["slots"]):
            wanted[slot["role"]] += slot.get("quantity", 1)
        full = all(taken[str(need["id"]), role] >= count for role, count in wanted.items())
        if full != (need["status"] == "closed"):
            found.append(f"a need is {need['status']}, and full is {full}")
    return found


async def _intakes(agreements: dict[str, dict[str, Any]]) -> list[str]:
    """Places are taken by those who have them, and nobody waits while one is free."""
    found = []
    enrolled = Counter(
        str(agreement)
        for (agreement,) in await engine.rows(
            "SELECT agreement FROM enrolment WHERE status = 'enrolled'"
        )
    )
    waiting = Counter(
        str(need)
        for (need,) in await engine.rows("SELECT need FROM enrolment WHERE status = 'waitlisted'")
    )
    intakes = {str(row["agreement"]): row for row in await engine.fetch("SELECT * FROM intake")}
    for agreement in enrolled.keys() - intakes.keys():
        found.append(f"{enrolled[agreement]} people have a place of {agreement}, which has none")
    for identity, row in intakes.items():
        one = agreements[identity]
        places = one["places"] if one["state"] in STANDING else 0
        if (row["places"], row["taken"]) != (places, enrolled[identity]):
            found.append(
                f"an intake ({one['state']}) counts {row['taken']} of {row['places']},"
                f" and {enrolled[identity]} of {places} are taken"
            )
        need = str(one["need"])
        if one["state"] == "active" and row["taken"] < row["places"] and waiting[need]:
            found.append(f"{waiting[need]} wait while a place is free")
    return found


async def _booked(
    agreements: dict[str, dict[str, Any]], commitments: list[dict[str, Any]]
) -> list[str]:
    """Every time to come of every commitment that stands is booked once, and nothing else is."""
    minute = -((_EPOCH - base.now()) // dt.timedelta(minutes=1))
    due: Counter[tuple[str, int, int, int]] = Counter()
    for one in commitments:
        stands = agreements[str(one["agreement"])]["state"] in LIVE and one["status"] == "live"
        if not stands or not one["offering"]:
            continue
        places = one["quantity"] if one["kind"] in ("service", "goods") else 1
        for starts, ends in msgspec.json.decode(one["times"]):
            if starts >= minute:
                due[str(one["id"]), starts, ends, places] += 1
    booked = Counter(
        (str(commitment), starts, ends, quantity)
        for commitment, starts, ends, quantity in await engine.rows(
            "SELECT commitment, starts, ends, quantity FROM booking WHERE commitment IS NOT NULL"
            " AND status IN ('held', 'confirmed') AND starts >= $1",
            minute,
        )
    )
    if due == booked:
        return []
    missing, idle = (due - booked).total(), (booked - due).total()
    return [f"{missing} times of commitments are not booked, {idle} are booked for nothing"]


async def _overlaps() -> list[str]:
    """No two of a unit overlap; of a service no more is given away at once than there is."""
    units: dict[int, list[tuple[int, int]]] = defaultdict(list)
    shared: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for offering, unit, starts, ends, quantity in await engine.rows(
        "SELECT offering, unit, starts, ends, quantity FROM booking WHERE status = 'confirmed'"
        " OR (status = 'held' AND held_until > $1)",
        base.now(),
    ):
        if unit is not None:
            units[unit].append((starts, ends))
        else:
            shared[str(offering)] += [(starts, quantity), (ends, -quantity)]
    found = [
        f"unit {unit} is booked twice at {after[0]}"
        for unit, times in units.items()
        for before, after in pairwise(sorted(times))
        if before[1] > after[0]
    ]
    capacities = await engine.rows("SELECT id, capacity FROM offering WHERE capacity IS NOT NULL")
    for offering, capacity in capacities:
        most = _most(shared[str(offering)])
        if most > capacity:
            found.append(f"{most} of {capacity} places of an offering are given away at once")
    return found


def _most(steps: Iterable[tuple[int, int]]) -> int:
    now = most = 0
    # What ends at a minute goes before what begins there.
    for _, change in sorted(steps):
        now += change
        most = max(most, now)
    return most


async def _occurrences() -> list[str]:
    """Nothing is planned for the time after an agreement is over."""
    minute = -((_EPOCH - base.now()) // dt.timedelta(minutes=1))
    rows = await engine.rows(
        "SELECT a.state, count(*) FROM occurrence o JOIN agreement a ON a.id = o.agreement"
        " WHERE o.status = 'planned' AND o.starts >= $1"
        " AND a.state NOT IN ('active', 'suspended') GROUP BY a.state",
        minute,
    )
    return [f"{count} occurrences are planned of what is {state}" for state, count in rows]


def _states(
    agreements: dict[str, dict[str, Any]],
    commitments: list[dict[str, Any]],
    parties: list[dict[str, Any]],
) -> Iterator[str]:
    """What the parties have answered, and what is asked of them, is as the state says."""
    gives: dict[str, Counter[str]] = defaultdict(Counter)
    for one in commitments:
        gives[str(one["party"])][one["status"]] += 1
        state = agreements[str(one["agreement"])]["state"]
        if one["status"] == "live" and state not in STANDING:
            yield f"a commitment stands, and the agreement is {state}"
        if one["status"] == "proposed" and state in ("ended", "completed", "reviewed"):
            yield f"a commitment is asked for, and the agreement is {state}"
    seats = Counter(
        (one["agreement"], one["role"], one["seat"], one["status"])
        for one in commitments
        if one["role"] and one["status"] in ("live", "proposed")
    )
    yield from (f"a seat is taken {count} times" for count in seats.values() if count > 1)
    pending = Counter(str(one["agreement"]) for one in parties if one["answer"] == "pending")
    for identity, row in agreements.items():
        if row["state"] == "proposed" and not pending[identity]:
            yield "everybody has answered, and it is still proposed"
    for one in parties:
        state, asked = agreements[str(one["agreement"])]["state"], gives[str(one["id"])]
        if state not in LIVE or one["partner"] is None:
            continue
        if (one["answer"] == "pending") != bool(asked["proposed"]):
            yield f"{asked['proposed']} commitments wait for a party that is {one['answer']}"
        if (one["answer"] in ("left", "declined")) != (not asked["proposed"] + asked["live"]):
            yield f"a party is {one['answer']} and gives {dict(asked)}"


async def _ledger() -> list[str]:
    rows = await engine.rows(
        "SELECT transfer, unit, SUM(amount) FROM entry GROUP BY transfer, unit"
        " HAVING SUM(amount) <> 0"
    )
    return [f"a transfer is {amount} {unit} out of balance" for _, unit, amount in rows]
