"""Whether the index has what the database says, by id and version; and what is done about it.

Sync alone keeps the two the same. This is for what it cannot see: a search server that was put back
to an old snapshot, lost a task it had promised, or was written to by somebody else.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable

import structlog
from msgspec import Struct

from models import base, engine, outbox
from search import engine as index
from search import names, needs, offerings, sync

log = structlog.get_logger()
_AT_ONCE = 5_000
_INDEXED = (
    (sync.OFFERING, "offering", offerings.INDEXED),
    (sync.NEED, "need", needs.INDEXED),
    (sync.PLACE, "place", names.INDEXED),
)


class Difference(Struct, frozen=True):
    """One object that is not in the index as it is in the database. A version is None where the
    object is not; `topic` has it looked at again."""

    id: str
    topic: str
    in_database: int | None
    in_index: int | None


async def differences(
    target: index.SearchEngine, progress: Callable[[int, int], None] | None = None
) -> list[Difference]:
    """What the index has otherwise, though nothing of it is on its way.

    Looked at twice, since changes go on meanwhile: what differs in the same way both times stays.
    """
    first = await _look(target, progress)
    if not first:
        return []
    again = set(await _look(target, progress))
    return [one for one in first if one in again]


async def mend(
    target: index.SearchEngine, progress: Callable[[int, int], None] | None = None
) -> list[Difference]:
    """Have the worker carry again whatever differs; answers what that was. Where the database was
    put back to an older state the index is built anew: none takes less than it has seen."""
    found = await differences(target, progress)
    if any((one.in_index or 0) > (one.in_database or one.in_index or 0) for one in found):
        await sync.rebuild(target)
        log.warning("search.differed", count=len(found))
        return found
    async with engine.unit_of_work() as work:
        for one in found:
            with contextlib.suppress(ValueError):
                await outbox.announce(work, one.topic, uuid.UUID(one.id))
    # Of service types nothing comes by the outbox; all others that it cannot name are not ours.
    types = {document.id: document for document in await names.service_types()}
    rest: list[index.Op] = [
        index.Upsert(types[one.id]) if one.id in types else index.Delete(one.id, 1)
        for one in found
        if not _is_ours(one.id)
    ]
    if rest:
        await target.wait(await target.apply(rest))
    if found:
        log.warning("search.differed", count=len(found))
    return found


def _is_ours(id: str) -> bool:
    try:
        return str(uuid.UUID(id)) == id
    except ValueError:
        return False


async def _look(
    target: index.SearchEngine, progress: Callable[[int, int], None] | None
) -> list[Difference]:
    held = await target.versions()
    done, total = 0, max(len(held), 1)
    found: list[Difference] = []
    for topic, table, indexed in _INDEXED:
        after = uuid.UUID(int=0)
        while rows := await engine.rows(
            f"SELECT id, version FROM {table} WHERE {indexed} AND id > $1"
            f" ORDER BY id LIMIT {_AT_ONCE}",
            after,
        ):
            for given, version in rows:
                id = str(given)
                has = held.pop(id, None)
                if has != version:
                    found.append(Difference(id, topic, version, has))
            after = base.as_id(rows[-1][0])
            done += len(rows)
            if progress:
                progress(done, max(done, total))
    for document in await names.service_types():
        has = held.pop(document.id, None)
        if has != document.version:
            found.append(Difference(document.id, sync.PLACE, document.version, has))
    found += [Difference(id, sync.OFFERING, None, version) for id, version in held.items()]
    aside = {str(row["subject"]) for row in await engine.fetch("SELECT subject FROM outbox")}
    aside |= {str(letter.subject) for letter in await outbox.letters()}
    return [one for one in found if one.id not in aside]
