"""The OpenAPI document says what the API does, and its examples are real."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.documentation import document, endpoints, tables
from models import errors
from tests import servers
from tests.api import contract
from tests.towns import Town

HERE = Path(__file__).parent
DOCUMENT = contract.current()
ENDPOINTS = {e.name: e for e in endpoints.of(contract.plain_app())}
OPERATIONS = {
    operation["operationId"]: operation
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
}
each_operation = pytest.mark.parametrize("name", OPERATIONS)


def _examples(part: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every (schema, example) of a request body or an answer."""
    for content in part.get("content", {}).values():
        for example in content.get("examples", {}).values():
            yield content["schema"], contract.resolved(example)["value"]


def test_the_document_is_the_one_that_was_agreed_on() -> None:
    agreed = (HERE / "openapi.json").read_text().splitlines()
    difference = list(difflib.unified_diff(agreed, document.text(DOCUMENT).splitlines(), n=1))
    assert not difference, "\n".join(
        [
            "The API has changed. If that is meant, run in .venv:",
            "python -m tests.api.golden > tests/api/openapi.json",
            *difference[:60],
        ]
    )


def test_the_document_is_valid_openapi() -> None:
    # Here, because it takes most of a second, and every worker collects this file.
    import schemathesis

    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_schema_is_valid_json_schema() -> None:
    schemas = list(DOCUMENT["components"]["schemas"].values())
    schemas += [
        contract.resolved(parameter)["schema"]
        for operation in OPERATIONS.values()
        for parameter in operation["parameters"]
    ]
    for schema in schemas:
        contract.validator(json.dumps(schema))


def test_patterns_are_ecmascript_and_limits_of_integers_are_integers() -> None:
    patterns = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("pattern"), str):
                patterns.append(node["pattern"])
            if node.get("type") == "integer":
                limits = {node.get("minimum", 0), node.get("maximum", 0)}
                assert all(type(limit) is int for limit in limits), node
        for child in node.values() if isinstance(node, dict) else node:
            if isinstance(child, dict | list):
                walk(child)

    walk(DOCUMENT)
    assert len(patterns) > 20
    assert [p for p in patterns if re.search(r"\\[ZAzG]|\\u[dD][89a-fA-F]|\(\?P", p)] == []


def test_structs_that_forbid_unknown_fields_say_so() -> None:
    strict = DOCUMENT["components"]["schemas"]
    for name in ("Credentials", "NeedDraft", "NeedChange", "OfferingDraft", "PlaceDraft", "Window"):
        assert strict[name]["additionalProperties"] is False


def test_a_change_requires_nothing_and_a_default_stays_with_its_field() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert "required" not in schemas["NeedChange"]
    assert not [name for name, schema in schemas.items() if "default" in schema]
    assert schemas["NeedDraft"]["properties"]["priority"]["default"] == "normal"


def test_a_moment_is_a_date_time() -> None:
    properties = DOCUMENT["components"]["schemas"]["NeedRecord"]["properties"]
    assert properties["created_at"]["format"] == "date-time"


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((servers.ROOT / "pyproject.toml").read_text())["project"]
    assert DOCUMENT["info"]["version"] == project["version"]


def test_the_document_speaks_both_languages() -> None:
    texts = [DOCUMENT["info"]["description"], *(tag["description"] for tag in DOCUMENT["tags"])]
    for text in texts:
        assert re.search(r"[a-z]{4}", text)
        assert re.search(r"[\u4e00-\u9fff]{2}", text)


def test_every_table_of_the_document_is_about_something_that_exists() -> None:
    assert {e.tag for e in ENDPOINTS.values()} == set(tables.TAGS)
    named = {*tables.REFUSALS, *tables.OTHER_BODIES, *tables.OTHER_TAGS}
    assert named <= set(ENDPOINTS)
    parameters = {p.name for e in ENDPOINTS.values() for p in e.parameters}
    assert set(tables.PARAMETERS) <= parameters
    # 405, 406 and 500 belong to every address; the description says so.
    assert {code.status for code in errors.CODES.values()} - {405, 406, 500} == set(tables.PROBLEMS)


@each_operation
def test_every_operation_says_what_it_does(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"]
    for parameter in operation["parameters"]:
        assert contract.resolved(parameter)["description"], parameter


@each_operation
def test_what_is_said_of_headers_is_what_the_handler_does(name: str) -> None:
    endpoint, operation = ENDPOINTS[name], OPERATIONS[name]
    source = inspect.getsource(endpoint.handler.fn)
    given = {contract.resolved(p)["name"] for p in operation["parameters"]}
    reads = any(f"answers.{name}(" in source for name in ("shown", "listed", "text"))
    assert ("If-None-Match" in given, "304" in operation["responses"]) == (reads, reads)
    assert ("Idempotency-Key" in given) == ("answers.once(" in source)
    matches = "_own(" in source and "version" in getattr(endpoint.answer, "__struct_fields__", ())
    assert ("If-Match" in given) <= (matches or "require_match" in source)


@each_operation
def test_a_token_is_asked_for_where_the_guard_asks_for_it(name: str) -> None:
    needed = OPERATIONS[name]["security"] == [{"bearer": []}]
    assert needed == ENDPOINTS[name].guarded


@each_operation
def test_every_body_and_every_answer_has_an_example_that_fits_its_schema(name: str) -> None:
    operation = OPERATIONS[name]
    success = next(iter(operation["responses"].values()))
    parts = [part for part in (operation.get("requestBody"), success) if part and "content" in part]
    for part in parts:
        examples = list(_examples(part))
        assert examples
        for schema, value in examples:
            contract.validator(json.dumps(schema)).validate(value)


@each_operation
def test_every_example_of_a_body_is_what_the_program_takes(name: str) -> None:
    kind = ENDPOINTS[name].body
    for _, value in _examples(OPERATIONS[name].get("requestBody", {})):
        if kind is not None:
            msgspec.json.decode(msgspec.json.encode(value), type=kind)


def test_every_example_of_a_problem_fits_its_schema() -> None:
    for response in DOCUMENT["components"]["responses"].values():
        for schema, value in _examples(response):
            contract.validator(json.dumps(schema)).validate(value)
            assert value["status"] in tables.PROBLEMS
            assert not re.search(r"\([a-z_]+\)", value["detail"]), "a value of the text is missing"


async def test_the_document_is_served_and_asked_for_again_it_is_304(town: Town) -> None:
    first = await town.as_("anonymous", "GET", "/v1/openapi.json")
    assert first.json() == DOCUMENT
    headers = {"If-None-Match": first.headers["etag"]}
    again = await town.as_("anonymous", "GET", "/v1/openapi.json", headers=headers)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/schema", "/schema/openapi.json", "/schema/swagger", "/v1"])
async def test_the_frameworks_own_documentation_is_off(town: Town, path: str) -> None:
    answer = await town.as_("anonymous", "GET", path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
