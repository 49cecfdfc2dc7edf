"""Examples, kept in `examples.json`: by the name of a type, or of an operation's body or answer."""

from __future__ import annotations

from importlib import resources
from typing import Any

from msgspec import json, to_builtins

from api import errors as problems
from api import language
from api.documentation import tables
from models import errors

Json = dict[str, Any]
_TONGUES: tuple[language.Language, ...] = ("en", "zh")


class Examples:
    """The examples, and in `components` those that the document has used."""

    def __init__(self) -> None:
        text = resources.files(__package__).joinpath("examples.json").read_bytes()
        self._all: dict[str, dict[str, Json]] = json.decode(text)
        self.components: Json = {}

    def of(self, name: str, schema: Json | None = None) -> Json:
        """References to the examples of this name, or else of the schema's type."""
        kind = (schema or {}).get("$ref", "").rpartition("/")[2]
        found = self._all.get(name)
        if found is None:
            name, found = kind, self._all.get(kind) or self._page(kind)
        references = {}
        for key, example in found.items():
            self.components[f"{name}.{key}"] = example
            references[key] = {"$ref": f"#/components/examples/{name}.{key}"}
        return references

    def _page(self, kind: str) -> dict[str, Json]:
        """A page of the first example of its items."""
        item = kind.removeprefix("Page_").removesuffix("_")
        if item == kind or item not in self._all:
            return {}
        example = next(iter(self._all[item].values()))
        return {"last_page": {"value": {"items": [example["value"]], "next": None}}}


def of_problem(status: int) -> Json:
    """Two examples, in English and Chinese, for each code that a status carries."""
    _, codes = tables.PROBLEMS[status]
    return {
        f"{code}_{tongue}": {"value": _problem(code, values, tongue)}
        for code, values in codes.items()
        for tongue in _TONGUES
    }


def _problem(code: str, values: dict[str, Any], tongue: language.Language) -> Any:
    """A problem as our own handlers write it."""
    fields = [errors.FieldError(*field) for field in tables.FIELDS.get(code, ())]
    refusal = errors.Refusal(code, *fields, **values)
    problem, _ = problems.problem(refusal, "0d9a3c5e7b1f4a2c8e6d0b9f7a5c3e1d", tongue)
    return to_builtins(problem)
