"""The OpenAPI 3.1 document of an application, made from its handlers and types."""

from __future__ import annotations

from importlib import resources
from typing import Any

from litestar import Litestar
from msgspec import json

from api import errors
from api.documentation import diagram, endpoints, examples, operations, schemas, tables
from models.errors import CODES

Json = dict[str, Any]
_ETAG = {"type": "string", "examples": ['"3"']}


def of(app: Litestar) -> Json:
    """The document."""
    found = endpoints.of(app)
    types = [e.body for e in found] + [e.answer for e in found]
    types += [parameter.kind for e in found for parameter in e.parameters]
    known = schemas.Schemas([errors.Problem, *(kind for kind in types if kind is not None)])
    shown = examples.Examples()
    paths: Json = {}
    for endpoint in found:
        paths.setdefault(endpoint.path, {})[endpoint.method] = operations.of(endpoint, known, shown)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Community Partners 社区合作伙伴",
            "version": tables.VERSION,
            "description": _description(),
            "license": {"name": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in tables.TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(known.components.items())),
            "responses": _responses(known),
            "parameters": _PARAMETERS,
            "examples": dict(sorted(shown.components.items())),
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token from `POST /v1/sessions`, or a service key."
                    " 由 `POST /v1/sessions` 获得的访问令牌，或服务密钥。",
                }
            },
        },
    }


def _description() -> str:
    """The text in both languages, and the life of an agreement, drawn and as a table."""
    words = resources.files(__package__).joinpath("description.md").read_text()
    title = "The life of an agreement 协议的生命周期"
    drawing = f"![{title}](/docs/{diagram.name()})"
    return f"{words}\n## {title}\n\n{drawing}\n\n{diagram.markdown()}\n"


def text(document: Json) -> str:
    """The document as a file that people can compare line by line."""
    return json.format(json.encode(document), indent=1).decode() + "\n"


def _responses(known: schemas.Schemas) -> Json:
    shared: Json = {
        "NotModified": {
            "description": "You have it already; there is no body.",
            "headers": {"ETag": {"$ref": "#/components/headers/ETag"}},
        }
    }
    for status, (name, codes) in tables.PROBLEMS.items():
        titles = [f"`{c}`: {CODES[c].title_en} {CODES[c].title_zh}" for c in codes]
        shared[name] = {
            "description": " / ".join(titles),
            "content": {
                "application/problem+json": {
                    "schema": known.of(errors.Problem),
                    "examples": examples.of_problem(status),
                }
            },
        }
    for name, header in _SAID.items():
        shared[name]["headers"] = {header: {"$ref": f"#/components/headers/{header}"}}
    return shared


_SAID = {
    "Unauthenticated": "WWW-Authenticate",
    "TooMany": "Retry-After",
    "Unavailable": "Retry-After",
}
_HEADERS: Json = {
    "ETag": {"description": "The version, for If-Match and If-None-Match.", "schema": _ETAG},
    "Location": {
        "description": "The address of what was made.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "How to sign in (RFC 6750).",
        "schema": {"type": "string", "examples": ["Bearer"]},
    },
}
_PARAMETERS: Json = {
    "AcceptLanguage": {
        "name": "Accept-Language",
        "in": "header",
        "description": "Language of problems and reasons: zh or en.",
        "schema": {"type": "string", "examples": ["zh-CN, en;q=0.5"]},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag you have; the same one is answered with 304.",
        "schema": _ETAG,
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag of the version you change, or `*`.",
        "required": True,
        "schema": _ETAG,
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes the request happen at most once; a new value for every new intent.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "pattern": "^[!-~]*$",
            "examples": ["breakfast-2026-12-01"],
        },
    },
}
