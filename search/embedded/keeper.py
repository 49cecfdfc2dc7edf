"""The index in use and the one being rebuilt beside it. Belongs to the writing thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.documents import Document
from search.embedded.damage import is_damage
from search.embedded.home import Home
from search.embedded.store import Store, View
from search.engine import Failure, Op, SearchUnavailable, Upsert


class Beside:
    """An index being rebuilt, and the name of its place."""

    def __init__(self, index: str, store: Store) -> None:
        self.index = index
        self.store = store


class Keeper:
    """Opens a directory (None: memory) and keeps exactly one index in use in it.

    `empty`: that index wants a rebuild. It began from nothing and none has filled it yet, or its
    files are gone or damaged.
    """

    def __init__(self, directory: Path | None) -> None:
        self._home = Home(directory) if directory else None
        self._beside: Beside | None = None
        self._found_damage = False
        try:
            self._index, self.store, self.empty = self._open()
        except BaseException:
            self._close_home()
            raise

    @property
    def rebuilding(self) -> bool:
        return self._beside is not None

    def write(self, batches: Sequence[Sequence[Op]]) -> list[tuple[Failure, ...]]:
        """Makes batches of writes searchable; their failures in order.

        Raises if anything kept all of them out, such as a full disk; they may be written again.
        """
        try:
            failures = [tuple(self.store.stage(ops)) for ops in batches]
            self.store.publish()
        except BaseException:
            # Removed under us: what is open is still read, and never written again.
            self.empty |= self._home is not None and self._home.state() is None
            self.store.revert()
            raise
        if self._beside is not None:
            self._write_beside(self._beside, batches)
        return failures

    def found_damage(self) -> None:
        """Somebody could not read it. Once, because what a new index does not mend is no damage."""
        self.empty |= not self._found_damage
        self._found_damage = True

    def begin_rebuild(self) -> Beside:
        """Starts an empty index beside the one in use, in place of any other."""
        if self._beside is not None:
            self.drop(self._beside)
        index = self._home.begin() if self._home else ""
        self._beside = Beside(index, self._store(index))
        return self._beside

    def add(self, beside: Beside, documents: Sequence[Document]) -> tuple[Failure, ...]:
        """Adds documents to the index beside, unless it has seen newer ones."""
        self._check(beside)
        return tuple(beside.store.stage([Upsert(document) for document in documents]))

    def settle(self, beside: Beside) -> View:
        """Makes what has been added so far readable, to nobody yet but who asks here."""
        self._check(beside)
        beside.store.publish()
        return beside.store.view

    def swap(self, beside: Beside) -> None:
        """Puts the index beside in the place of the one in use."""
        self._check(beside)
        beside.store.publish()
        if self._home is not None:
            self._home.adopt(beside.index, complete=True)
        old, self.store = self.store, beside.store
        self._index, self.empty = beside.index, False
        self._finish(beside, old)

    def drop(self, beside: Beside) -> None:
        """Gives up the index beside, unless it is in use or gone already."""
        if self._beside is beside:
            self._finish(beside, beside.store)

    def close(self) -> None:
        """Lets go of everything."""
        try:
            if self._beside is not None:
                self.drop(self._beside)
            self.store.close()
        finally:
            self._close_home()

    def _open(self) -> tuple[str, Store, bool]:
        if self._home is None:
            return "", Store(None), True
        state = self._home.state()
        if state is not None:
            try:
                store = self._store(state.index)
            except BaseException as error:
                if not is_damage(error):
                    raise
            else:
                self._home.sweep(keep=state.index)
                return state.index, store, not state.complete
        index = self._home.begin()
        self._home.sweep(keep=index)
        self._home.adopt(index, complete=False)
        return index, self._store(index), True

    def _store(self, index: str) -> Store:
        return Store(self._home.path(index) if self._home else None)

    def _write_beside(self, beside: Beside, batches: Sequence[Sequence[Op]]) -> None:
        try:
            for ops in batches:
                beside.store.stage(ops)
        except BaseException:
            # The rebuild has lost a write and is worth nothing; the writes themselves are safe.
            self.drop(beside)

    def _finish(self, beside: Beside, unused: Store) -> None:
        self._beside = None
        del beside.store  # whoever still holds the rebuild must not keep the index open
        unused.close()
        if self._home is not None:
            self._home.sweep(keep=self._index)

    def _check(self, beside: Beside) -> None:
        if self._beside is not beside:
            raise SearchUnavailable("this rebuild was finished, aborted or overtaken")

    def _close_home(self) -> None:
        if self._home is not None:
            self._home.close()
