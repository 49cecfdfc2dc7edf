"""The OpenAPI document says what the API does, and its examples are real."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from api.documentation import document, endpoints, tables
from models import errors
from tests import servers
from tests.api import contract
from tests.towns import Town

Operations = dict[str, dict[str, Any]]
Endpoints = dict[str, endpoints.Endpoint]


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The document as it is. Not at the top: every worker loads this file, few need it."""
    found: dict[str, Any] = json.loads(document.text(document.of(contract.plain_app())))
    return found


@pytest.fixture(scope="module")
def operations(described: dict[str, Any]) -> Operations:
    """By name."""
    return {
        operation["operationId"]: operation
        for item in described["paths"].values()
        for operation in item.values()
    }


@pytest.fixture(scope="module")
def handled() -> Endpoints:
    """What is behind each operation, by its name."""
    return {e.name: e for e in endpoints.of(contract.plain_app())}


def _examples(part: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Every (schema, example) of a request body or an answer."""
    for content in part.get("content", {}).values():
        for example in content.get("examples", {}).values():
            yield content["schema"], contract.resolved(example)["value"]


def test_the_document_is_the_one_that_was_agreed_on(described: dict[str, Any]) -> None:
    agreed = contract.AGREED.read_text().splitlines()
    difference = list(difflib.unified_diff(agreed, document.text(described).splitlines(), n=1))
    assert not difference, "\n".join(
        [
            "The API has changed. If that is meant, run in .venv:",
            "python -m tests.api.golden > tests/api/openapi.json",
            *difference[:60],
        ]
    )


def test_the_document_is_valid_openapi(described: dict[str, Any]) -> None:
    # Here, because it takes most of a second, and every worker loads this file.
    import schemathesis

    schemathesis.openapi.from_dict(described).validate()


def test_every_schema_is_valid_json_schema(
    described: dict[str, Any], operations: Operations
) -> None:
    schemas = list(described["components"]["schemas"].values())
    schemas += [
        contract.resolved(parameter)["schema"]
        for operation in operations.values()
        for parameter in operation["parameters"]
    ]
    for schema in schemas:
        contract.validator(json.dumps(schema))


def test_patterns_are_ecmascript_and_limits_of_integers_are_integers(
    described: dict[str, Any],
) -> None:
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

    walk(described)
    assert len(patterns) > 20
    assert [p for p in patterns if re.search(r"\\[ZAzG]|\\u[dD][89a-fA-F]|\(\?P", p)] == []


def test_structs_that_forbid_unknown_fields_say_so(described: dict[str, Any]) -> None:
    strict = described["components"]["schemas"]
    for name in ("Credentials", "NeedDraft", "NeedChange", "OfferingDraft", "PlaceDraft", "Window"):
        assert strict[name]["additionalProperties"] is False


def test_a_change_requires_nothing_and_a_default_stays_with_its_field(
    described: dict[str, Any],
) -> None:
    schemas = described["components"]["schemas"]
    assert "required" not in schemas["NeedChange"]
    assert not [name for name, schema in schemas.items() if "default" in schema]
    assert schemas["NeedDraft"]["properties"]["priority"]["default"] == "normal"


def test_a_moment_is_a_date_time(described: dict[str, Any]) -> None:
    properties = described["components"]["schemas"]["NeedRecord"]["properties"]
    assert properties["created_at"]["format"] == "date-time"


def test_the_version_is_that_of_the_package(described: dict[str, Any]) -> None:
    project = tomllib.loads((servers.ROOT / "pyproject.toml").read_text())["project"]
    assert described["info"]["version"] == project["version"]


def test_the_document_speaks_both_languages(described: dict[str, Any]) -> None:
    texts = [described["info"]["description"], *(tag["description"] for tag in described["tags"])]
    for text in texts:
        assert re.search(r"[a-z]{4}", text)
        assert re.search(r"[\u4e00-\u9fff]{2}", text)


def test_every_table_of_the_document_is_about_something_that_exists(handled: Endpoints) -> None:
    assert {e.tag for e in handled.values()} == set(tables.TAGS)
    named = {*tables.REFUSALS, *tables.OTHER_BODIES, *tables.OTHER_TAGS}
    assert named <= set(handled)
    parameters = {p.name for e in handled.values() for p in e.parameters}
    assert set(tables.PARAMETERS) <= parameters
    # 405, 406 and 500 belong to every address; the description says so.
    assert {code.status for code in errors.CODES.values()} - {405, 406, 500} == set(tables.PROBLEMS)


def test_every_operation_says_what_it_does(operations: Operations) -> None:
    silent = []
    for name, operation in operations.items():
        texts = [(key, operation.get(key)) for key in ("summary", "description")]
        for parameter in map(contract.resolved, operation["parameters"]):
            texts.append((parameter["name"], parameter.get("description")))
        silent += [f"{name}: {what}" for what, text in texts if not text]
    assert not silent, "\n".join(silent)


def test_what_is_said_of_headers_is_what_the_handler_does(
    operations: Operations, handled: Endpoints
) -> None:
    wrong = []
    for name, operation in operations.items():
        source = inspect.getsource(handled[name].handler.fn)
        given = {contract.resolved(p)["name"] for p in operation["parameters"]}
        reads = any(f"answers.{how}(" in source for how in ("shown", "listed", "text"))
        fields = getattr(handled[name].answer, "__struct_fields__", ())
        matches = ("_own(" in source and "version" in fields) or "require_match" in source
        right = {
            "If-None-Match": ("If-None-Match" in given) == reads,
            "304": ("304" in operation["responses"]) == reads,
            "Idempotency-Key": ("Idempotency-Key" in given) == ("answers.once(" in source),
            "If-Match": ("If-Match" in given) <= matches,
        }
        wrong += [f"{name}: {what}" for what, is_right in right.items() if not is_right]
    assert not wrong, "\n".join(wrong)


def test_a_token_is_asked_for_where_the_guard_asks_for_it(
    operations: Operations, handled: Endpoints
) -> None:
    wrong = []
    for name, operation in operations.items():
        if (operation["security"] == [{"bearer": []}]) != handled[name].guarded:
            wrong.append(f"{name}: guarded is {handled[name].guarded}, it says the opposite")
    assert not wrong, "\n".join(wrong)


def test_every_body_and_every_answer_has_an_example_that_fits_its_schema(
    operations: Operations,
) -> None:
    wrong = []
    for name, operation in operations.items():
        success = next(iter(operation["responses"].values()))
        parts = [operation.get("requestBody"), success]
        for part in parts:
            if not part or "content" not in part:
                continue
            examples = list(_examples(part))
            if not examples:
                wrong.append(f"{name}: no example")
            for schema, value in examples:
                misfits = contract.validator(json.dumps(schema)).iter_errors(value)
                wrong += [f"{name}: {error.instance_path} {error.message}" for error in misfits]
    assert not wrong, "\n".join(wrong)


def test_every_example_of_a_body_is_what_the_program_takes(
    operations: Operations, handled: Endpoints
) -> None:
    wrong = []
    for name, operation in operations.items():
        kind = handled[name].body
        for _, value in _examples(operation.get("requestBody", {})):
            if kind is not None:
                try:
                    msgspec.json.decode(msgspec.json.encode(value), type=kind)
                except msgspec.ValidationError as error:
                    wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


def test_every_example_of_a_problem_fits_its_schema(described: dict[str, Any]) -> None:
    for response in described["components"]["responses"].values():
        for schema, value in _examples(response):
            contract.validator(json.dumps(schema)).validate(value)
            assert value["status"] in tables.PROBLEMS
            assert not re.search(r"\([a-z_]+\)", value["detail"]), "a value of the text is missing"


async def test_the_document_is_served_and_asked_for_again_it_is_304(
    town: Town, described: dict[str, Any]
) -> None:
    first = await town.as_("anonymous", "GET", "/v1/openapi.json")
    assert first.json() == described
    headers = {"If-None-Match": first.headers["etag"]}
    again = await town.as_("anonymous", "GET", "/v1/openapi.json", headers=headers)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/schema", "/schema/openapi.json", "/schema/swagger", "/v1"])
async def test_the_frameworks_own_documentation_is_off(town: Town, path: str) -> None:
    answer = await town.as_("anonymous", "GET", path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
