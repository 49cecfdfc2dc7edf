"""Who did what: append-only rows, each sealed with the hash of the one before."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec
from msgspec import structs
from piccolo.columns import UUID, BigInt, BigSerial, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine

# The account that acts, set by whoever knows it; None is the system itself.
actor: ContextVar[uuid.UUID | None] = ContextVar("actor", default=None)

# What the first row says of the one before it.
GENESIS = "0" * 64
# PostgreSQL's advisory lock of the chain: without it two units would follow the same row.
_LOCK = 7_226_100_702
_TABLES = ("audit", "audit_head")
_HEAD_COLUMNS = "seq, id, hash, signed_at, signature"
_COLUMNS = "seq, at, actor, action, subject, place, detail, previous, hash"
# Verified at once: some 5 MB.
CHUNK = 5000
_LOWEST = -(2**63)
_INSERT = f"INSERT INTO audit ({_COLUMNS}) VALUES ({base.placeholders(9)})"
_CHAINED = (
    f"INSERT INTO audit ({_COLUMNS}) SELECT {_COLUMNS} FROM audit_links({base.placeholders(8)})"
)
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,63}\Z")


class Audit(Table):
    """One act. Ids only, no personal data: a person can be forgotten and the chain still holds."""

    seq = BigSerial(primary_key=True)
    at = Timestamptz(null=False)
    actor = UUID(null=True, default=None)
    action = Varchar(length=64, null=False)
    subject = UUID(null=False)
    # The place whose officers may read it.
    place = UUID(null=True, default=None)
    # JSON of ids, codes and numbers.
    detail = Text(null=False)
    previous = Varchar(length=64, null=False)
    hash = Varchar(length=64, null=False)


class AuditHead(Table):
    """A signed statement of where the chain ended: it shows when the tail was cut off."""

    id = UUID(primary_key=True)
    seq = BigInt(null=False)
    hash = Varchar(length=64, null=False)
    signed_at = Timestamptz(null=False)
    signature = Varchar(length=64, null=False)


class _Act(msgspec.Struct, frozen=True):
    """A row to be, before it has its place in the chain."""

    at: dt.datetime
    actor: uuid.UUID | None
    action: str
    subject: uuid.UUID
    place: uuid.UUID | None
    detail: str


async def append(
    action: str,
    subject: uuid.UUID,
    *,
    place: uuid.UUID | None = None,
    **detail: str | int | None,
) -> None:
    """Record in the running unit of work that `actor` did `action` to `subject`.

    `place` is whose officers may read it. `detail` takes ids, codes and numbers; a text that is
    none of these is refused with ValueError, so that nothing personal gets in. Outside a unit of
    work it refuses with RuntimeError: an act and its row are kept together or not at all.
    """
    if not engine.in_transaction():
        raise RuntimeError(f"{action!r} must be recorded in the unit of work that does it")
    for name, value in detail.items():
        if isinstance(value, str) and not _CODE.match(value):
            raise ValueError(f"{action!r}: {name} is no id, code or number")
    act = _Act(base.now(), actor.get(), action, subject, place, base.pack(detail))
    async with engine.unit_of_work() as work:
        work.before_commit(_seal, act)


async def _seal(acts: Sequence[_Act]) -> None:
    """Append the acts of one unit to the chain, as the last thing before its COMMIT.

    The chain is locked from here to the end of the transaction, so as short as can be: PostgreSQL
    itself makes the rows of the chain, with everything else that is left to write.
    """
    if engine.current().dialect == "postgres":
        columns = zip(*(structs.astuple(act) for act in acts), strict=True)
        texts = [base.pack((_stored(act.at), *structs.astuple(act)[1:]))[1:-1] for act in acts]
        await engine.later(_CHAINED, _LOCK, *map(list, columns), texts)
        return
    seq, previous = await _end() or (0, GENESIS)
    for act in acts:
        seq += 1
        row = (seq, *structs.astuple(act), previous)
        previous = digest(*row)
        await engine.execute(_INSERT, *row, previous)


def digest(
    seq: int,
    at: dt.datetime | str,
    actor: uuid.UUID | str | None,
    action: str,
    subject: uuid.UUID | str,
    place: uuid.UUID | str | None,
    detail: str,
    previous: str,
) -> str:
    """The SHA-256 of a row, in hex: over a JSON array of its columns.

    SQLite gives ids and times as the text it keeps; they go in as they are, so that no two
    spellings of one value have the same hash.
    """
    text = base.pack((seq, _stored(at), actor, action, subject, place, detail, previous))
    return hashlib.sha256(text.encode()).hexdigest()


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One act as it is read. `actor` null is the system itself; `place` null is everywhere."""

    seq: int
    at: dt.datetime
    actor: uuid.UUID | None
    action: str
    subject: uuid.UUID
    place: uuid.UUID | None
    detail: dict[str, str | int | None]
    previous: str
    hash: str


async def browse(where: base.Where, limit: int) -> list[AuditRecord]:
    """Up to `limit` acts that `where` leaves, the last ones first."""
    rows = await engine.fetch(
        f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY seq DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [
        base.record({**row, "detail": msgspec.json.decode(row["detail"])}, AuditRecord)
        for row in rows
    ]


class Head(msgspec.Struct, frozen=True):
    """Where the chain ends, as it was signed."""

    seq: int
    hash: str


async def sign(key: bytes, told: Callable[[Head], object] | None = None) -> Head | None:
    """Sign where the chain ends now; None when it has been signed there already.

    Each signature covers the one before it, so that a signed head cannot go missing from between.
    `told` hears of it once it is safe, also when whoever asked has given up meanwhile.
    """
    async with engine.unit_of_work() as work:
        last = await _end()
        signed = await engine.rows(
            "SELECT seq, signature FROM audit_head ORDER BY seq DESC LIMIT 1"
        )
        if not last or (signed and signed[0][0] >= last[0]):
            return None
        head = Head(*last)
        row = (head.seq, base.new_id(), head.hash, base.now())
        signature = _signature(key, row, signed[0][1] if signed else "")
        await engine.execute(
            f"INSERT INTO audit_head ({_HEAD_COLUMNS}) VALUES ($1, $2, $3, $4, $5)", *row, signature
        )
        if told:
            work.after_commit(functools.partial(told, head))
        return head


class Flaw(msgspec.Struct, frozen=True):
    """Something that does not hold, and at which row."""

    seq: int
    what: str


class Verification:
    """One walk over the whole chain, with a chunk of it in memory.

    `flaws()` walks; `links` and `heads` count what it has looked at. Whoever knows the algorithm
    can write the chain anew from some row on, but without the key not the heads signed since. What
    no head covers yet, and heads that were cut off together with their rows, only a copy kept
    elsewhere can show: the server logs every head that it signs.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._last = Head(0, GENESIS)
        self._signature = ""
        self.links = 0
        self.heads = 0

    async def flaws(
        self, progress: Callable[[int, int], None] | None = None
    ) -> AsyncIterator[Flaw]:
        """Everything that does not hold, in the order of the chain."""
        ((total,),) = await engine.rows("SELECT count(*) FROM audit")
        start: int | None = _LOWEST
        while start is not None:
            links = await _chunk("audit", _COLUMNS, start, None)
            until = links[-1][0] if len(links) == CHUNK else None
            for flaw in self._broken(links):
                yield flaw
            hashes = {link[0]: link[-1] for link in links}
            for head in await _chunk("audit_head", _HEAD_COLUMNS, start, until):
                # A head signed while we walk speaks of a row that came after the chunk.
                there = hashes.get(head[0]) or await _hash_of(head[0])
                for flaw in self._contradicted(head, there):
                    yield flaw
            if progress:
                progress(self.links, max(total, self.links))
            start = until + 1 if until is not None else None

    def _broken(self, links: Sequence[tuple[Any, ...]]) -> Iterator[Flaw]:
        for link in links:
            seq, last = link[0], self._last
            if seq <= last.seq:
                yield Flaw(seq, "stands before the first")
            elif seq > last.seq + 1:
                yield Flaw(last.seq + 1, f"is missing, and all before row {seq}")
            elif link[-2] != last.hash:
                yield Flaw(seq, "does not follow the row before it")
            if not _holds(link):
                yield Flaw(seq, "was changed: its hash is another")
            self._last = Head(seq, link[-1])
        self.links += len(links)

    def _contradicted(self, head: tuple[Any, ...], there: str | None) -> Iterator[Flaw]:
        *row, signature = head
        seq, _, signed, _ = row
        self.heads += 1
        if there is None:
            yield Flaw(seq, "was signed, and is missing")
        elif there != signed:
            yield Flaw(seq, "is not the row that was signed")
        if signature != _signature(self._key, row, self._signature):
            yield Flaw(seq, "has a wrong signature: changed, another key, or one before is missing")
        self._signature = signature


def _holds(link: tuple[Any, ...]) -> bool:
    try:
        return bool(digest(*link[:-1]) == link[-1])
    except (ValueError, OverflowError):
        return False


async def _chunk(table: str, columns: str, start: int, until: int | None) -> list[tuple[Any, ...]]:
    """The next CHUNK rows of a table at most, up to the row `until` if that is given.

    A row that the database cannot read (broken UTF-8, a year out of range) has None in every
    column but the first.
    """
    where, args = "seq >= $1", [start]
    if until is not None:
        where, args = "seq BETWEEN $1 AND $2", [start, until]
    rest = f"FROM {table} WHERE {where} ORDER BY seq LIMIT {CHUNK}"
    found = await _readable(f"SELECT {columns} {rest}", *args)
    if found is None:
        found, blank = [], (None,) * columns.count(",")
        for (seq,) in await engine.rows(f"SELECT seq {rest}", *args):
            one = await _readable(f"SELECT {columns} FROM {table} WHERE seq = $1", seq)
            found += [(seq, *blank)] if one is None else one
    return found


async def _readable(sql: str, *args: Any) -> list[tuple[Any, ...]] | None:
    try:
        return await engine.rows(sql, *args)
    except engine.DatabaseUnavailable:
        raise
    except Exception:
        return None


async def _hash_of(seq: int) -> str | None:
    rows = await _readable("SELECT hash FROM audit WHERE seq = $1", seq)
    return rows[0][0] if rows else None


async def start_over() -> None:
    """Empty the trail, inside the caller's unit of work; the next act is the first again.

    For a demo alone: see `base.rules_lifted`.
    """
    async with base.rules_lifted(_TABLES):
        for table in _TABLES:
            await engine.execute(f"DELETE FROM {table}")


async def _end() -> tuple[int, str] | None:
    """The last row's number and hash, while nobody else appends or signs.

    The lock is PostgreSQL's, to the end of the transaction; on SQLite the writer is alone anyway.
    """
    if engine.current().dialect == "postgres":
        found = await engine.rows("SELECT seq, hash FROM audit_end($1)", _LOCK)
    else:
        found = await engine.rows("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    return (found[0][0], found[0][1]) if found else None


def _signature(key: bytes, row: Sequence[Any], before: str) -> str:
    """The HMAC of a head's columns and of the signature before it."""
    text = base.pack((*map(_stored, row), before))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _stored(moment: Any) -> Any:
    """A time as SQLite keeps it, which is what is hashed and signed on both databases."""
    return str(moment.astimezone(dt.UTC)) if isinstance(moment, dt.datetime) else moment
