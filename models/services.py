"""The bilingual taxonomy of service types: data, kept in `service_types.json` and in a table."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, Literal, get_args

from msgspec import Struct, json
from piccolo.columns import Integer, Text, Varchar
from piccolo.table import Table

from models import base, engine, errors, values

AgeGroup = Literal["infants", "children", "teenagers", "adults", "elders"]
AGE_GROUPS: tuple[AgeGroup, ...] = get_args(AgeGroup)


class ServiceType(Table):
    """A kind of service that needs ask for and offerings give."""

    slug = Varchar(length=64, primary_key=True)
    category = Varchar(length=64, null=False)
    name_zh = Varchar(length=200, null=False)
    name_en = Varchar(length=200, null=False)
    # JSON: whom it is for.
    age_groups = Text(null=False)
    # JSON: {"zh": [...], "en": [...]}, other words people use for it.
    synonyms = Text(null=False)
    # JSON: weights of the score parts that differ from the defaults; their version below.
    weights = Text(null=False)
    weights_version = Integer(null=False)


class Synonyms(Struct, frozen=True):
    """Other words for a service type, by language."""

    zh: tuple[str, ...] = ()
    en: tuple[str, ...] = ()


class ServiceTypeRecord(Struct, frozen=True, kw_only=True):
    """A service type as it is read; `age_groups` are whom it is for, `weights` the score weights
    that differ from the defaults (and `half_m`, the metres at which the distance part halves)."""

    slug: str
    category: str
    name: values.Bilingual
    age_groups: tuple[AgeGroup, ...]
    synonyms: Synonyms = Synonyms()
    weights: dict[str, int] = {}
    weights_version: int = 1


@functools.cache
def shipped() -> tuple[ServiceTypeRecord, ...]:
    """The taxonomy that ships with the program."""
    text = resources.files("models").joinpath("service_types.json").read_bytes()
    return json.decode(text, type=tuple[ServiceTypeRecord, ...])


async def install() -> None:
    """Write the shipped taxonomy into the table; what is there already is brought up to date."""
    async with engine.unit_of_work():
        for service in shipped():
            await engine.execute(
                "INSERT INTO service_type"
                " (slug, category, name_zh, name_en, age_groups, synonyms, weights,"
                " weights_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
                " ON CONFLICT (slug) DO UPDATE SET category = excluded.category,"
                " name_zh = excluded.name_zh, name_en = excluded.name_en,"
                " age_groups = excluded.age_groups, synonyms = excluded.synonyms,"
                " weights = excluded.weights,"
                " weights_version = excluded.weights_version",
                service.slug,
                service.category,
                service.name.zh,
                service.name.en,
                base.pack(service.age_groups),
                base.pack(service.synonyms),
                base.pack(service.weights),
                service.weights_version,
            )


async def every() -> list[ServiceTypeRecord]:
    """The whole taxonomy, by slug."""
    return [_shape(row) for row in await engine.fetch("SELECT * FROM service_type ORDER BY slug")]


async def refer(field: str, slugs: tuple[str, ...]) -> list[ServiceTypeRecord]:
    """The named service types, in the order given. Refuses an unknown one, naming the field."""
    if not slugs:
        return []
    known = await engine.kept(_taxonomy, None, _by_slug) or {}
    for position, slug in enumerate(slugs):
        if slug not in known:
            place = f"{field}[{position}]" if field.endswith("s") else field
            raise errors.refuse_field(place, "unknown_reference", what="service type", value=slug)
    return [known[slug] for slug in slugs]


_taxonomy: engine.Memo[dict[str, ServiceTypeRecord]] = engine.Memo(("service_type",), 1)


async def _by_slug() -> dict[str, ServiceTypeRecord]:
    return {service.slug: service for service in await every()}


def _shape(row: dict[str, Any]) -> ServiceTypeRecord:
    return base.record(
        {
            **row,
            "name": {"zh": row["name_zh"], "en": row["name_en"]},
            "age_groups": json.decode(row["age_groups"]),
            "synonyms": json.decode(row["synonyms"]),
            "weights": json.decode(row["weights"]),
        },
        ServiceTypeRecord,
    )
