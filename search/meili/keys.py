"""The least key that works: it reads and writes our indexes, and makes no other keys."""

from __future__ import annotations

import uuid

from msgspec import Struct

from search.meili.runner import INDEX
from search.meili.server import Answered, Server

_ACTIONS = (
    "search",
    "documents.add",
    "documents.get",
    "documents.delete",
    "indexes.create",
    "indexes.get",
    "indexes.delete",
    "indexes.swap",
    "settings.get",
    "settings.update",
    "tasks.get",
    "stats.get",
)
_INDEXES = (f"{INDEX}*",)
# The server makes the key of its id and the master key: the same id is the same key again, and
# another list of actions is another key.
_ID = uuid.uuid5(uuid.NAMESPACE_URL, ",".join((*_ACTIONS, *_INDEXES)))


class _Key(Struct, frozen=True):
    key: str


async def make_keys(url: str, master_key: str) -> str:
    """The key for MEILI_KEY, made on the server if it is not there yet.

    Raises SearchUnavailable when the server does not answer or refuses the master key.
    """
    server = Server(url, master_key)
    body = {
        "uid": str(_ID),
        "name": "Community Partners",
        "actions": _ACTIONS,
        "indexes": _INDEXES,
        "expiresAt": None,
    }
    try:
        return (await server.ask(_Key, "POST", "/keys", body)).key
    except Answered as answered:
        if answered.code != "api_key_already_exists":
            raise
        return (await server.ask(_Key, "GET", f"/keys/{_ID}")).key
    finally:
        await server.close()
