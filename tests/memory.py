"""A place in memory for what waits for the disk. Knows nothing of the project: the supervisors of
the servers import it, too."""

from __future__ import annotations

import contextlib
import os
import shutil

# Containers often have 64 MB of it.
_LEAST = 2**30


def directory() -> str | None:
    """Where there is enough memory; None, which is where temporary files go, otherwise."""
    with contextlib.suppress(OSError):
        if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > _LEAST:
            return "/dev/shm"
    return None
