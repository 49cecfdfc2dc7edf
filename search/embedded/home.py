"""The directory of an index: which index in it counts, and what to do with the rest.

The index is only a cache of the database, so nothing here tries to repair. A file names the
index in use and what it was made with; whatever it does not name is left over from a crash or a
finished rebuild, and is removed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sqlite3
import tempfile
from importlib import metadata
from pathlib import Path

import msgspec
from msgspec import Struct

from search import analysis
from search.documents import Document
from search.embedded import textindex
from search.engine import SearchUnavailable

_FORMAT = "2"  # counts up when an index changes in a way that the rest of signature() misses
_STATE = "state.json"
_LOCK = "lock"
_PREFIX = "index-"


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """Which index is in use. `complete`: a rebuild has filled it; before that it wants one."""

    signature: str
    index: str
    complete: bool


class Home:
    """A directory that this process alone has open."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = _locked(directory)

    def state(self) -> State | None:
        """The index in use, unless it is gone or was made by another version of us."""
        try:
            state = msgspec.json.decode((self._directory / _STATE).read_bytes(), type=State)
        except (OSError, msgspec.MsgspecError):
            return None
        # Without its own list of files tantivy would begin a new index here, and not say so.
        usable = state.signature == signature() and (self.path(state.index) / "meta.json").exists()
        return state if usable else None

    def path(self, index: str) -> Path:
        return self._directory / index

    def begin(self) -> str:
        """An empty place for another index, also when the directory was removed under us."""
        if not (self._directory / _LOCK).exists():
            self._lock.close()
            self._lock = _locked(self._directory)
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._directory)).name

    def adopt(self, index: str, *, complete: bool) -> None:
        """From now on this index is the one in use, even if we are killed in the middle."""
        state = State(signature=signature(), index=index, complete=complete)
        fresh = self._directory / f"{_STATE}.new"
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._directory / _STATE)

    def sweep(self, keep: str) -> None:
        """Removes all other indexes. Files that cannot be removed now are tried next time."""
        for path in self._directory.glob(f"{_PREFIX}*"):
            if path.name != keep:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Lets another process have the directory."""
        self._lock.close()


@functools.cache
def signature() -> str:
    """Changes whenever an index made before can no longer be read as one made now."""
    parts = [
        _FORMAT,
        analysis.signature(),
        metadata.version("tantivy"),
        *textindex.FIELDS,
        msgspec.json.encode(msgspec.json.schema(Document)).decode(),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _locked(directory: Path) -> sqlite3.Connection:
    directory.mkdir(parents=True, exist_ok=True)
    return _lock(directory / _LOCK)


def _lock(path: Path) -> sqlite3.Connection:
    """An exclusive SQLite transaction: the standard library's only file lock that works on every
    system and ends with the process, however it ends.
    """
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise SearchUnavailable(f"{path.parent} is open in another process") from error
    except sqlite3.DatabaseError:
        connection.close()
        path.unlink()  # damaged: nobody can hold it, and it holds nothing
        return _lock(path)
    return connection
