"""What requests ask most often: by an index, at a price that does not grow; what writes reach."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from models import accounts, base, engine, needs, offerings, places, plans
from models.engine import changes
from models.engine.sqlite import connect, placeholders
from models.partners import registering
from tests.bench import _city

ANYBODY = accounts.Visibility()
PAGE = 20
Statement = tuple[str, tuple[Any, ...]]


@contextlib.asynccontextmanager
async def _statements(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Statement]]:
    """What is asked of the database inside, in units of work and out of them."""
    seen: list[Statement] = []
    kind: Any = type(engine.current())
    with monkeypatch.context() as patch:
        for name in ("fetch", "rows", "execute"):
            ask = getattr(kind, name)

            async def noted(self: Any, sql: str, *args: Any, ask: Any = ask) -> Any:
                seen.append((sql, args))
                return await ask(self, sql, *args)

            patch.setattr(kind, name, noted)
        yield seen


async def _plan(sql: str, args: tuple[Any, ...]) -> str:
    """How the database would go about it, were a scan of a whole table the last thing to do."""
    if engine.current().dialect == "sqlite":
        return "\n".join(
            str(row[-1]) for row in await engine.rows(f"EXPLAIN QUERY PLAN {sql}", *args)
        )
    async with engine.unit_of_work():
        await engine.execute("SET LOCAL enable_seqscan = off")
        return "\n".join(str(row[0]) for row in await engine.rows(f"EXPLAIN {sql}", *args))


def _scans(plan: str) -> list[str]:
    """The lines in which a whole table is gone through, or a page is sorted."""
    whole = re.compile(r"Seq Scan|^SCAN (?!.*USING)(?!CONSTANT)|TEMP B-TREE FOR ORDER|\bSort\b")
    return [line for line in plan.splitlines() if whole.search(line)]


async def _hot(first: uuid.UUID, service: str, place: uuid.UUID) -> dict[str, Awaitable[Any]]:
    draft = _city.City(10).asks(1)[0][1]
    draft.place_id = place
    ((account,),) = await engine.rows("SELECT id FROM account WHERE login = 'secretary@demo'")
    return {
        "the first page": needs.browse(ANYBODY, after=None, limit=PAGE),
        "a page of one service": needs.browse(
            ANYBODY, after=first, limit=PAGE, service_type=service, status="open"
        ),
        "a need": needs.read(first, ANYBODY),
        "a need as its staff": needs.read(first, accounts.Visibility(places=frozenset({place}))),
        "who is calling": accounts.caller_of("nobody's token"),
        "where a place lies": places.ancestors(place),
        "a new need": needs.post(draft, uuid.UUID(str(account))),
        "the queue of plans": plans.claim(uuid.uuid4()),
    }


async def test_every_hot_query_uses_its_index(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = _city.City(50)
    await city.settle()
    asked = city.asks(2_000)
    await city.post(asked)
    await engine.execute("ANALYZE")
    need, draft = asked[1_000]
    hot = await _hot(need, draft.service_type, draft.place_id)
    wrong = []
    for what, asking in hot.items():
        async with _statements(monkeypatch) as seen:
            await asking
        assert seen, what
        for sql, args in seen:
            # SQLite calls it a scan to read the last row by its own number, and no more than that.
            if not sql.startswith("INSERT") and "FROM audit ORDER BY seq DESC LIMIT 1" not in sql:
                wrong += [f"{what}: {line}" for line in _scans(await _plan(sql, args))]
    assert wrong == []


async def test_the_thousandth_page_costs_what_the_first_one_does(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = _city.City(10)
    await city.settle()
    asked = city.asks(1_002 * PAGE)
    await city.post(asked)
    await engine.execute("ANALYZE")
    # Newest first: the first page begins at the last id.
    ids = sorted(identity for identity, _ in asked)
    first, last = [
        await _cost(needs.browse(ANYBODY, after=after, limit=PAGE), monkeypatch)
        for after in (None, ids[-1 - 1_000 * PAGE])
    ]
    assert last <= first * 1.5 + 5, (first, last)


async def test_a_page_costs_the_same_whatever_is_over_before_it(
    db: engine.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = _city.City(1_000)
    await city.settle()
    await city.post(city.asks(3_000))

    async def costs() -> list[int]:
        await engine.execute("ANALYZE" if db.dialect == "sqlite" else "VACUUM ANALYZE")
        return [
            await _cost(browse(ANYBODY, after=None, limit=PAGE), monkeypatch)
            for browse in (needs.browse, offerings.browse, registering.browse)
        ]

    before = await costs()
    for table, over in (("need", "closed"), ("offering", "withdrawn")):
        await _end(table, over)
    after = (await costs())[:2]
    await _end("partner", "exited")
    after += (await costs())[2:]
    assert all(now <= then * 1.5 + 5 for then, now in zip(before, after, strict=True)), (
        before,
        after,
    )


def test_a_status_that_a_statement_names_is_a_word() -> None:
    where = base.Where()
    where.state("status", "in_review")
    assert str(where) == "status = 'in_review'"
    for wrong in ("open' OR '1' = '1", "", "open\n", "OPEN"):
        with pytest.raises(ValueError, match="no status"):
            where.state("status", wrong)


async def _end(table: str, status: str) -> None:
    """All but the oldest fifth of it is over."""
    ((count,),) = await engine.rows(f"SELECT count(*) FROM {table}")
    newest = f"SELECT id FROM {table} ORDER BY id DESC LIMIT {count * 4 // 5}"
    await engine.execute(f"UPDATE {table} SET status = $1 WHERE id IN ({newest})", status)


async def _cost(asking: Awaitable[Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Pages of the database that its first statement looks at, or steps of SQLite's machine."""
    async with _statements(monkeypatch) as seen:
        assert len(await asking) == PAGE
    sql, args = seen[0]
    database = engine.current()
    if database.dialect == "postgres":
        rows = await engine.rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *args)
        counted = [
            re.search(rf'"Shared {what} Blocks": (\d+)', rows[0][0]) for what in ("Hit", "Read")
        ]
        return sum(int(found[1]) for found in counted if found)
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with contextlib.closing(connect(database.path, read=True)) as connection:
        connection.set_progress_handler(step, 1)
        assert len(connection.execute(*placeholders(sql, args)).fetchall()) == PAGE
    return steps


# What is kept until it is written is only right if these are.


async def test_every_row_that_goes_with_another_is_expected_to(db: engine.Engine) -> None:
    if db.dialect == "postgres":
        rows = await db.rows(
            "SELECT f.relname, t.relname FROM pg_constraint c JOIN pg_class f ON f.oid = c.conrelid"
            " JOIN pg_class t ON t.oid = c.confrelid WHERE c.contype = 'f'"
        )
    else:
        rows = await db.rows(
            'SELECT m.name, f."table" FROM sqlite_master m, pragma_foreign_key_list(m.name) f'
            " WHERE m.type = 'table'"
        )
    assert len(rows) > 50
    for table, target in rows:
        assert table in changes.below(target), f"{table} refers to {target}"


async def test_no_trigger_writes_to_a_table(db: engine.Engine) -> None:
    if db.dialect == "postgres":
        rows = await db.rows(
            "SELECT p.proname, p.prosrc FROM pg_proc p"
            " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'"
        )
    else:
        rows = await db.rows("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
    assert rows
    for name, text in rows:
        # The head of a trigger says on what it is called.
        begins = re.search(r"\bBEGIN\b", text, re.IGNORECASE)
        body = text[begins.end() :] if begins else text
        assert not re.search(r"\b(INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM)\b", body), name
