"""The server's HTTP: which paths there are, who may, and what a refusal looks like."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import fnmatch
import hashlib
import hmac
import json
import re
import time
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.meilisearch_fake import searching
from tests.meilisearch_fake.state import AUTH, DEFAULTS, SYSTEM, Json, Refused, State

VERSION = "1.50.0"
_UID = re.compile(r"[A-Za-z0-9_-]{1,400}")


class Caller:
    """Who asks: a key, with the filters that a tenant token adds."""

    def __init__(self, key: Json, rules: dict[str, Any] | None = None) -> None:
        self._key, self._rules = key, rules

    def may(self, action: str, uid: str | None = None) -> bool:
        """Whether it may do this, to this index if it is about one."""
        actions = self._key["actions"]
        allowed = any(fnmatch.fnmatchcase(action, one) for one in actions)
        if uid is not None:
            allowed = allowed and _covers(self._key["indexes"], uid)
            if self._rules is not None:
                allowed = allowed and _covers(list(self._rules), uid)
        elif self._rules is not None:
            allowed = False
        return allowed and (self._rules is None or action == "search")

    def sees(self, uid: str | None) -> bool:
        """Whether tasks of this index are shown to it; those of none only to who may see all."""
        return self._key["indexes"] == ["*"] or (
            uid is not None and _covers(self._key["indexes"], uid)
        )

    def filter(self, uid: str) -> object:
        """What the token adds to searches of this index."""
        for pattern, rule in (self._rules or {}).items():
            if _covers([pattern], uid):
                return (rule or {}).get("filter")
        return None


def _covers(patterns: list[str], uid: str) -> bool:
    return any(fnmatch.fnmatchcase(uid, pattern) for pattern in patterns)


def identified(state: State, header: str) -> Caller:
    """The caller of this Authorization header. Refuses unknown, expired and forged ones."""
    if not header:
        raise Refused(
            401,
            "missing_authorization_header",
            "The Authorization header is missing. It must use the bearer authorization method.",
            AUTH,
        )
    given = header.removeprefix("Bearer ")
    if hmac.compare_digest(given.encode(), state.master_key.encode()):
        return Caller({"actions": ["*"], "indexes": ["*"]})
    key = next((key for key in state.keys.values() if key["key"] == given), None)
    rules = None
    if key is None:
        key, rules = _tenant(state, given)
    if key is None or _over(key["expiresAt"]):
        raise _no_such_key()
    return Caller(key, rules)


def _no_such_key() -> Refused:
    return Refused(403, "invalid_api_key", "The provided API key is invalid.", AUTH)


def _over(moment: str | None) -> bool:
    return moment is not None and dt.datetime.fromisoformat(moment) <= dt.datetime.now(dt.UTC)


def _tenant(state: State, token: str) -> tuple[Json | None, dict[str, Any] | None]:
    """The key and the rules of a tenant token, a JWT signed with that key."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        head, payload, signature = token.split(".")
        if json.loads(_unpadded(head)) != {"typ": "JWT", "alg": "HS256"}:
            return None, None
        claims = json.loads(_unpadded(payload))
        key = state.keys.get(claims["apiKeyUid"])
        if key is None or not {"search", "*"} & set(key["actions"]):
            return None, None
        signed = f"{head}.{payload}".encode()
        wanted = hmac.new(key["key"].encode(), signed, hashlib.sha256).digest()
        if not hmac.compare_digest(wanted, _unpadded(signature)):
            return None, None
        if claims.get("exp") is not None and claims["exp"] < time.time():
            return None, None
        rules = claims["searchRules"]
        return key, rules if isinstance(rules, dict) else dict.fromkeys(rules)
    return None, None


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Exchange:
    """One request and how it is answered."""

    def __init__(self, state: State, caller: Caller, query: dict[str, str], body: Any) -> None:
        self.state, self.caller, self.query, self.body = state, caller, query, body

    def need(self, action: str, uid: str | None = None) -> None:
        """Refuses a caller whose key does not allow this."""
        if uid is not None and not _UID.fullmatch(uid):
            raise Refused(400, "invalid_index_uid", f"`{uid}` is not a valid index uid.")
        if not self.caller.may(action, uid):
            raise _no_such_key()

    def fields(self, known: set[str]) -> Json:
        """The body, an object with no other fields than these."""
        if not isinstance(self.body, dict):
            raise Refused(400, "bad_request", "Invalid value type: expected an object")
        for name in self.body:
            if name not in known:
                raise Refused(400, "bad_request", f"Unknown field `{name}`")
        return self.body


Handler = Callable[..., tuple[int, Any]]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))

    def register(handler: Handler) -> Handler:
        ROUTES.append((method, pattern, handler))
        return handler

    return register


@route("GET", "/version")
def version(ask: Exchange) -> tuple[int, Any]:
    ask.need("version")
    return 200, {"pkgVersion": VERSION, "commitSha": "fake", "commitDate": "fake"}


@route("POST", "/keys")
def make_key(ask: Exchange) -> tuple[int, Any]:
    ask.need("keys.create")
    given = ask.fields({"uid", "name", "description", "actions", "indexes", "expiresAt"})
    for name in ("actions", "indexes", "expiresAt"):
        if name not in given:
            raise Refused(400, f"missing_api_key_{name}", f"Missing field `{name}`")
    return 201, ask.state.make_key(given)


@route("GET", "/keys")
def list_keys(ask: Exchange) -> tuple[int, Any]:
    ask.need("keys.get")
    keys = list(ask.state.keys.values())
    return 200, {"results": keys, "offset": 0, "limit": 20, "total": len(keys)}


@route("GET", "/keys/{uid}")
def read_key(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("keys.get")
    for key in ask.state.keys.values():
        if uid in (key["uid"], key["key"]):
            return 200, key
    raise Refused(404, "api_key_not_found", f"API key `{uid}` not found.")


@route("DELETE", "/keys/{uid}")
def drop_key(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("keys.delete")
    _, key = read_key(ask, uid)
    del ask.state.keys[key["uid"]]
    return 204, None


@route("POST", "/indexes")
def create(ask: Exchange) -> tuple[int, Any]:
    given = ask.fields({"uid", "primaryKey"})
    uid, key = given["uid"], given.get("primaryKey")
    ask.need("indexes.create", uid)
    return 202, ask.state.enqueue("indexCreation", uid, lambda: ask.state.create(uid, key))


@route("GET", "/indexes/{uid}")
def read_index(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("indexes.get", uid)
    index = ask.state.index(uid)
    times = {"createdAt": index.created, "updatedAt": index.updated}
    return 200, {"uid": uid, "primaryKey": index.primary_key, **times}


@route("DELETE", "/indexes/{uid}")
def drop(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("indexes.delete", uid)
    return 202, ask.state.enqueue("indexDeletion", uid, lambda: ask.state.delete(uid))


@route("GET", "/indexes/{uid}/stats")
def stats(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("stats.get", uid)
    index = ask.state.index(uid)
    busy = any(t["status"] == "processing" and t["indexUid"] == uid for t in ask.state.tasks)
    return 200, {
        "numberOfDocuments": len(index.documents),
        "rawDocumentDbSize": 0,
        "avgDocumentSize": 0,
        "isIndexing": busy,
        "numberOfEmbeddings": 0,
        "numberOfEmbeddedDocuments": 0,
        "fieldDistribution": {},
    }


@route("GET", "/indexes/{uid}/settings")
def read_settings(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("settings.get", uid)
    return 200, ask.state.index(uid).settings


@route("PATCH", "/indexes/{uid}/settings")
def configure(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("settings.update", uid)
    change = ask.fields(set(DEFAULTS))
    work = lambda: ask.state.configure(uid, change)  # noqa: E731
    return 202, ask.state.enqueue("settingsUpdate", uid, work)


@route("GET", "/indexes/{uid}/settings/synonyms")
def read_synonyms(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("settings.get", uid)
    return 200, ask.state.index(uid).settings["synonyms"]


@route("PUT", "/indexes/{uid}/settings/synonyms")
def put_synonyms(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("settings.update", uid)
    change = {"synonyms": ask.body}
    work = lambda: ask.state.configure(uid, change)  # noqa: E731
    return 202, ask.state.enqueue("settingsUpdate", uid, work)


@route("POST", "/indexes/{uid}/documents")
def add(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("documents.add", uid)
    documents = ask.body if isinstance(ask.body, list) else [ask.body]
    key = ask.query.get("primaryKey")
    ask.state.uploads.append((uid, len(documents)))
    return 202, ask.state.enqueue(
        "documentAdditionOrUpdate",
        uid,
        lambda: ask.state.add(uid, documents, key),
        lambda: ask.state.check_positions(documents),
    )


@route("GET", "/indexes/{uid}/documents")
def list_documents(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("documents.get", uid)
    found = list(ask.state.index(uid).documents.values())
    return 200, {"results": found[:20], "offset": 0, "limit": 20, "total": len(found)}


@route("POST", "/indexes/{uid}/documents/fetch")
def fetch(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("documents.get", uid)
    given = ask.fields({"offset", "limit", "fields", "filter", "ids", "sort", "retrieveVectors"})
    kept, ids = given.get("fields"), given.get("ids")
    documents = ask.state.index(uid).documents
    some = documents.values() if ids is None else [documents[i] for i in ids if i in documents]
    found = [{k: v for k, v in one.items() if kept is None or k in kept} for one in some]
    offset, limit = given.get("offset", 0), given.get("limit", 20)
    shown = found[offset : offset + limit]
    return 200, {"results": shown, "offset": offset, "limit": limit, "total": len(found)}


@route("POST", "/indexes/{uid}/documents/delete-batch")
def remove(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("documents.delete", uid)
    ids = list(ask.body)
    return 202, ask.state.enqueue("documentDeletion", uid, lambda: ask.state.remove(uid, ids))


@route("POST", "/swap-indexes")
def swap(ask: Exchange) -> tuple[int, Any]:
    for one in ask.body:
        for uid in one["indexes"]:
            ask.need("indexes.swap", uid)
    return 202, ask.state.enqueue("indexSwap", None, lambda: ask.state.swap(ask.body))


@route("GET", "/tasks")
def list_tasks(ask: Exchange) -> tuple[int, Any]:
    ask.need("tasks.get")
    statuses = ask.query.get("statuses", "").split(",")
    uids = ask.query.get("indexUids", "").split(",")
    found = [
        _shown(task)
        for task in reversed(ask.state.tasks)
        if ask.caller.sees(task["indexUid"])
        and not task.get("forgotten")
        and (statuses == [""] or task["status"] in statuses)
        and (uids == [""] or task["indexUid"] in uids)
    ]
    limit = int(ask.query.get("limit", 20))
    ends = {"from": found[0]["uid"] if found else None, "next": None}
    return 200, {"results": found[:limit], "total": len(found), "limit": limit, **ends}


@route("GET", "/tasks/{uid}")
def read_task(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("tasks.get")
    tasks, number = ask.state.tasks, int(uid)
    known = number < len(tasks) and not tasks[number].get("forgotten")
    if not known or not ask.caller.sees(tasks[number]["indexUid"]):
        raise Refused(404, "task_not_found", f"Task `{uid}` not found.")
    return 200, _shown(tasks[number])


def _shown(task: Json) -> Json:
    return {name: value for name, value in task.items() if name != "forgotten"}


@route("DELETE", "/tasks")
def drop_tasks(ask: Exchange) -> tuple[int, Any]:
    ask.need("tasks.delete")
    return 202, ask.state.enqueue("taskDeletion", None, dict)


@route("POST", "/dumps")
def dump(ask: Exchange) -> tuple[int, Any]:
    ask.need("dumps.create")
    return 202, ask.state.enqueue("dumpCreation", None, dict)


@route("POST", "/indexes/{uid}/search")
def search(ask: Exchange, uid: str) -> tuple[int, Any]:
    ask.need("search", uid)
    asked = {**ask.body, "indexUid": uid}
    return 200, searching.search(ask.state.index(uid), asked, ask.caller.filter(uid))


@route("POST", "/multi-search")
def multi_search(ask: Exchange) -> tuple[int, Any]:
    given = ask.fields({"queries", "federation"})
    for one in given["queries"]:
        ask.need("search", one["indexUid"])
    asked = [
        (ask.state.index(one["indexUid"]), one, ask.caller.filter(one["indexUid"]))
        for one in given["queries"]
    ]
    if given.get("federation") is not None:
        return 200, searching.federated(asked, given["federation"])
    return 200, {"results": [searching.search(*one) for one in asked]}


class Connection(BaseHTTPRequestHandler):
    """One connection. `state` is set by the server that listens."""

    protocol_version = "HTTP/1.1"
    timeout = 5  # of an idle connection, as on the server
    disable_nagle_algorithm = True
    state: State

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError):
            super().handle_one_request()
            return
        self.close_connection = True

    def answer(self) -> None:
        faults = self.state.faults
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(faults.slow_s)
        status, body, retry_after = self._result(content)
        if self.command != "GET" and status == 202 and faults.lost_answers:
            faults.lost_answers -= 1
            self.close_connection = True
            return
        sent = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        # Head and body in one packet.
        self._headers_buffer += [b"\r\n", sent]  # type: ignore[attr-defined]
        self.flush_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def _result(self, content: bytes) -> tuple[int, Any, str]:
        parts = urllib.parse.urlsplit(self.path)
        if parts.path == "/health":
            return 200, {"status": "available"}, ""
        with self.state.lock:
            self.state.asked += 1
            if self.state.faults.refused:
                status, retry_after = self.state.faults.refused.pop(0)
                code = "too_many_search_requests"
                return status, Refused(status, code, "Busy", SYSTEM).body(), retry_after
            try:
                status, body = self._routed(parts, content)
            except Refused as refused:
                return refused.status, refused.body(), ""
        return status, body, ""

    def _routed(self, parts: urllib.parse.SplitResult, content: bytes) -> tuple[int, Any]:
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(parts.path)
            if match and method == self.command:
                caller = identified(self.state, self.headers.get("Authorization", ""))
                query = dict(urllib.parse.parse_qsl(parts.query))
                body = self._body(content)
                return handler(Exchange(self.state, caller, query, body), **match.groupdict())
        raise Refused(404, "not_found", f"{self.command} {parts.path} is not there")

    def _body(self, content: bytes) -> Any:
        if self.command in ("GET", "DELETE"):
            return None
        kind = self.headers.get("Content-Type", "").partition(";")[0]
        if not kind:
            raise Refused(415, "missing_content_type", "A Content-Type header is missing.")
        try:
            if kind == "application/x-ndjson":
                return [json.loads(line) for line in content.splitlines() if line.strip()]
            if kind == "application/json":
                return json.loads(content)
        except ValueError as error:
            raise Refused(400, "malformed_payload", f"The payload is malformed. {error}") from error
        raise Refused(415, "invalid_content_type", f"The Content-Type `{kind}` is invalid.")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
