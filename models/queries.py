"""What is asked of the search: the account's own recent questions, and the popular ones of all.

Popular ones are counted without anybody's account: of each question a day keeps who asked it as a
hash, under a salt that is thrown away with the hashes when the day is over, and what fewer than
ENOUGH have asked is thrown away with them. Whoever calls decides what may be kept at all.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from collections import Counter, deque

from msgspec import Struct
from piccolo.columns import UUID, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import accounts, base, engine

# Distinct callers of a day, from which on a question is nobody's own any more.
ENOUGH = 5
MOST_RECENT = 20
RECENT_FOR = dt.timedelta(days=30)
POPULAR_DAYS = 30
# Questions that wait to be written; the oldest give way.
_MOST_WAITING = 10_000


class RecentQuery(Table):
    """A question that an account has asked."""

    id = UUID(primary_key=True)
    account = ForeignKey(accounts.Account, null=False)
    words = Varchar(length=64, null=False)
    asked_at = Timestamptz(null=False)


class AskedQuery(Table):
    """One caller's question of a day (an ordinal); gone when the day is over."""

    id = UUID(primary_key=True)
    day = Integer(null=False)
    community = Varchar(length=64, null=False)
    words = Varchar(length=64, null=False)
    caller = Varchar(length=64, null=False)


class PopularQuery(Table):
    """How many have asked a question on a day that is over; ENOUGH at least."""

    id = UUID(primary_key=True)
    day = Integer(null=False)
    community = Varchar(length=64, null=False)
    words = Varchar(length=64, null=False)
    callers = Integer(null=False)


class QuerySalt(Table):
    """What the hashes of a day are made with."""

    day = Integer(primary_key=True, default=0)
    salt = Text(null=False)


class Asked(Struct, frozen=True):
    """One question: by which account if any, from where, and in which community if one is named."""

    words: str
    account: uuid.UUID | None
    address: str
    community: str


class RecentRecord(Struct):
    """A question that the account has asked."""

    words: str
    asked_at: dt.datetime


class PopularRecord(Struct):
    """A question that many have asked: callers, counted anew each day."""

    words: str
    callers: int


class Ledger:
    """Questions on their way to the database: searching writes nothing."""

    def __init__(self) -> None:
        self._waiting: deque[Asked] = deque(maxlen=_MOST_WAITING)

    def note(self, asked: Asked) -> None:
        """Keep this for the next `keep`."""
        self._waiting.append(asked)

    async def keep(self) -> None:
        """Write what has been noted."""
        if not self._waiting:
            return
        several = list(self._waiting)
        self._waiting.clear()
        moment = base.now()
        async with engine.unit_of_work():
            salt = await _salt(_day(moment))
            for asked in several:
                if asked.account:
                    await _remember(asked.account, asked.words, moment)
                await _count(asked, _day(moment), salt)
            for account in {asked.account for asked in several if asked.account}:
                await _trim(account)


async def recent(account: uuid.UUID) -> list[RecentRecord]:
    """What the account has asked in the last days, latest first."""
    rows = await engine.fetch(
        "SELECT words, asked_at FROM recent_query WHERE account = $1 AND asked_at > $2"
        f" ORDER BY asked_at DESC, id DESC LIMIT {MOST_RECENT}",
        account,
        base.now() - RECENT_FOR,
    )
    return [base.record(row, RecentRecord) for row in rows]


async def forget(account: uuid.UUID) -> None:
    """The account has asked nothing."""
    await engine.execute("DELETE FROM recent_query WHERE account = $1", account)


async def popular(community: str, days: int, most: int) -> list[PopularRecord]:
    """What most have asked in a community (or anywhere: '') in so many days, today among them."""
    today = _day(base.now())
    counted: Counter[str] = Counter()
    for words, callers in [
        *await engine.rows(
            "SELECT words, callers FROM popular_query WHERE community = $1 AND day > $2",
            community,
            today - days,
        ),
        *await engine.rows(
            "SELECT words, count(*) FROM asked_query WHERE community = $1 AND day = $2"
            f" GROUP BY words HAVING count(*) >= {ENOUGH}",
            community,
            today,
        ),
    ]:
        counted[words] += callers
    ranked = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    return [PopularRecord(words, callers) for words, callers in ranked[:most]]


async def close_days() -> None:
    """Days that are over keep only what many have asked; old questions go."""
    moment = base.now()
    today = _day(moment)
    # Asked often and nearly always in vain: not as a writer.
    if not await engine.rows("SELECT 1 FROM query_salt WHERE day < $1 LIMIT 1", today):
        return
    async with engine.unit_of_work():
        for day, community, words, callers in await engine.rows(
            "SELECT day, community, words, count(*) FROM asked_query WHERE day < $1"
            f" GROUP BY day, community, words HAVING count(*) >= {ENOUGH}",
            today,
        ):
            await engine.execute(
                "INSERT INTO popular_query (id, day, community, words, callers)"
                " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (community, day, words) DO NOTHING",
                base.new_id(),
                day,
                community,
                words,
                callers,
            )
        await engine.execute("DELETE FROM asked_query WHERE day < $1", today)
        await engine.execute("DELETE FROM query_salt WHERE day < $1", today)
        await engine.execute("DELETE FROM popular_query WHERE day < $1", today - POPULAR_DAYS)
        await engine.execute("DELETE FROM recent_query WHERE asked_at < $1", moment - RECENT_FOR)


def _day(moment: dt.datetime) -> int:
    return moment.date().toordinal()


async def _salt(day: int) -> bytes:
    await engine.execute(
        "INSERT INTO query_salt (day, salt) VALUES ($1, $2) ON CONFLICT (day) DO NOTHING",
        day,
        secrets.token_hex(16),
    )
    ((salt,),) = await engine.rows("SELECT salt FROM query_salt WHERE day = $1", day)
    return bytes.fromhex(salt)


async def _remember(account: uuid.UUID, words: str, moment: dt.datetime) -> None:
    # The account may have been erased since it asked.
    await engine.execute(
        "INSERT INTO recent_query (id, account, words, asked_at) SELECT $1, id, $2, $3"
        " FROM account WHERE id = $4 AND status = 'active'"
        " ON CONFLICT (account, words) DO UPDATE SET asked_at = excluded.asked_at",
        base.new_id(),
        words,
        moment,
        account,
    )


async def _trim(account: uuid.UUID) -> None:
    await engine.execute(
        "DELETE FROM recent_query WHERE account = $1 AND id NOT IN (SELECT id FROM recent_query"
        f" WHERE account = $1 ORDER BY asked_at DESC, id DESC LIMIT {MOST_RECENT})",
        account,
    )


async def _count(asked: Asked, day: int, salt: bytes) -> None:
    who = str(asked.account) if asked.account else asked.address
    caller = hashlib.blake2b(who.encode(), key=salt, digest_size=16).hexdigest()
    for community in {"", asked.community}:
        await engine.execute(
            "INSERT INTO asked_query (id, day, community, words, caller)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (community, day, words, caller) DO NOTHING",
            base.new_id(),
            day,
            community,
            asked.words,
            caller,
        )
