"""One operation of the document: an endpoint, with what our conventions add to it."""

from __future__ import annotations

from typing import Any

from api import limits
from api.documentation import endpoints, examples, schemas, tables

Json = dict[str, Any]
_DONE = {
    201: "Made.",
    202: "Taken on; ask its address how far it is.",
    204: "Done; there is nothing to say.",
}


def of(endpoint: endpoints.Endpoint, known: schemas.Schemas, shown: examples.Examples) -> Json:
    """The Operation Object of an endpoint."""
    operation: Json = {
        "operationId": endpoint.name,
        "tags": [endpoint.tag],
        "summary": endpoint.handler.summary,
        "description": endpoint.description,
        "parameters": _parameters(endpoint, known),
    }
    if body := _body(endpoint, known, shown):
        operation["requestBody"] = body
    operation["responses"] = _responses(endpoint, known, shown)
    operation["security"] = _security(endpoint)
    return operation


def _security(endpoint: endpoints.Endpoint) -> list[Json]:
    """A token where it must be, or may be; none where it changes nothing."""
    if endpoint.guarded:
        return [{"bearer": []}]
    return [] if endpoint.tag in ("sessions", *tables.WITHOUT_CALLER) else [{}, {"bearer": []}]


def _parameters(endpoint: endpoints.Endpoint, known: schemas.Schemas) -> list[Json]:
    described = [
        _fields(parameter, endpoint) if parameter.name == "fields" else _parameter(parameter, known)
        for parameter in endpoint.parameters
    ]
    names = ["AcceptLanguage"]
    names += ["IfNoneMatch"] if endpoint.conditional else []
    names += ["IfMatch"] if endpoint.needs_match else []
    names += ["IdempotencyKey"] if endpoint.once else []
    return described + [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _parameter(parameter: endpoints.Parameter, known: schemas.Schemas) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.limits.description
        or tables.PARAMETERS.get(parameter.name, {}).get("description", ""),
        "required": parameter.required,
        "schema": known.parameter(parameter),
    }


def _fields(parameter: endpoints.Parameter, endpoint: endpoints.Endpoint) -> Json:
    """`fields=` as the list that it is, of the names that the record has."""
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.limits.description,
        "required": False,
        "style": "form",
        "explode": False,
        "schema": {
            "type": "array",
            "items": {"type": "string", "enum": list(endpoint.record.__struct_fields__)},
        },
    }


def _body(
    endpoint: endpoints.Endpoint, known: schemas.Schemas, shown: examples.Examples
) -> Json | None:
    if other := tables.OTHER_BODIES.get(endpoint.name):
        content = _content({"type": "string"}, shown.of(f"{endpoint.name}.body"))
        return {"required": True, "content": {other: content}}
    if endpoint.body is None:
        return None
    schema = known.of(endpoint.body)
    content = _content(schema, shown.of(f"{endpoint.name}.body", schema))
    return {"required": True, "content": {"application/json": content}}


def _content(schema: Json, named: Json) -> Json:
    return {"schema": schema, "examples": named} if named else {"schema": schema}


def _responses(
    endpoint: endpoints.Endpoint, known: schemas.Schemas, shown: examples.Examples
) -> Json:
    status = endpoint.handler.status_code
    answer: Json = {"description": _DONE.get(status, "Done.")}
    if headers := _headers(endpoint, status):
        answer["headers"] = headers
    schema = {"type": "string"} if endpoint.answer is None else known.of(endpoint.answer)
    if status != 204:
        named = shown.of(f"{endpoint.name}.answer", schema)
        answer["content"] = {endpoint.media_type: _content(schema, named)}
        if other := tables.OTHER_ANSWERS.get(endpoint.name):
            text = {"type": "string"}
            answer["content"][other] = _content(
                text, shown.of(f"{endpoint.name}.{other.rpartition('/')[2]}")
            )
    responses: Json = {str(status): answer}
    if endpoint.conditional:
        responses["304"] = {"$ref": "#/components/responses/NotModified"}
    for refused in refusals(endpoint):
        name = tables.PROBLEMS[refused][0]
        responses[str(refused)] = {"$ref": f"#/components/responses/{name}"}
    if endpoint.name == "readyz":  # the one answer that is 503 and no problem
        responses["503"] = {"description": "Not ready."} | {"content": answer["content"]}
    return responses


def _headers(endpoint: endpoints.Endpoint, status: int) -> Json:
    named = {
        "ETag": endpoint.conditional or endpoint.versioned or endpoint.name in tables.OTHER_TAGS,
        "Location": status in (201, 202) and endpoint.versioned,
    }
    return {
        name: {"$ref": f"#/components/headers/{name}"} for name, there in named.items() if there
    }


def refusals(endpoint: endpoints.Endpoint) -> list[int]:
    """Every status of a problem that the endpoint can answer."""
    # Any address refuses a parameter it does not know, a query too long, a token not valid.
    possible = {400, 401, 414, *tables.REFUSALS.get(endpoint.name, ())}
    if endpoint.name not in limits.FREE:
        possible.add(429)
    if endpoint.tag not in tables.WITHOUT_CALLER:
        possible |= {403, 503}  # 403 at least to a service key whose scopes do not say so
    if any(parameter.place == "path" for parameter in endpoint.parameters):
        possible.add(404)
    if endpoint.body is not None or endpoint.name in tables.OTHER_BODIES:
        possible |= {413, 415}
    if endpoint.needs_match:
        possible |= {412, 428}
    if endpoint.once:
        possible.add(422)
    return sorted(possible)
