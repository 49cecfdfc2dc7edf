"""Types as JSON Schema 2020-12: msgspec's own word, mended where others would misread it.

msgspec states limits, patterns, defaults, discriminators and `additionalProperties: false` as it
enforces them. What is left to mend: its patterns are Python's, `datetime` has no format, and
docstrings are indented.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import inspect as kinds

from api.documentation import endpoints, tables

Json = dict[str, Any]
_LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_items": "minItems",
    "max_items": "maxItems",
    "pattern": "pattern",
}


class Schemas:
    """The schemas of these types; what structs they share is in `components`, by name."""

    def __init__(self, types: Iterable[Any]):
        wanted = list(dict.fromkeys(types))
        found, self.components = msgspec.json.schema_components(
            wanted, ref_template="#/components/schemas/{name}"
        )
        self._of = dict(zip(wanted, found, strict=True))
        _name_moments(self.components, wanted)
        for schema in (*found, *self.components.values()):
            mend(schema)

    def of(self, kind: Any) -> Json:
        """The schema of a type: a reference where it is a struct."""
        schema: Json = self._of[kind]
        return schema

    def parameter(self, parameter: endpoints.Parameter) -> Json:
        """The schema of a parameter, with its limits and its default."""
        schema = dict(self._of[parameter.kind])
        for name, keyword in _LIMITS.items():
            if (limit := getattr(parameter.limits, name)) is not None:
                schema[keyword] = limit
        more = tables.PARAMETERS.get(parameter.name, {})
        if "items" in schema:
            schema["items"] = schema["items"] | more.get("items", {})
        schema |= {key: more[key] for key in more if key not in ("description", "items")}
        if parameter.default is not None:
            schema["default"] = parameter.default
        mend(schema)
        return schema


def mend(schema: Any) -> None:
    """Mend a schema in place, all the way down."""
    if isinstance(schema, dict):
        if isinstance(pattern := schema.get("pattern"), str):
            schema["pattern"] = ecma(pattern)
        if isinstance(text := schema.get("description"), str):
            schema["description"] = inspect.cleandoc(text)
        if isinstance(choices := schema.get("enum"), list) and "type" not in schema:
            schema["type"] = "string" if all(isinstance(c, str) for c in choices) else "integer"
        if schema.get("required") == []:
            del schema["required"]
        for value in schema.values():
            mend(value)
    elif isinstance(schema, list):
        for item in schema:
            mend(item)


def ecma(pattern: str) -> str:
    """A pattern of ours in the dialect of JSON Schema (ECMA-262).

    `\\Z` is `$` there. Lone surrogates cannot be in a JSON text of UTF-8, and most engines refuse
    a pattern that names them.
    """
    return pattern.replace(r"\Z", "$").replace(r"\ud800-\udfff", "")


def _name_moments(components: dict[str, Json], types: list[Any]) -> None:
    """Say `format: date-time` where a field is a datetime, which msgspec leaves out."""
    for struct in _structs(kinds.multi_type_info(types)):
        properties = components.get(getattr(struct.cls, "__name__", ""), {}).get("properties", {})
        for field in struct.fields:
            if any(isinstance(part, kinds.DateTimeType) for part in _parts(field.type)):
                schema = properties[field.encode_name]
                for choice in (schema, *schema.get("anyOf", ())):
                    if choice.get("type") == "string":
                        choice["format"] = "date-time"


def _structs(found: Iterable[kinds.Type]) -> Iterator[kinds.StructType]:
    seen: set[Any] = set()
    waiting = list(found)
    while waiting:
        for part in _parts(waiting.pop()):
            if isinstance(part, kinds.StructType) and part.cls not in seen:
                seen.add(part.cls)
                waiting += [field.type for field in part.fields]
                yield part
            elif isinstance(part, kinds.CollectionType):
                waiting.append(part.item_type)
            elif isinstance(part, kinds.DictType):
                waiting.append(part.value_type)


def _parts(kind: kinds.Type) -> tuple[kinds.Type, ...]:
    """A type's alternatives, without what is only said about them."""
    if isinstance(kind, kinds.Metadata):
        return _parts(kind.type)
    if isinstance(kind, kinds.UnionType):
        return tuple(part for member in kind.types for part in _parts(member))
    return (kind,)
