"""The least keys that work: one for us, and one that only signs what phones search with.

    python -m api search setup        makes both, with the master key

Ours reads and writes our indexes and makes no other keys. The other may search the index, and
nothing else; a token signed with it may do less still: see only what its holder may see, for a
quarter of an hour to an hour. Taking that key away ends all tokens and nothing else.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any

import meilisearch
from msgspec import Struct

from models import base
from search.engine import Phones, Scope, SearchToken
from search.meili import asking
from search.meili.entries import INDEX
from search.meili.server import Answered, Server


class _Wanted(Struct, frozen=True):
    """A key as it ought to be. The server makes its secret of its id and the master key: the same
    id is the same key again, and another list of actions is another key."""

    name: str
    actions: tuple[str, ...]
    indexes: tuple[str, ...]

    @property
    def id(self) -> str:
        digest = hashlib.sha256(",".join((*self.actions, *self.indexes)).encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))


_OURS = _Wanted(
    "Community Partners",
    (
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
    ),
    (f"{INDEX}*",),
)
_TOKENS = _Wanted("Community Partners, phones", ("search",), (INDEX,))


class Keys(Struct, frozen=True):
    """The keys for MEILI_KEY and MEILI_TOKEN_KEY."""

    ours: str
    tokens: str


async def make_keys(url: str, master_key: str) -> Keys:
    """The keys, made on the server if they are not there yet.

    Raises SearchUnavailable when the server does not answer or refuses the master key.
    """
    server = Server(url, master_key)
    try:
        return Keys(await _key(server, _OURS), await _key(server, _TOKENS))
    finally:
        await server.close()


def sign(phones: Phones, index: str, scope: Scope, seconds: int) -> SearchToken:
    """A token with which the server answers searches of what the scope may see, and of nothing
    else. It is made here: the server is not asked.
    """
    clauses = asking.seen_by(scope)
    expires = base.now().replace(microsecond=0) + dt.timedelta(seconds=seconds)
    rules = {index: {"filter": clauses} if clauses else None}
    client = meilisearch.Client(phones.url, phones.key)
    token = client.generate_tenant_token(_TOKENS.id, rules, expires_at=expires)
    return SearchToken(url=phones.url, index=index, token=token, expires_at=expires)


async def _key(server: Server, wanted: _Wanted) -> str:
    options: dict[str, Any] = {
        "uid": wanted.id,
        "name": wanted.name,
        "actions": wanted.actions,
        "indexes": wanted.indexes,
        "expiresAt": None,
    }
    try:
        made = await server.administer(lambda client: client.create_key(options))
    except Answered as answered:
        if answered.code != "api_key_already_exists":
            raise
        made = await server.administer(lambda client: client.get_key(wanted.id))
    return made.key
