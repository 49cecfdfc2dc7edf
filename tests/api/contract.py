"""The OpenAPI document as a contract: every answer that a test sees must be in it."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from litestar import Litestar

from api.app import create_app
from models import settings

AGREED = Path(__file__).with_name("openapi.json")
# What any address may answer; the document says so once, in its description.
EVERYWHERE = {405, 500}


@functools.cache
def plain_app() -> Litestar:
    """An application without limits. To put its routes together takes longer than most tests, so
    one serves them all, each on a database of its own."""
    return create_app(settings.load({"RATE_LIMIT": "0"}))


@functools.cache
def agreed() -> dict[str, Any]:
    """The document that was agreed on: the application's, or `test_openapi.py` says otherwise."""
    found: dict[str, Any] = json.loads(AGREED.read_bytes())
    return found


async def keep(response: httpx.Response) -> None:
    """An event hook for a client: fail when an answer is not as the document says."""
    operation = _operation(response.request.method.lower(), response.request.url.path)
    if operation is None or response.status_code in EVERYWHERE:
        return
    name = f"{operation['operationId']} -> {response.status_code}"
    documented = operation["responses"].get(str(response.status_code))
    assert documented, f"{name} is not documented"
    content = resolved(documented).get("content")
    await response.aread()
    if not content:
        assert not response.content, f"{name} has a body"
        return
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in content, f"{name} is {kind}"
    if kind.endswith("json") and "fields" not in response.request.url.params:
        errors = validator(json.dumps(content[kind]["schema"])).iter_errors(response.json())
        wrong = [f"{error.instance_path} {error.message}" for error in errors]
        assert not wrong, f"{name}: {wrong}"


@functools.cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Validates against a schema of the document (JSON), which may refer to its components."""
    whole = json.loads(schema.replace('"#/components/', '"urn:openapi#/components/'))
    return jsonschema_rs.Draft202012Validator(whole, registry=_components(), validate_formats=True)


@functools.cache
def _components() -> jsonschema_rs.Registry:
    """Read once: every validator would have a copy of it otherwise."""
    return jsonschema_rs.Registry([("urn:openapi", {"components": agreed()["components"]})])


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """The part itself, or what it refers to."""
    found = agreed()
    if "$ref" not in part:
        return part
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for pattern, operations in _patterns():
        if method in operations and pattern.fullmatch(path):
            found: dict[str, Any] = operations[method]
            return found
    return None


@functools.cache
def _patterns() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """The addresses, those without parameters first."""
    paths = sorted(agreed()["paths"].items(), key=lambda item: item[0].count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), found) for path, found in paths]
