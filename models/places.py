"""Places: the tree municipality > district > subdistrict > community > grid > building."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

import msgspec
import shapely
import shapely.geometry
from msgspec import UNSET, Meta, Struct, UnsetType
from piccolo.columns import UUID, BigInt, ForeignKey, Integer, SmallInt, Text, Timestamptz, Varchar
from piccolo.table import Table

from models import base, engine, errors, outbox, values

PlaceKind = Literal["municipality", "district", "subdistrict", "community", "grid", "building"]
KINDS: tuple[str, ...] = get_args(PlaceKind)


class Place(Table):
    """A node of the tree. `area_m2` and the counts are the profile that coverage divides by."""

    id = UUID(primary_key=True)
    slug = Varchar(length=64, null=False)
    kind = Varchar(length=16, null=False)
    parent: ForeignKey[Any] = ForeignKey("self", null=True, default=None)
    name_zh = Varchar(length=200, null=False)
    name_en = Varchar(length=200, null=False)
    population = Integer(null=True, default=None)
    households = Integer(null=True, default=None)
    area_m2 = BigInt(null=True, default=None)
    boundary = Text(null=True, default=None)
    lat_e6 = Integer(null=True, default=None)
    lon_e6 = Integer(null=True, default=None)
    timezone = Varchar(length=64, null=False)
    status = Varchar(length=16, null=False)
    version = Integer(null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)


class PlaceClosure(Table):
    """Every (ancestor, descendant) pair, each place its own at depth 0: one join asks a subtree."""

    id = UUID(primary_key=True)
    ancestor = ForeignKey(Place, null=False)
    descendant = ForeignKey(Place, null=False)
    depth = SmallInt(null=False)


class PlaceDraft(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is said of a new place. Population and households are people and doors; m² of area."""

    slug: values.Slug
    kind: PlaceKind
    parent_id: uuid.UUID | None = None
    name: values.Bilingual
    population: Annotated[int, Meta(ge=0, le=100_000_000)] | None = None
    households: Annotated[int, Meta(ge=0, le=100_000_000)] | None = None
    area_m2: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    boundary: dict[str, Any] | None = None
    location: values.Point | None = None
    timezone: values.Timezone = "Asia/Shanghai"

    def __post_init__(self) -> None:
        values.check_zone(self.timezone)


class PlaceChange(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may change of a place. Its slug, kind and parent are its identity and stay."""

    name: values.Bilingual | UnsetType = UNSET
    population: Annotated[int, Meta(ge=0, le=100000000)] | UnsetType | None = UNSET
    households: Annotated[int, Meta(ge=0, le=100000000)] | UnsetType | None = UNSET
    area_m2: Annotated[int, Meta(ge=0, le=10**12)] | UnsetType | None = UNSET
    boundary: dict[str, Any] | UnsetType | None = UNSET
    location: values.Point | UnsetType | None = UNSET
    timezone: values.Timezone | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.timezone is not UNSET:
            values.check_zone(self.timezone)


class Located(Struct, frozen=True):
    """Where a place says that it is, if it does."""

    location: values.Point | None


class PlaceRecord(Struct, kw_only=True):
    """A place as it is read. `location` is its centroid unless one was given."""

    id: uuid.UUID
    slug: str
    kind: PlaceKind
    parent_id: uuid.UUID | None
    name: values.Bilingual
    population: int | None
    households: int | None
    area_m2: int | None
    boundary: dict[str, Any] | None
    location: values.Point | None
    timezone: str
    status: Literal["active", "withdrawn"]
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


async def found(draft: PlaceDraft) -> PlaceRecord:
    """Add a place to the tree. Refuses a taken slug, a wrong parent, an invalid polygon."""
    parent = await _parent(draft)
    boundary, location = _geometry(draft.boundary, draft.location)
    moment = base.now()
    place_id = base.new_id()
    async with engine.unit_of_work() as work:
        if await engine.fetch("SELECT 1 FROM place WHERE slug = $1", draft.slug):
            raise errors.refuse_field("slug", "taken", value=draft.slug)
        await Place.insert(
            Place(
                id=place_id,
                slug=draft.slug,
                kind=draft.kind,
                parent=parent,
                status="active",
                version=1,
                created_at=moment,
                updated_at=moment,
                **_profile(draft, boundary, location),
            )
        )
        await _link(place_id, parent)
        await outbox.append(work, "place.changed", place_id, place=place_id, action="place.founded")
        return await read(place_id)


async def change(place: PlaceRecord, change: PlaceChange) -> PlaceRecord:
    """Apply a change to the profile. The caller holds the version it read (If-Match)."""
    draft = msgspec.convert(
        {**_as_draft(place), **base.given(change)}, PlaceDraft, from_attributes=True
    )
    boundary, location = _geometry(draft.boundary, draft.location)
    async with engine.unit_of_work() as work:
        await base.update(Place, place, _profile(draft, boundary, location))
        await outbox.append(work, "place.changed", place.id, place=place.id)
        return await read(place.id)


async def withdraw(place: PlaceRecord) -> PlaceRecord:
    """Take a place out of use. Refuses while places below it are active."""
    below = await engine.fetch(
        "SELECT count(*) AS n FROM place WHERE parent = $1 AND status = 'active'", place.id
    )
    if below[0]["n"]:
        raise errors.Refusal("in_use", what=f"{below[0]['n']} place")
    async with engine.unit_of_work() as work:
        await base.update(Place, place, {"status": "withdrawn"})
        await outbox.append(
            work, "place.changed", place.id, place=place.id, action="place.withdrawn"
        )
        return await read(place.id)


async def read(place_id: uuid.UUID) -> PlaceRecord:
    """One place, or the not-found refusal."""
    rows = await engine.fetch("SELECT * FROM place WHERE id = $1", place_id)
    if not rows:
        raise errors.not_found()
    return shape(rows[0])


async def browse(
    *,
    after: uuid.UUID | None,
    limit: int,
    kind: str | None = None,
    within: uuid.UUID | None = None,
    parent: uuid.UUID | None = None,
    slug: str | None = None,
) -> list[PlaceRecord]:
    """Up to `limit` active places, newest first; places are public."""
    where = base.Where()
    where.add("status = 'active'")
    if kind:
        where.add("kind = {}", kind)
    if within:
        where.within("id", within)
    if parent:
        where.add("parent = {}", parent)
    if slug:
        where.add("slug = {}", slug)
    where.page("id", after)
    rows = await engine.fetch(
        f"SELECT * FROM place WHERE {where} ORDER BY id DESC LIMIT {int(limit)}",
        *where.args,
    )
    return [shape(row) for row in rows]


_lineages: engine.Memo[tuple[uuid.UUID, ...]] = engine.Memo(("place_closure",), 10_000)
_locations: engine.Memo[Located] = engine.Memo(("place",), 10_000)


async def ancestors(place_id: uuid.UUID) -> tuple[uuid.UUID, ...]:
    """The place itself and everything above it, nearest first."""
    return await engine.kept(_lineages, place_id, lambda: _lineage(place_id)) or ()


async def _lineage(place_id: uuid.UUID) -> tuple[uuid.UUID, ...] | None:
    rows = await engine.rows(
        "SELECT ancestor FROM place_closure WHERE descendant = $1 ORDER BY depth", place_id
    )
    return tuple(base.as_id(ancestor) for (ancestor,) in rows) or None


async def located(place_id: uuid.UUID) -> Located | None:
    """Where a place says that it is; None if there is no such place."""
    return await engine.kept(_locations, place_id, lambda: _location(place_id))


async def _location(place_id: uuid.UUID) -> Located | None:
    rows = await engine.rows("SELECT lat_e6, lon_e6 FROM place WHERE id = $1", place_id)
    return Located(values.point(*rows[0])) if rows else None


async def public_places(place_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """What everybody may know of where a home is: of a building what it stands in, of every other
    place itself."""
    asked = sorted(set(place_ids))
    if not asked:
        return {}
    rows = await engine.rows(
        "SELECT id, CASE WHEN kind = 'building' THEN parent ELSE id END FROM place"
        f" WHERE id IN ({base.placeholders(len(asked))})",
        *asked,
    )
    return {base.as_id(place): base.as_id(public) for place, public in rows}


async def timezones(place_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The time zone of each place."""
    asked = sorted(set(place_ids))
    if not asked:
        return {}
    rows = await engine.rows(
        f"SELECT id, timezone FROM place WHERE id IN ({base.placeholders(len(asked))})", *asked
    )
    return {base.as_id(place): zone for place, zone in rows}


async def names_of(slugs: Iterable[str], tongue: Literal["zh", "en"]) -> dict[str, str]:
    """What the places with these slugs are called in a language."""
    asked = sorted(slugs)
    if not asked:
        return {}
    rows: list[tuple[str, str]] = await engine.rows(
        f"SELECT slug, name_{tongue} FROM place WHERE slug IN ({base.placeholders(len(asked))})",
        *asked,
    )
    return dict(rows)


def shape(row: dict[str, Any]) -> PlaceRecord:
    """A row of `place` as a record."""
    return base.record(
        {
            **row,
            "parent_id": row["parent"],
            "name": {"zh": row["name_zh"], "en": row["name_en"]},
            "boundary": row["boundary"] and msgspec.json.decode(row["boundary"]),
            "location": values.point(row["lat_e6"], row["lon_e6"]),
        },
        PlaceRecord,
    )


async def _parent(draft: PlaceDraft) -> uuid.UUID | None:
    level = KINDS.index(draft.kind)
    if draft.parent_id is None:
        if level == 0:
            return None
        raise errors.refuse_field(
            "parent_id", "wrong_parent", kind=draft.kind, needed=", ".join(KINDS[:level])
        )
    rows = await engine.fetch(
        "SELECT kind FROM place WHERE id = $1 AND status = 'active'", draft.parent_id
    )
    if not rows:
        raise errors.refuse_field(
            "parent_id", "unknown_reference", what="place", value=str(draft.parent_id)
        )
    if KINDS.index(rows[0]["kind"]) >= level:
        raise errors.refuse_field(
            "parent_id",
            "wrong_parent",
            kind=draft.kind,
            needed=", ".join(KINDS[:level]) or "(none)",
        )
    return draft.parent_id


async def _link(place_id: uuid.UUID, parent: uuid.UUID | None) -> None:
    lineage = [place_id, *(await ancestors(parent) if parent else [])]
    await PlaceClosure.insert(
        *(
            PlaceClosure(id=base.new_id(), ancestor=above, descendant=place_id, depth=depth)
            for depth, above in enumerate(lineage)
        )
    )


def _geometry(
    boundary: dict[str, Any] | None, location: values.Point | None
) -> tuple[str | None, values.Point | None]:
    """Check a boundary, and fall back to its centroid for the location."""
    if boundary is None:
        return None, location
    if boundary.get("type") not in ("Polygon", "MultiPolygon"):
        raise errors.refuse_field(
            "boundary", "invalid_polygon", reason=f"type is {str(boundary.get('type'))[:40]!r}"
        )
    try:
        shape = shapely.geometry.shape(boundary)
        problem = shapely.is_valid_reason(shape)
        west, south, east, north = shape.bounds
    except Exception as error:  # shapely raises many kinds for garbage; all mean the same here
        raise errors.refuse_field(
            "boundary", "invalid_polygon", reason=str(error)[:200] or "unreadable coordinates"
        ) from None
    if shape.is_empty or problem != "Valid Geometry":
        raise errors.refuse_field("boundary", "invalid_polygon", reason=problem[:200])
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise errors.refuse_field(
            "boundary", "invalid_polygon", reason="longitude within ±180 and latitude within ±90"
        )
    if location is None:
        location = values.Point(lat=shape.centroid.y, lon=shape.centroid.x)
    return base.pack(boundary), location


def _profile(
    draft: PlaceDraft, boundary: str | None, location: values.Point | None
) -> dict[str, Any]:
    return {
        "name_zh": draft.name.zh,
        "name_en": draft.name.en,
        "population": draft.population,
        "households": draft.households,
        "area_m2": draft.area_m2,
        "boundary": boundary,
        "timezone": draft.timezone,
        **values.position(location),
    }


def _as_draft(place: PlaceRecord) -> dict[str, Any]:
    return {name: getattr(place, name) for name in PlaceDraft.__struct_fields__}
