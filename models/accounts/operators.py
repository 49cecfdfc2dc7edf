"""Somebody always runs the system: the last operator stays one."""

from __future__ import annotations

import datetime as dt
import uuid

from models import base, engine, errors
from models.accounts.callers import LIVE

# Any number will do, as long as every process takes the same one.
_LOCK = 7_226_100_702
_FOR_EVER = dt.datetime.max.replace(tzinfo=dt.UTC)


async def keep_one(leaving: uuid.UUID) -> None:
    """Refuse (`last_operator`) that a role or an account leaves, when nobody else would be operator
    for as long: by their own role, which holds now, and with an account that may be used.

    The first thing of a unit of work: two who leave at once come one after the other.
    """
    if engine.current().dialect == "postgres":
        await engine.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    rows = await engine.rows(
        "SELECT r.id, r.account, r.valid_to FROM role r"
        " JOIN account a ON a.id = r.account AND a.status = 'active'"
        f" WHERE r.name = 'operator' AND r.delegated_from IS NULL AND {LIVE.format('$1')}",
        base.now(),
    )
    ends: dict[bool, list[dt.datetime]] = {True: [], False: []}
    for role, account, end in rows:
        leaves = leaving in (base.as_id(role), base.as_id(account))
        ends[leaves].append(base.moment(end) if end else _FOR_EVER)
    if ends[True] and max(ends[True]) > max(ends[False], default=base.now()):
        raise errors.Refusal("last_operator")
