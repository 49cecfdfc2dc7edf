"""Two small tables and what the tests here do with them."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import asyncpg  # type: ignore[import-untyped]  # it ships no types
from piccolo.columns import UUID, Boolean, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import engine


class Shelf(Table, tablename="shelf"):
    id = UUID(primary_key=True, default=uuid.uuid4)
    title = Varchar(length=200, default="", unique=True)
    quantity = Integer(default=0)
    open = Boolean(default=False)
    at = Timestamptz(default=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


class Book(Table, tablename="book"):
    id = UUID(primary_key=True, default=uuid.uuid4)
    shelf = ForeignKey(Shelf, null=False)
    text = Text(default="")


async def put(title: str, quantity: int = 1) -> None:
    await engine.execute(
        "INSERT INTO shelf (id, title, quantity, open, at) VALUES ($1, $2, $3, $4, $5)",
        uuid.uuid4(),
        title,
        quantity,
        True,
        dt.datetime(2026, 3, 1, 8, 30, tzinfo=dt.UTC),
    )


async def titles() -> list[str]:
    rows = await engine.rows("SELECT title FROM shelf WHERE title <> 'first' ORDER BY title")
    return [title for (title,) in rows]


async def quantity() -> int:
    return int((await engine.rows("SELECT quantity FROM shelf WHERE title = 'first'"))[0][0])


async def raise_quantity() -> None:
    """Read, think, write: loses updates unless transactions keep each other out."""
    async with engine.unit_of_work():
        lock = "" if engine.current().dialect == "sqlite" else " FOR UPDATE"
        ((seen,),) = await engine.rows(f"SELECT quantity FROM shelf WHERE title = 'first'{lock}")
        await asyncio.sleep(0)
        await engine.execute("UPDATE shelf SET quantity = $1 WHERE title = 'first'", seen + 1)


async def kept(title: str) -> None:
    async with engine.unit_of_work():
        await put(title)


def pool(pg: engine.Postgres) -> asyncpg.Pool:
    assert pg.pool is not None
    return pg.pool
