"""A file that one process holds at a time; the system lets go of it when the process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from models.engine.errors import DatabaseBusy

if sys.platform == "win32":
    import msvcrt

    def _hold(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _hold(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockFile:
    """Held from construction to `release()`; refuses with DatabaseBusy while somebody holds it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _hold(self._descriptor)
        except OSError as problem:
            os.close(self._descriptor)
            raise DatabaseBusy(
                f"another process is serving this SQLite file and holds {path}: stop it first, "
                "or use PostgreSQL (DATABASE_URL=postgres://…) for several processes"
            ) from problem

    def release(self) -> None:
        # The file stays: deleting it would let two processes hold two files of one name.
        os.close(self._descriptor)
