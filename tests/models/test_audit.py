"""The audit trail: one chain, append-only, and no change to it stays hidden."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from models import audit, base, engine
from tests import databases

KEY = b"a key of these tests"
COLUMNS = ("seq", "at", "actor", "action", "subject", "place", "detail", "previous", "hash")
HEAD_COLUMNS = ("seq", "id", "hash", "signed_at", "signature")
REFUSED = "append-only"


async def act(action: str = "need.posted", **detail: Any) -> None:
    async with engine.unit_of_work():
        await audit.append(action, base.new_id(), place=base.new_id(), **detail)


async def links() -> list[tuple[Any, ...]]:
    return await engine.rows(f"SELECT {', '.join(COLUMNS)} FROM audit ORDER BY seq")


async def flaws(key: bytes = KEY) -> list[tuple[int, str]]:
    return [(flaw.seq, flaw.what) async for flaw in audit.Verification(key).flaws()]


async def unguard() -> None:
    """What somebody does first who owns the database and wants to change the past."""
    for table in ("audit", "audit_head"):
        if engine.current().dialect == "postgres":
            await engine.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        else:
            for name in ("update", "delete", "replace"):
                await engine.execute(f"DROP TRIGGER {table}_no_{name}")


async def test_every_act_carries_the_hash_of_the_one_before(db: engine.Engine) -> None:
    me = base.new_id()
    token = audit.actor.set(me)
    try:
        await act("need.posted", slots=2)
        await act("need.withdrawn", was="open")
    finally:
        audit.actor.reset(token)
    first, second = await links()
    assert (first[0], first[-2]) == (1, audit.GENESIS)
    assert (second[0], second[-2]) == (2, first[-1])
    assert {str(first[2]), str(second[2])} == {str(me)}
    assert [row[6] for row in (first, second)] == ['{"slots":2}', '{"was":"open"}']
    assert await flaws() == []


def test_the_hash_of_a_row_is_the_same_on_every_database_and_in_every_version() -> None:
    at = dt.datetime(2026, 3, 1, 8, 30, 0, 5, tzinfo=dt.UTC)
    who = uuid.UUID("01930000-0000-7000-8000-000000000001")
    rest = (None, '{"was":"open"}', audit.GENESIS)
    typed = audit.digest(7, at, who, "need.posted", who, *rest)
    beijing = at.astimezone(dt.timezone(dt.timedelta(hours=8)))
    assert typed == audit.digest(7, beijing, who, "need.posted", who, *rest)
    stored = "2026-03-01 08:30:00.000005+00:00"
    assert typed == audit.digest(7, stored, str(who), "need.posted", str(who), *rest)
    assert typed == "44e83f32e1a4ea0af37614425bef32787ab9d52725335e99c954dc1707cc0e47"


async def test_an_act_outside_a_unit_of_work_is_refused(db: engine.Engine) -> None:
    with pytest.raises(RuntimeError, match="unit of work"):
        await audit.append("need.posted", base.new_id())
    assert await links() == []


@pytest.mark.parametrize("text", ["周梅", "+86 23 6789 0001", "Zhou Mei", "", "a\x00b", "x" * 65])
async def test_a_detail_that_is_a_text_is_refused(text: str) -> None:
    async with databases.sqlite_engine():
        with pytest.raises(ValueError, match="no id, code or number"):
            await act(reason=text)


async def test_a_unit_that_is_rolled_back_leaves_no_row_and_no_gap(db: engine.Engine) -> None:
    await act()

    async def failing() -> None:
        async with engine.unit_of_work():
            await audit.append("need.posted", base.new_id())
            raise LookupError

    with pytest.raises(LookupError):
        await failing()
    await act()
    assert [row[0] for row in await links()] == [1, 2]
    assert await flaws() == []


async def test_a_savepoint_that_is_rolled_back_leaves_no_row_of_it(db: engine.Engine) -> None:
    async def failing(work: engine.Work) -> None:
        async with work.savepoint():
            await audit.append("inner", base.new_id())
            raise LookupError

    async with engine.unit_of_work() as work:
        await audit.append("before", base.new_id())
        with pytest.raises(LookupError):
            await failing(work)
        await audit.append("after", base.new_id())
    assert [(row[0], row[3]) for row in await links()] == [(1, "before"), (2, "after")]
    assert await flaws() == []


async def test_a_hundred_writers_at_once_make_one_chain(db: engine.Engine) -> None:
    async def write(number: int) -> None:
        async with engine.unit_of_work():
            for step in range(number % 3 + 1):
                await audit.append("need.posted", base.new_id(), number=number, step=step)
                await asyncio.sleep(0)
            if number % 10 == 0:
                raise LookupError

    results = await asyncio.gather(*map(write, range(100)), return_exceptions=True)
    assert [r for r in results if r] != []
    rows = await links()
    written = sum(number % 3 + 1 for number in range(100) if number % 10)
    assert [row[0] for row in rows] == list(range(1, written + 1))
    assert len({row[-1] for row in rows}) == written
    assert await flaws() == []


async def test_a_unit_of_many_acts_is_one_unit_of_the_chain(db: engine.Engine) -> None:
    async with engine.unit_of_work():
        for number in range(250):
            await audit.append("need.posted", base.new_id(), number=number)
        assert await links() == []
    assert [row[0] for row in await links()] == list(range(1, 251))
    assert await flaws() == []


CHANGES = {
    "update": "UPDATE {table} SET hash = 'x'",
    "delete": "DELETE FROM {table}",
    "one row": "DELETE FROM {table} WHERE seq = 1",
}
CHANGES_OF = {
    "sqlite": {
        "replace": "INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE seq = 1",
        "upsert": "INSERT INTO {table} SELECT * FROM {table} WHERE seq = 1"
        " ON CONFLICT DO UPDATE SET hash = 'x'",
    },
    "postgres": {
        "truncate": "TRUNCATE {table}",
        "upsert": "INSERT INTO {table} SELECT * FROM {table} WHERE seq = 1"
        " ON CONFLICT ({key}) DO UPDATE SET hash = 'x'",
    },
}


async def test_the_database_itself_refuses_every_change(db: engine.Engine) -> None:
    await act()
    await audit.sign(KEY)
    before = await links()
    for table, key in (("audit", "seq"), ("audit_head", "id")):
        for change in (CHANGES | CHANGES_OF[db.dialect]).values():
            with pytest.raises(engine.CONFLICTS, match=REFUSED):
                await engine.execute(change.format(table=table, key=key))
    assert await links() == before
    await act()
    assert await flaws() == []


async def test_starting_over_empties_the_trail_and_leaves_it_guarded(db: engine.Engine) -> None:
    await act()
    await audit.sign(KEY)
    async with engine.unit_of_work():
        await audit.start_over()
    assert await links() == await engine.rows("SELECT * FROM audit_head") == []
    await act()
    assert [row[0] for row in await links()] == [1]
    assert await flaws() == []
    with pytest.raises(engine.CONFLICTS, match=REFUSED):
        await engine.execute("DELETE FROM audit")


async def test_what_follows_a_signed_head_can_be_signed_once(db: engine.Engine) -> None:
    told: list[audit.Head] = []
    assert await audit.sign(KEY, told.append) is None
    await act()
    signed = await asyncio.gather(*(audit.sign(KEY, told.append) for _ in range(5)))
    assert [head.seq for head in signed if head] == [head.seq for head in told] == [1]
    await act()
    head = await audit.sign(KEY)
    assert head
    assert (head.seq, head.hash) == (2, (await links())[-1][-1])
    assert await flaws() == []


async def test_a_tail_that_was_cut_off_is_found_when_it_was_signed(db: engine.Engine) -> None:
    for _ in range(5):
        await act()
    await unguard()
    await engine.execute("DELETE FROM audit WHERE seq > 4")
    assert await flaws() == []
    await audit.sign(KEY)
    await engine.execute("DELETE FROM audit WHERE seq > 2")
    assert await flaws() == [(4, "was signed, and is missing")]
    # Growing again over the cut does not heal it.
    for _ in range(4):
        await act()
    assert await flaws() == [(4, "is not the row that was signed")]


async def test_a_chain_written_anew_without_the_key_is_found(db: engine.Engine) -> None:
    for _ in range(3):
        await act()
    await audit.sign(KEY)
    async with engine.unit_of_work():
        await audit.start_over()
    for _ in range(3):
        await act()
    await audit.sign(b"a guess")
    assert [seq for seq, what in await flaws() if "signature" in what] == [3]


async def test_a_signed_head_that_was_left_out_is_found(db: engine.Engine) -> None:
    for _ in range(3):
        await act()
        await audit.sign(KEY)
    await unguard()
    await engine.execute("DELETE FROM audit_head WHERE seq = 2")
    ((seq, what),) = await flaws()
    assert seq == 3
    assert "one before is missing" in what


async def test_a_row_that_cannot_even_be_read_is_a_flaw_and_no_crash(db: engine.Engine) -> None:
    for _ in range(3):
        await act()
    await unguard()
    broken = {
        "sqlite": "UPDATE audit SET detail = CAST(x'7bff7d' AS TEXT) WHERE seq = 2",
        "postgres": "UPDATE audit SET at = '200000-01-01' WHERE seq = 2",
    }
    await engine.execute(broken[db.dialect])
    assert {seq for seq, _ in await flaws()} == {2, 3}


# The property: whatever is changed in the tables, the walk finds it.

Statement = tuple[str, tuple[Any, ...]]
ROWS = 8
SIGNED_AT = (3, ROWS)


def other_text(draw: st.DrawFn, text: str) -> str:
    """One character of it is another."""
    at = draw(st.integers(0, len(text) - 1))
    letters = st.characters(min_codepoint=1, codec="utf-8").filter(lambda c: c != text[at])
    return text[:at] + draw(letters) + text[at + 1 :]


def other_value(draw: st.DrawFn, value: Any, dialect: str) -> Any:
    """Another value for a column that holds this one."""
    if isinstance(value, int):
        return value + draw(st.sampled_from([ROWS, 2 * ROWS, -2 * ROWS, 10**9]))
    if isinstance(value, dt.datetime):
        return value + dt.timedelta(microseconds=draw(st.integers(1, 10**9)))
    if isinstance(value, uuid.UUID):
        return uuid.UUID(int=value.int ^ 1 << draw(st.integers(0, 127)))
    if value is None:
        some = base.new_id()
        return str(some) if dialect == "sqlite" else some
    return other_text(draw, value)


@st.composite
def mutations(draw: st.DrawFn, rows: list[Any], heads: list[Any], dialect: str) -> list[Statement]:
    """One change of what is stored, as statements."""
    kind = draw(
        st.sampled_from(["flip", "flip", "flip", "head", "delete", "insert", "swap", "cut"])
    )
    one, two = draw(st.lists(st.integers(1, ROWS), min_size=2, max_size=2, unique=True))
    if kind in ("flip", "head"):
        table, columns, stored = (
            ("audit", COLUMNS, rows) if kind == "flip" else ("audit_head", HEAD_COLUMNS, heads)
        )
        column, row = draw(st.sampled_from(columns)), draw(st.sampled_from(stored))
        value = other_value(draw, row[columns.index(column)], dialect)
        return [(f"UPDATE {table} SET {column} = $1 WHERE seq = $2", (value, row[0]))]
    if kind == "insert":
        return _inserted(one, rows[two - 1])
    if kind == "swap":
        return _swapped(rows, one, two, COLUMNS[1:] if draw(st.booleans()) else COLUMNS[1:-2])
    return [(f"DELETE FROM audit WHERE seq {'=' if kind == 'delete' else '>='} $1", (one,))]


def _inserted(at: int, row: tuple[Any, ...]) -> list[Statement]:
    """A copy of a row, between two others that make room for it."""
    return [
        ("UPDATE audit SET seq = -seq - 1 WHERE seq >= $1", (at,)),
        ("UPDATE audit SET seq = -seq WHERE seq < 0", ()),
        _put("audit", COLUMNS, (at, *row[1:])),
    ]


def _swapped(
    rows: list[tuple[Any, ...]], one: int, two: int, columns: tuple[str, ...]
) -> list[Statement]:
    """Two rows change places: all of them, or only what they say."""
    sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(columns, 2))
    return [
        (f"UPDATE audit SET {sets} WHERE seq = $1", (seq, *rows[other - 1][1 : len(columns) + 1]))
        for seq, other in ((one, two), (two, one))
    ]


def _put(table: str, columns: tuple[str, ...], row: tuple[Any, ...]) -> Statement:
    places = base.placeholders(len(row))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", row


async def test_any_single_change_of_what_is_stored_is_found(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "CHUNK", 3)
    for number in range(1, ROWS + 1):
        await act(was="open", number=number)
        if number in SIGNED_AT:
            await audit.sign(KEY)
    await unguard()
    rows = await links()
    heads = await engine.rows(f"SELECT {', '.join(HEAD_COLUMNS)} FROM audit_head ORDER BY seq")
    for mutation in _drawn(mutations(rows, heads, db.dialect)):
        await _run(mutation)
        assert await flaws(), mutation
        await _run(
            [
                ("DELETE FROM audit", ()),
                ("DELETE FROM audit_head", ()),
                *(_put("audit", COLUMNS, row) for row in rows),
                *(_put("audit_head", HEAD_COLUMNS, head) for head in heads),
            ]
        )
    assert await flaws() == []


def _drawn(strategy: st.SearchStrategy[list[Statement]]) -> list[list[Statement]]:
    """Examples, to be tried on the loop that the database lives on."""
    found: list[list[Statement]] = []

    @hypothesis.settings(max_examples=150, database=None)
    @hypothesis.given(strategy)
    def collect(mutation: list[Statement]) -> None:
        found.append(mutation)

    collect()
    return found


async def _run(statements: list[Statement]) -> None:
    async with engine.unit_of_work():
        for sql, args in statements:
            await engine.execute(sql, *args)
