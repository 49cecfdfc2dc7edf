"""The synthetic city on its way into an empty database, a few thousand offerings at a time."""

from __future__ import annotations

import datetime as dt
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence

from piccolo.table import Table

from models import accounts, audit, base, engine, errors, needs, offerings, partners, places
from models.demo import citizens, loader, town
from models.demo.city import City, Row

_ZONE = zoneinfo.ZoneInfo("Asia/Shanghai")
# In the order in which they refer to each other.
_TABLES = (
    partners.Partner,
    offerings.Offering,
    offerings.OfferingService,
    partners.Credential,
    offerings.ServiceRecord,
    needs.Need,
)
# Offerings in one transaction: some 30 MB of rows.
_AT_ONCE = 5_000
_SECRETARY, _OFFICER, _OPERATOR = "secretary@demo", "officer@demo", "operator@demo"


async def settle(size: int, progress: Callable[[int, int], None] | None = None) -> City:
    """Write a city of so many offerings into a migrated database.

    The demo accounts have their roles in its first community. Rows go straight into the tables,
    with all that the verbs would write but the outbox and an audit row each: the index is built
    when the server starts. Refuses with `in_use` unless the database is empty.
    """
    if not await loader.wanted():
        raise errors.Refusal("in_use", what="data")
    moment = base.now()
    made = City(size, moment.astimezone(_ZONE).date())
    people = await _people()
    official = citizens.Official(people[_SECRETARY], moment)
    await _places(made, moment)
    await _appoint(made, people)
    done, waiting = 0, 0
    rows: dict[type[Table], list[Row]] = {table: [] for table in _TABLES}
    for community in made.communities:
        for table, several in citizens.Filling(community, made.today, official).rows.items():
            rows[table] += several
        waiting += community.size
        if waiting >= _AT_ONCE or done + waiting == size:
            await write(rows, moment)
            for several in rows.values():
                several.clear()
            done, waiting = done + waiting, 0
            if progress:
                progress(done, size)
    await _finish(made)
    return made


async def _people() -> dict[str, uuid.UUID]:
    """The demo's accounts, so that somebody can sign in."""
    return {
        person.login: await accounts.register(person.login, town.PASSWORD, person.name)
        for person in town.PEOPLE
    }


async def _places(made: City, moment: dt.datetime) -> None:
    rows: list[Row] = []
    closure: list[Row] = []
    for row, above in made.place_rows():
        rows.append({"timezone": "Asia/Shanghai", "status": "active"} | row)
        for depth, ancestor in enumerate((row["id"], *above)):
            pair = {"ancestor": ancestor, "descendant": row["id"], "depth": depth}
            closure.append({"id": base.new_id(), **pair})
    await write({places.Place: rows, places.PlaceClosure: closure}, moment)


async def _appoint(made: City, people: dict[str, uuid.UUID]) -> None:
    first = made.communities[0]
    above = await places.read(first.id)
    at = {"qiaobei": first.id, "qiaobei-grid-1": first.grids[0], "guanyinqiao": above.parent_id}
    for person in town.PEOPLE:
        if person.role != "partner_staff":  # there is no partner that is theirs
            place = at[person.place] if person.place else None
            await accounts.grant(people[person.login], person.role, place=place)


async def write(rows: Mapping[type[Table], Sequence[Row]], moment: dt.datetime) -> None:
    """Many rows at once, in one transaction; a column that a row leaves out has its default, and
    was written at `moment`."""
    await engine.copy([_load(table, several, moment) for table, several in rows.items()])


def _load(table: type[Table], rows: Sequence[Row], moment: dt.datetime) -> engine.Load:
    columns = [column._meta.db_column_name for column in table._meta.columns]
    blank: Row = {}
    for column in table._meta.columns:
        blank[column._meta.db_column_name] = (
            None if column._meta.null else column.get_default_value()
        )
    blank |= {"version": 1, "created_at": moment, "updated_at": moment}
    return (
        table._meta.tablename,
        columns,
        [tuple((blank | row)[name] for name in columns) for row in rows],
    )


async def _finish(made: City) -> None:
    """One line in the audit trail for all of it; and PostgreSQL looks at what it has now."""
    async with engine.unit_of_work():
        await audit.append("city.settled", made.municipality, offerings=made.size)
    if engine.current().dialect == "postgres":
        await engine.execute("ANALYZE")
