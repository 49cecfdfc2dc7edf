"""Whatever a caller sends gets a 4xx problem that names the field, and nothing is half written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.towns import Town, a_need, an_offering


def _fields(answer: Any) -> dict[str, str]:
    return {error["field"]: error["code"] for error in answer.json()["errors"]}


async def test_every_wrong_field_is_named_at_once(town: Town) -> None:
    body = a_need(
        town,
        radius_m="1000",
        beneficiaries=-1,
        priority="urgent",
        windows=[{"days": [1, 9], "start": "6:30", "end": "09:00"}],
        slots=[{"role": "Cook!", "kind": "merchant", "quantity": 0}],
        colour="red",
    )
    del body["title"]
    answer = await town.as_("secretary", "POST", "/v1/needs", json=body)
    assert answer.status_code == 400
    assert _fields(answer) == {
        "title": "required",
        "radius_m": "wrong_type",
        "beneficiaries": "out_of_range",
        "priority": "wrong_format",
        "windows[0].days[1]": "out_of_range",
        "windows[0].start": "wrong_format",
        "slots[0].role": "wrong_format",
        "slots[0].quantity": "out_of_range",
        "colour": "unknown_field",
    }
    assert (await town.get("/v1/needs"))["items"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"[" * 60_000, "malformed", id="deep nesting"),
        pytest.param(b'{"title": {"a":' * 4_000, "malformed", id="deep objects"),
        pytest.param(b'{"service_type": "\xff\xfe"}', "malformed", id="bytes that are no UTF-8"),
        pytest.param(b'{"service_type": "\\ud800"}', None, id="a lone surrogate"),
        pytest.param(b'{"service_type": "a\\u0000b"}', "invalid", id="NUL in text"),
        pytest.param(b"", "invalid", id="nothing"),
        pytest.param(b"null", "invalid", id="null"),
        pytest.param(b"[]", "invalid", id="a list"),
        pytest.param(b'{"radius_m": 1e999}', None, id="a number beyond all numbers"),
        pytest.param(b'{"radius_m": NaN}', "malformed", id="not a number"),
        pytest.param(b'{"a": 1, "a": 2}', "invalid", id="a key twice"),
    ],
)
async def test_a_body_that_is_no_need_is_refused_with_400(
    town: Town, body: bytes, code: str | None
) -> None:
    answer = await town.as_(
        "secretary",
        "POST",
        "/v1/needs",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert code is None or answer.json()["code"] == code


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_under_another_content_type_is_refused_with_415(town: Town, kind: str) -> None:
    answer = await town.as_(
        "secretary",
        "POST",
        "/v1/needs",
        content=json.dumps(a_need(town)).encode(),
        headers={"Content-Type": kind} if kind else {},
    )
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"


async def test_a_body_beyond_the_limit_is_refused_with_413(town: Town) -> None:
    body = a_need(town, description={"zh": "长" * 60_000, "en": ""})
    answer = await town.as_("secretary", "POST", "/v1/needs", json=body)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    assert "65536" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "field", "code"),
    [
        ("/v1/needs?limit=0", "limit", "out_of_range"),
        ("/v1/needs?limit=101", "limit", "out_of_range"),
        ("/v1/needs?limit=ten", "limit", "wrong_type"),
        ("/v1/needs?cursor=../../etc", "cursor", "bad_cursor"),
        ("/v1/needs?cursor=AAAA", "cursor", "bad_cursor"),
        ("/v1/needs?fields=id,secret", "fields", "wrong_format"),
        ("/v1/needs?stauts=open", "stauts", "unknown_field"),
        ("/v1/needs?status=all", "status", "wrong_format"),
        ("/v1/needs?service_type=%27%20OR%201=1", "service_type", "wrong_format"),
        ("/v1/offerings?within=here", "within", "wrong_format"),
        ("/v1/offerings?within=null", "within", "wrong_type"),
        ("/v1/needs?status=Null", "status", "wrong_type"),
        ("/v1/search?radius_m=null&lat=29&lon=106", "radius_m", "wrong_type"),
        ("/v1/search?lat=91&lon=0", "lat", "out_of_range"),
        ("/v1/search?lat=29", "lon", "required"),
        ("/v1/search?radius_m=100", "radius_m", "wrong_format"),
        ("/v1/search?tag=A%22B", "tag", "wrong_format"),
        ("/v1/search?page=0", "page", "out_of_range"),
        ("/v1/search?weekday=8", "weekday", "wrong_format"),
    ],
)
async def test_a_wrong_query_parameter_is_named(
    town: Town, path: str, field: str, code: str
) -> None:
    answer = await town.as_("anonymous", "GET", path)
    assert answer.status_code == 400, answer.text
    assert _fields(answer) == {field: code}


async def test_null_is_a_word_where_words_are_asked_for(town: Town) -> None:
    for path in ("/v1/search?q=null&tag=null", "/v1/needs?service_type=null"):
        assert (await town.get(path))["items"] == []


@pytest.mark.parametrize(
    "path",
    ["/v1/needs/not-a-uuid", "/v1/nothing", "/v1/needs/00000000-0000-7000-8000-000000000000"],
)
async def test_what_is_not_there_is_a_404_problem(town: Town, path: str) -> None:
    answer = await town.as_("anonymous", "GET", path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


async def test_a_method_that_an_address_does_not_take_is_a_405_problem(town: Town) -> None:
    answer = await town.as_("anonymous", "PUT", "/v1/needs")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert "POST" in answer.headers["allow"]


async def test_options_names_every_method_of_an_address(town: Town) -> None:
    for path, methods in (
        ("/v1/needs", "GET, OPTIONS, POST"),
        (f"/v1/places/{town.community}", "DELETE, GET, OPTIONS, PATCH"),
        ("/v1/search?q=x", "GET, OPTIONS"),
    ):
        answer = await town.as_("anonymous", "OPTIONS", path)
        assert (answer.status_code, answer.headers["allow"]) == (204, methods)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"service_type": "time_travel"}, "service_type"),
        ({"place_id": "00000000-0000-7000-8000-000000000000"}, "place_id"),
    ],
)
async def test_a_reference_to_nothing_names_its_field(
    town: Town, change: dict[str, Any], field: str
) -> None:
    answer = await town.as_("operator", "POST", "/v1/needs", json=a_need(town, **change))
    assert answer.status_code == 422
    assert _fields(answer) == {field: "unknown_reference"}


async def test_one_bad_offering_of_many_leaves_none_behind(town: Town) -> None:
    items = [an_offering(town), an_offering(town, service_types=["repair", "time_travel"])]
    answer = await town.as_("partner_staff", "POST", "/v1/offerings/bulk", json={"items": items})
    assert answer.status_code == 422
    assert _fields(answer) == {"service_types[1]": "unknown_reference"}
    assert (await town.get("/v1/offerings", "partner_staff"))["items"] == []


@pytest.mark.parametrize(
    ("language", "title"),
    [
        ("zh-Hans-CN, en;q=0.8", "请先登录"),
        ("en, zh;q=0.5", "Sign in first"),
        ("fr, zh;q=0.1", "请先登录"),
        ("zh;q=0, *", "Sign in first"),
        ("", "Sign in first"),
        ("zh;q=bad", "Sign in first"),
    ],
)
async def test_problems_speak_the_callers_language(town: Town, language: str, title: str) -> None:
    headers = {"Accept-Language": language}
    answer = await town.as_("anonymous", "POST", "/v1/needs", json={}, headers=headers)
    assert answer.json()["title"] == title
    assert answer.headers["vary"] == "Accept-Language"


async def test_a_problem_carries_the_callers_request_id(town: Town) -> None:
    headers = {"X-Request-Id": "abc-1"}
    answer = await town.as_("anonymous", "GET", "/v1/nothing", headers=headers)
    assert answer.json()["request_id"] == "abc-1"
    assert answer.headers["x-request-id"] == "abc-1"


async def test_the_type_of_a_problem_leads_to_its_explanation(town: Town) -> None:
    problem = (await town.as_("anonymous", "POST", "/v1/needs", json={})).json()
    explained = await town.get(problem["type"])
    assert explained["code"] == "unauthenticated"
    assert explained["title"]["zh"] == "请先登录"
