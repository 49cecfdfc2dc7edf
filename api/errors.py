"""RFC 9457 problem+json, in the caller's language, for every refusal and every accident."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
import structlog
from litestar import Controller, Request, Response, get
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import FromPath

from api import decoding, language
from models import engine, errors
from search import engine as index

log = structlog.get_logger()

_STATUS_CODES = {
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}


class FieldProblem(msgspec.Struct):
    """One wrong field: its path (`windows[0].start`), a code, and how to mend it."""

    field: str
    code: str
    detail: str


class Problem(msgspec.Struct):
    """The body of every answer that is not a success (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem]
    request_id: str


class CodeOut(msgspec.Struct):
    """One problem code of the API."""

    code: str
    status: int
    title: dict[Literal["zh", "en"], str]
    detail: dict[Literal["zh", "en"], str]


def problem(
    refusal: errors.Refusal, request_id: str, tongue: language.Language
) -> tuple[Problem, int]:
    """A refusal as a problem and its status."""
    code = errors.CODES[refusal.code]
    return (
        Problem(
            type=f"/v1/problems/{refusal.code}",
            title=_fill(code.title_zh if tongue == "zh" else code.title_en, refusal.values),
            status=code.status,
            detail=_fill(code.detail_zh if tongue == "zh" else code.detail_en, refusal.values),
            code=refusal.code,
            errors=[
                FieldProblem(field.field, field.code, _field_detail(field, tongue))
                for field in refusal.fields
            ],
            request_id=request_id,
        ),
        code.status,
    )


def _field_detail(field: errors.FieldError, tongue: language.Language) -> str:
    code = errors.CODES[field.code]
    return _fill(code.detail_zh if tongue == "zh" else code.detail_en, field.values)


class _Lenient(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return f"({key})"


def _fill(template: str, values: dict[str, Any]) -> str:
    return template.format_map(_Lenient(values))


def answer(request: Request[Any, Any, Any], refusal: errors.Refusal) -> Response[bytes]:
    """The HTTP answer for a refusal."""
    tongue = language.choose(request.headers.get("accept-language", ""))
    headers = {
        "Cache-Control": "no-store",
        "Content-Language": tongue,
        "Vary": "Accept-Language",
        **refusal.headers,
    }
    body, status = problem(refusal, request.scope["state"]["request_id"], tongue)
    return Response(
        content=msgspec.json.encode(body),
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def on_refusal(request: Request[Any, Any, Any], refusal: errors.Refusal) -> Response[bytes]:
    """A refusal of ours."""
    return answer(request, refusal)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar itself refuses: routing, parameters, size."""
    if isinstance(error, ValidationException):
        return answer(request, errors.Refusal("invalid", *_parameter_errors(error)))
    code = _STATUS_CODES.get(error.status_code)
    if code is None:
        return on_accident(request, error)
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() in ("allow",)}
    limit = request.route_handler.resolve_request_max_body_size() if code == "too_large" else 0
    return answer(request, errors.Refusal(code, headers=headers, limit=limit))


# Litestar's words for it.
_MISSING = re.compile(r"Missing required \w+ parameter '([^']+)'")


def _parameter_errors(error: ValidationException) -> list[errors.FieldError]:
    extra = error.extra if isinstance(error.extra, list) else []
    found = [
        decoding.field_error(str(item.get("message", "")), str(item.get("key", "")))
        for item in extra
        if isinstance(item, dict)
    ]
    if missing := _MISSING.search(error.detail):
        found.append(errors.FieldError(missing[1], "required"))
    return found or [errors.FieldError("", "wrong_format", {"needed": error.detail[:200]})]


def on_conflict(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A constraint of the database said no: of two callers at the same instant the other won."""
    return answer(request, errors.Refusal("conflict"))


def on_unavailable(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The database does not answer: nothing was saved, and trying again is right."""
    log.error("database.unavailable", error=type(error).__name__)
    return answer(request, errors.Refusal("unavailable", headers={"Retry-After": "2"}))


def on_search_down(
    request: Request[Any, Any, Any], error: index.SearchUnavailable
) -> Response[bytes]:
    """Search does not answer; everything else works."""
    log.error("search.unavailable", error=type(error).__name__)
    request.app.state.metrics.search_outages.inc()
    return answer(request, errors.Refusal("search_unavailable", headers={"Retry-After": "2"}))


def on_accident(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """What nobody foresaw. The log has the trace; the caller gets a number to quote."""
    log.error(
        "request.failed",
        request_id=request.scope["state"]["request_id"],
        route=request.scope.get("path_template"),
        exc_info=error,
    )
    return answer(request, errors.Refusal("internal"))


HANDLERS: dict[int | type[Exception], Any] = {
    errors.Refusal: on_refusal,
    HTTPException: on_http_exception,
    engine.DatabaseUnavailable: on_unavailable,
    **dict.fromkeys(engine.CONFLICTS, on_conflict),
    **dict.fromkeys(engine.PASSING, on_unavailable),
    index.SearchUnavailable: on_search_down,
    Exception: on_accident,
}


class ProblemController(Controller):
    """What the codes mean."""

    path = "/v1/problems"
    tags = ("problems",)

    @get(operation_id="list_problems", summary="Every problem code")
    async def list_problems(self) -> list[CodeOut]:
        """Every code that an answer of this API can carry."""
        return [_code_out(name) for name in sorted(errors.CODES)]

    @get("/{code:str}", operation_id="get_problem", summary="One problem code")
    async def get_problem(self, code: FromPath[str]) -> CodeOut:
        """The page that the `type` of a problem leads to."""
        if code not in errors.CODES:
            raise errors.not_found()
        return _code_out(code)


def _code_out(name: str) -> CodeOut:
    code = errors.CODES[name]
    return CodeOut(
        name,
        code.status,
        {"zh": code.title_zh, "en": code.title_en},
        {"zh": code.detail_zh, "en": code.detail_en},
    )
