"""`python -m tests.new_migration NAME`: a migration for what the tables say and no other one makes.

It goes to `models/migrations/community_NNNN_NAME.py`. Statements of our own (indexes, triggers)
belong into a file of their own with the next number and a later ID: Piccolo runs the raw functions
of a migration before it makes the tables of the same one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from piccolo.apps.migrations.commands.new import new

from models import engine, migrate


def make(name: str) -> Path:
    """Have Piccolo write it, and give it the next number."""
    before = set(migrate.FOLDER.glob("community_*.py"))
    asyncio.run(_write(name.replace("_", " ")))
    made = set(migrate.FOLDER.glob("community_*.py")) - before
    if not made:
        raise SystemExit("the history says all that the tables do")
    number = max(int(path.stem.split("_")[1]) for path in before) + 1
    return made.pop().rename(migrate.FOLDER / f"community_{number:04}_{name}.py")


async def _write(description: str) -> None:
    # It only compares the tables with the history, but asks for the database in use.
    with tempfile.TemporaryDirectory() as directory:
        opened = engine.open_engine(f"sqlite:///{directory}/none.sqlite")
        await opened.start()
        engine.use(opened)
        await new("community", auto=True, desc=description, auto_input="y")
        await opened.close()


if __name__ == "__main__":
    print(make(sys.argv[1]))
