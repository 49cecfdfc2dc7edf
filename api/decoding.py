"""Strict JSON in: every wrong field at once, each with its place and how to mend it.

msgspec stops at the first wrong field. The happy path is one msgspec call; only when it refuses
is the body walked again, field by field, against the same types.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from models import errors

_GOT = re.compile(r"Expected (?P<needed>.+?), got (?P<has>.+?)(?: - at .*)?\Z")
_LIMIT = re.compile(r"Expected (?P<needed>.+?)(?: - at .*)?\Z")
_HINTS = {
    "uuid": "a UUID",
    "rfc3339": "an RFC 3339 date-time with offset",
    "iso8601 date": "a date, YYYY-MM-DD",
    "date": "a date, YYYY-MM-DD",
}


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(body: bytes, kind: Any) -> Any:
    """The body as a value of `kind`. Refuses with `malformed`, or `invalid` and all its fields."""
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        raise refusal(_builtins(body), kind, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> errors.Refusal:
    """The refusal for a body that is no JSON at all."""
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
    return errors.Refusal("malformed", reason=reason)


def refusal(value: Any, kind: Any, error: msgspec.ValidationError) -> errors.Refusal:
    """Every wrong field of a decoded value. `error` is msgspec's own word, kept for the case that
    the walk finds nothing (it knows our types, not all of msgspec's)."""
    found = tuple(problems(value, kind, ""))
    return errors.Refusal("invalid", *(found or (field_error(str(error), ""),)))


def _builtins(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def problems(value: Any, kind: Any, path: str) -> Iterator[errors.FieldError]:
    """Walk a decoded value against a type and yield what is wrong, in the order of its fields."""
    bare = _bare(kind, value)
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and isinstance(value, dict):
        found = list(_struct_problems(value, bare, path))
        yield from found
        if found:
            return
    elif get_origin(bare) in (tuple, list) and isinstance(value, list):
        element = get_args(bare)[0]
        found = [
            problem
            for position, item in enumerate(value)
            for problem in problems(item, element, f"{path}[{position}]")
        ]
        yield from found
        if found:
            return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        yield field_error(str(error), path, kind)


def _struct_problems(
    value: dict[str, Any], kind: type[msgspec.Struct], path: str
) -> Iterator[errors.FieldError]:
    hints = _hints(kind)
    prefix = f"{path}." if path else ""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in value:
            yield from problems(value[name], hints[field.name], prefix + name)
        elif field.required:
            yield errors.FieldError(prefix + name, "required")
    for name in value:
        if name not in fields and kind.__struct_config__.forbid_unknown_fields:
            yield errors.FieldError((prefix + name)[:200], "unknown_field")


@functools.cache
def _hints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _bare(kind: Any, value: Any) -> Any:
    """The type behind Annotated and Optional: what a value that is not null must be."""
    if get_origin(kind) is typing.Annotated:
        return _bare(get_args(kind)[0], value)
    if get_origin(kind) in (typing.Union, types.UnionType) and value is not None:
        members = [
            member for member in get_args(kind) if member not in (type(None), msgspec.UnsetType)
        ]
        if len(members) == 1:
            return _bare(members[0], value)
    return kind


def field_error(message: str, path: str, kind: Any = None) -> errors.FieldError:
    """msgspec's sentence about one value as a field error with a code."""
    own = re.match(r"(?P<field>[a-z_]+): (?P<needed>.+?)(?: - at .*)?\Z", message)
    if own:  # a rule of ours, raised in __post_init__
        prefix = f"{path}." if path else ""
        return errors.FieldError(prefix + own["field"], "wrong_format", {"needed": own["needed"]})
    if "matching regex" in message:
        return errors.FieldError(path, "wrong_format", {"needed": _described(kind, message)})
    if match := _GOT.match(message):
        return errors.FieldError(path, "wrong_type", match.groupdict())
    if match := _LIMIT.match(message):
        return errors.FieldError(path, "out_of_range", match.groupdict())
    if message.startswith("Invalid enum value"):
        choices = " | ".join(str(choice) for choice in _choices(kind))
        return errors.FieldError(path, "wrong_format", {"needed": choices})
    lowered = message.lower()
    needed = next((text for hint, text in _HINTS.items() if hint in lowered), message[:200])
    return errors.FieldError(path, "wrong_format", {"needed": needed})


def _choices(kind: Any) -> tuple[Any, ...]:
    bare = _bare(kind, "")
    return get_args(bare) if get_origin(bare) is typing.Literal else ()


def _described(kind: Any, message: str) -> str:
    """The description of a pattern where its type carries one, else the pattern itself."""
    while get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(m for m in get_args(kind) if m not in (type(None), msgspec.UnsetType))
    for extra in get_args(kind)[1:] if get_origin(kind) is typing.Annotated else ():
        if isinstance(extra, msgspec.Meta) and extra.description:
            return extra.description
    match = _LIMIT.match(message)
    return match["needed"] if match else message
