"""What the server keeps: indexes, keys, and the queue of tasks that one thread works through.

A write is answered before it is done. Writes of documents to the same index that wait together
are done together, and a document whose `_geo` cannot be read fails all of them; one with a bad id
fails the upload it is in. Everything here survives `stop` and `start`, as files would.
"""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import hmac
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.meilisearch_fake import texts

Json = dict[str, Any]

INVALID, SYSTEM, AUTH = "invalid_request", "system", "auth"
DOCUMENT_KINDS = ("documentAdditionOrUpdate", "documentDeletion")
DEFAULTS: Json = {
    "displayedAttributes": ["*"],
    "searchableAttributes": ["*"],
    "filterableAttributes": [],
    "sortableAttributes": [],
    "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness"],
    "stopWords": [],
    "synonyms": {},
    "localizedAttributes": None,
    "typoTolerance": {"enabled": True, "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9}},
    "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
    "pagination": {"maxTotalHits": 1000},
}
_ID = re.compile(r"[A-Za-z0-9_-]{1,511}")


class Refused(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status: int, code: str, message: str, kind: str = INVALID) -> None:
        super().__init__(message)
        self.status, self.code, self.kind = status, code, kind

    def body(self) -> Json:
        link = f"https://docs.meilisearch.com/errors#{self.code}"
        return {"message": str(self), "code": self.code, "type": self.kind, "link": link}


class Index:
    """Documents by id, settings, and the words of each document as they are searched."""

    def __init__(self, primary_key: str | None) -> None:
        self.primary_key = primary_key
        self.created = self.updated = _now()
        self.settings = copy.deepcopy(DEFAULTS)
        self.documents: dict[str, Json] = {}
        self._words: dict[str, list[texts.Field]] = {}

    def configure(self, change: Json) -> None:
        """Takes new settings; null puts a default back."""
        for name, value in change.items():
            default = DEFAULTS[name]
            if value is None:
                self.settings[name] = copy.deepcopy(default)
            elif isinstance(default, dict) and name != "synonyms":
                self.settings[name] = {**self.settings[name], **value}
            else:
                self.settings[name] = value
        self._words.clear()

    def put(self, id: str, document: Json) -> None:
        self.documents[id] = document
        self._words.pop(id, None)

    def drop(self, id: str) -> None:
        self.documents.pop(id, None)
        self._words.pop(id, None)

    def words(self, id: str) -> list[texts.Field]:
        """The words of a document's searchable fields, in order of weight."""
        known = self._words.get(id)
        if known is None:
            document = self.documents[id]
            names = self.settings["searchableAttributes"]
            names = list(document) if names == ["*"] else names
            exact = self.settings["typoTolerance"].get("disableOnAttributes") or []
            known = self._words[id] = [
                texts.field_tokens(document.get(name), exact=name in exact) for name in names
            ]
        return known


class Faults:
    """What goes wrong, until it is put right. Counts count down."""

    def __init__(self) -> None:
        self.lost_answers = 0  # accepted, but the connection ends before the answer
        self.refused: list[tuple[int, str]] = []  # a status and a Retry-After for each request
        self.disk_full = False
        self.slow_s = 0.0  # before each answer
        self.task_s = 0.0  # for each batch of tasks


class State:
    """Everything on the server. `lock` guards all of it."""

    def __init__(self, master_key: str) -> None:
        self.master_key = master_key
        self.lock = threading.RLock()
        self.indexes: dict[str, Index] = {}
        self.keys: dict[str, Json] = {}
        self.tasks: list[Json] = []
        self.faults = Faults()
        self.uploads: list[tuple[str, int]] = []  # of documents: the index, and how many
        self.asked = 0  # requests so far
        self._work: dict[int, Callable[[], Json]] = {}
        self._check: dict[int, Callable[[], None]] = {}
        self._queued = threading.Condition(self.lock)
        self._running = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to work on the queue."""
        self._running = True
        self._thread = threading.Thread(target=self._process, daemon=True, name="fake-meili-tasks")
        self._thread.start()

    def stop(self) -> None:
        """Stops in the middle of the queue; what waits, waits for `start`."""
        with self.lock:
            self._running = False
            self._queued.notify_all()
        if self._thread:
            self._thread.join()

    def snapshot(self) -> Callable[[], None]:
        """Remembers everything as it is now; call the answer to be back there."""
        with self.lock:
            kept = copy.deepcopy((self.indexes, self.tasks))

        def restore() -> None:
            with self.lock:
                self.indexes, self.tasks = copy.deepcopy(kept)
                self._work.clear()

        return restore

    def forget_tasks(self) -> None:
        """As if old tasks had been deleted: whoever asks for them is told there are none."""
        with self.lock:
            for task in self.tasks:
                if task["status"] not in ("enqueued", "processing"):
                    task["forgotten"] = True

    def index(self, uid: str) -> Index:
        """The index of this name. Refuses one that is not there."""
        if uid not in self.indexes:
            raise Refused(404, "index_not_found", f"Index `{uid}` not found.")
        return self.indexes[uid]

    def enqueue(
        self,
        kind: str,
        uid: str | None,
        work: Callable[[], Json],
        check: Callable[[], None] | None = None,
    ) -> Json:
        """Queues a task and answers its summary. `check` is asked first, for all of a batch."""
        with self.lock:
            task: Json = {
                "uid": len(self.tasks),
                "batchUid": None,
                "indexUid": uid,
                "status": "enqueued",
                "type": kind,
                "canceledBy": None,
                "details": None,
                "error": None,
                "duration": None,
                "enqueuedAt": _now(),
                "startedAt": None,
                "finishedAt": None,
            }
            self.tasks.append(task)
            self._work[task["uid"]] = work
            if check:
                self._check[task["uid"]] = check
            self._queued.notify_all()
        names = ("indexUid", "status", "type", "enqueuedAt")
        return {"taskUid": task["uid"], **{name: task[name] for name in names}}

    def _process(self) -> None:
        while True:
            with self.lock:
                batch = self._next_batch()
                while self._running and not batch:
                    self._queued.wait()
                    batch = self._next_batch()
                if not self._running:
                    return
                for task in batch:
                    task |= {"status": "processing", "startedAt": _now()}
            time.sleep(max(self.faults.task_s, 0.001))
            with self.lock:
                if not self._running:
                    for task in batch:
                        task["status"] = "enqueued"
                    return
                self._carry_out(batch)

    def _next_batch(self) -> list[Json]:
        waiting = [task for task in self.tasks if task["status"] == "enqueued"]
        batch = waiting[:1]
        if batch and batch[0]["type"] in DOCUMENT_KINDS:
            for task in waiting[1:]:
                if task["type"] not in DOCUMENT_KINDS or task["indexUid"] != batch[0]["indexUid"]:
                    break
                batch.append(task)
        return batch

    def _carry_out(self, batch: list[Json]) -> None:
        try:
            if self.faults.disk_full:
                raise Refused(422, "no_space_left_on_device", "No space left on device", SYSTEM)
            for task in batch:
                if task["uid"] in self._check:
                    self._check[task["uid"]]()
        except Refused as refused:
            for task in batch:
                self._finish(task, refused)
            return
        for task in batch:
            self._finish(task, None)

    def _finish(self, task: Json, refused: Refused | None) -> None:
        work = self._work.pop(task["uid"])
        self._check.pop(task["uid"], None)
        if refused is None:
            try:
                task["details"] = work()
            except Refused as other:
                refused = other
        task["status"] = "failed" if refused else "succeeded"
        task["error"] = refused and refused.body()
        task |= {"finishedAt": _now(), "duration": "PT0.001S", "batchUid": task["uid"]}

    # What tasks do

    def create(self, uid: str, primary_key: str | None) -> Json:
        if uid in self.indexes:
            raise Refused(409, "index_already_exists", f"Index `{uid}` already exists.")
        self.indexes[uid] = Index(primary_key)
        return {"primaryKey": primary_key}

    def delete(self, uid: str) -> Json:
        gone = self.index(uid)
        del self.indexes[uid]
        return {"deletedDocuments": len(gone.documents)}

    def configure(self, uid: str, change: Json) -> Json:
        self.indexes.setdefault(uid, Index(None)).configure(change)
        return change

    def swap(self, swaps: list[Json]) -> Json:
        for swap in swaps:
            first, second = swap["indexes"]
            if swap.get("rename"):
                if second in self.indexes:
                    raise Refused(409, "index_already_exists", f"Index `{second}` already exists.")
                self.indexes[second] = self.index(first)
                del self.indexes[first]
            else:
                one, other = self.index(first), self.index(second)
                self.indexes[first], self.indexes[second] = other, one
        return {"swaps": swaps}

    def add(self, uid: str, documents: list[Json], primary_key: str | None) -> Json:
        index = self.indexes.setdefault(uid, Index(primary_key or "id"))
        key = index.primary_key = index.primary_key or primary_key or "id"
        for document in documents:
            self._check_id(document, key)
        for document in documents:
            index.put(str(document[key]), document)
        index.updated = _now()
        return {"receivedDocuments": len(documents), "indexedDocuments": len(documents)}

    def check_positions(self, documents: list[Json]) -> None:
        """Refuses a `_geo` that is no position: this fails everything done together with it."""
        for document in documents:
            at = document.get("_geo")
            if at is None:
                continue
            if not isinstance(at, dict) or not {"lat", "lng"} <= at.keys():
                wrong = "Could not find latitude nor longitude"
            elif not all(isinstance(at[name], int | float) for name in ("lat", "lng")):
                wrong = "Could not parse latitude nor longitude"
            else:
                continue
            raise Refused(
                400,
                "invalid_document_geo_field",
                f"{wrong} in the `_geo` field of the document `{document.get('id')}`.",
            )

    def remove(self, uid: str, ids: list[str]) -> Json:
        index = self.index(uid)
        found = [id for id in map(str, ids) if id in index.documents]
        for id in found:
            index.drop(id)
        return {"providedIds": len(ids), "deletedDocuments": len(found)}

    def _check_id(self, document: Json, key: str) -> None:
        if key not in document:
            raise Refused(
                400, "missing_document_id", f"Document doesn't have a `{key}` attribute: …"
            )
        id = document[key]
        if isinstance(id, bool | float) or not _ID.fullmatch(str(id)):
            raise Refused(400, "invalid_document_id", f"Document identifier `{id!r}` is invalid.")

    # Keys

    def make_key(self, given: Json) -> Json:
        uid = given.get("uid") or str(uuid.uuid4())
        if uid in self.keys:
            raise Refused(
                409, "api_key_already_exists", f"`uid` field value `{uid}` is already an API key."
            )
        value = hmac.new(self.master_key.encode(), uid.encode(), hashlib.sha256).hexdigest()
        now = _now()
        self.keys[uid] = {
            "name": given.get("name"),
            "description": given.get("description"),
            "key": value,
            "uid": uid,
            "actions": given["actions"],
            "indexes": given["indexes"],
            "expiresAt": given["expiresAt"],
            "createdAt": now,
            "updatedAt": now,
        }
        return self.keys[uid]


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
