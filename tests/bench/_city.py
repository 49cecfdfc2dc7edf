"""The synthetic city for benchmarks and tests, as of one day, and needs to ask of it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any

from piccolo.table import Table

from models import base, demo, engine, needs
from models.demo import citizens, city, settling

TODAY = dt.datetime(2026, 11, 4, 4, tzinfo=dt.UTC)
KINDS = tuple(city.ZHANGGONG.offers)


class City:
    """So many offerings, and what surrounds them. `asks` makes any number of needs."""

    def __init__(self, size: int) -> None:
        self._made = city.City(size, TODAY.date())
        self.root = self._made.municipality
        self.communities = self._made.communities

    async def settle(self) -> None:
        """Write all of it into the migrated database in use, which must be empty."""
        before, base.clock = base.clock, lambda: TODAY
        try:
            await demo.settle(self._made.size)
        finally:
            base.clock = before

    def asks(self, count: int) -> list[tuple[uuid.UUID, needs.NeedDraft]]:
        """So many needs of one slot each; the same ones whenever it is asked."""
        return citizens.asks(self._made, count)

    async def post(self, asked: Iterable[tuple[uuid.UUID, needs.NeedDraft]]) -> None:
        """Write needs into the database in use."""
        ((account,),) = await engine.rows("SELECT id FROM account WHERE login = 'secretary@demo'")
        rows = [
            {"id": identity, "place": draft.place_id, "public_place": draft.place_id}
            | {"posted_by": base.as_id(account), "service_type": draft.service_type}
            | needs.columns(draft)
            for identity, draft in asked
        ]
        await copy(needs.Need, rows)


async def copy(table: type[Table], rows: list[dict[str, Any]]) -> None:
    """Many rows at once; a column that a row leaves out has its default, moments are today."""
    await settling.write({table: rows}, TODAY)
