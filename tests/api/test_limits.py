"""What a caller may send and how often, and what every answer has."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import heads, limits, requests
from models import errors
from tests import fixtures, postgres, servers, towns
from tests.api import contract
from tests.api.test_service_keys import make_key
from tests.towns import Town, a_need, an_offering

SECOND = 1_000_000_000


class Clock:
    """Nanoseconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


def _taken(limiter: limits.Limiter, times: int, name: limits.Name = "sign-in") -> list[int]:
    return [limiter.take(name, "somebody").wait for _ in range(times)]


# The budgets


def test_a_budget_may_be_used_at_once_and_then_comes_back_evenly() -> None:
    clock = Clock()
    limiter = limits.Limiter(1, clock)
    assert _taken(limiter, 31) == [0] * 30 + [2]
    clock.passes(2)
    assert _taken(limiter, 2) == [0, 2]
    clock.passes(20)
    assert _taken(limiter, 11) == [0] * 10 + [2]
    clock.passes(600)
    assert _taken(limiter, 31) == [0] * 30 + [2]


def test_what_is_refused_takes_nothing() -> None:
    clock = Clock()
    limiter = limits.Limiter(1, clock)
    _taken(limiter, 1000)
    clock.passes(2)
    assert _taken(limiter, 1) == [0]


def test_callers_and_budgets_do_not_share() -> None:
    limiter = limits.Limiter(1, Clock())
    _taken(limiter, 30)
    assert limiter.take("sign-in", "somebody else").wait == 0
    assert limiter.take("read", "somebody").wait == 0


def test_the_headers_say_what_is_left_and_when_all_of_it_is_back() -> None:
    clock = Clock()
    limiter = limits.Limiter(1, clock)
    for _ in range(10):
        limiter.take("sign-in", "somebody")
    clock.passes(1)
    headers = dict(limiter.take("sign-in", "somebody").headers)
    assert headers == {
        b"ratelimit-policy": b'"sign-in";q=30;w=60',
        b"ratelimit": b'"sign-in";r=19;t=21',
        b"ratelimit-limit": b"30",
        b"ratelimit-remaining": b"19",
        b"ratelimit-reset": b"21",
    }


def test_a_scale_multiplies_every_budget() -> None:
    assert _taken(limits.Limiter(0.1, Clock()), 4) == [0, 0, 0, 20]
    assert _taken(limits.Limiter(2, Clock()), 61)[-2:] == [0, 1]


def test_a_crowd_of_callers_takes_no_more_memory_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "CALLERS", 100)
    limiter = limits.Limiter(1, Clock())
    _taken(limiter, 30)
    for number in range(1000):
        limiter.take("read", f"passer-by {number}")
        # Whoever keeps asking is not forgotten, and has no new budget.
        assert limiter.take("sign-in", "somebody").wait
    assert len(limiter._full_at) == 100


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_household_is_one_address(host: str, counted: str) -> None:
    assert limits.address({"client": (host, 1)}) == counted  # type: ignore[typeddict-item]


def test_every_operation_with_a_budget_of_its_own_exists() -> None:
    known = {
        operation["operationId"]
        for path in contract.agreed()["paths"].values()
        for operation in path.values()
        if "operationId" in operation
    }
    assert limits.OPERATIONS.keys() | limits.FREE <= known


# Over HTTP


@pytest.fixture(params=["sqlite", "postgres"])
async def busy_town(
    request: pytest.FixtureRequest,
    templates: dict[tuple[str, str], fixtures.Template],
    postgres_server: postgres.Server,
    tmp_path: Path,
) -> AsyncIterator[Town]:
    """A town with limits: 12 reads, 2 writes, 3 searches and 1 sign-in a minute."""
    more = {"RATE_LIMIT": "0.01"}
    async with fixtures.a_town(
        request.param, templates, postgres_server, tmp_path, **more
    ) as opened:
        yield opened


async def test_the_caller_who_asks_too_much_is_told_when_to_come_back(busy_town: Town) -> None:
    answers = [await busy_town.as_("resident", "GET", "/v1/needs") for _ in range(13)]
    assert [answer.status_code for answer in answers] == [200] * 12 + [429]
    assert answers[0].headers["ratelimit"] == '"read";r=11;t=5'
    assert answers[0].headers["ratelimit-policy"] == '"read";q=12;w=60'
    refused = answers[-1]
    assert refused.json()["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert refused.headers["ratelimit-remaining"] == "0"
    assert refused.headers["cache-control"] == "no-store"
    assert refused.headers["retry-after"] in refused.json()["detail"]


async def test_one_callers_greed_costs_nobody_else(busy_town: Town) -> None:
    for _ in range(13):
        await busy_town.as_("resident", "GET", "/v1/needs")
    assert (await busy_town.as_("resident", "GET", "/v1/needs")).status_code == 429
    assert (await busy_town.as_("secretary", "GET", "/v1/needs")).status_code == 200
    assert (await busy_town.as_("anonymous", "GET", "/v1/needs")).status_code == 200


async def test_a_service_key_has_a_budget_beside_that_of_its_maker(busy_town: Town) -> None:
    await make_key(busy_town)
    for _ in range(13):
        await busy_town.as_("key", "GET", "/v1/needs")
    assert (await busy_town.as_("key", "GET", "/v1/needs")).status_code == 429
    assert (await busy_town.as_("secretary", "GET", "/v1/needs")).status_code == 200


async def test_reading_writing_and_searching_are_counted_apart(busy_town: Town) -> None:
    def ask(method: str, path: str, **options: Any) -> Any:
        return busy_town.as_("secretary", method, path, **options)

    posted = [await ask("POST", "/v1/needs", json=a_need(busy_town)) for _ in range(3)]
    assert [answer.status_code for answer in posted] == [201, 201, 429]
    searched = [await ask("GET", "/v1/search?q=x") for _ in range(4)]
    assert [answer.status_code for answer in searched] == [200] * 3 + [429]
    preview = await ask("POST", "/v1/needs/preview", json=a_need(busy_town))
    assert preview.status_code == 429
    assert preview.headers["ratelimit-policy"] == '"search";q=3;w=60'
    assert (await ask("GET", "/v1/needs")).status_code == 200


async def test_sign_ins_are_counted_by_address_whatever_token_comes_along(
    busy_town: Town,
) -> None:
    body = {"login": "resident@test", "password": towns.PASSWORD}
    first = await busy_town.as_("anonymous", "POST", "/v1/sessions", json=body)
    assert first.status_code == 201
    for who in ("anonymous", "resident", "operator"):
        again = await busy_town.as_(who, "POST", "/v1/sessions", json=body)
        assert (again.status_code, again.json()["code"]) == (429, "too_many_requests")


async def test_wrong_tokens_and_addresses_nobody_serves_are_counted_too(busy_town: Town) -> None:
    wrong = {"Authorization": "Bearer nothing"}
    answers = [await busy_town.client.get("/v1/needs", headers=wrong) for _ in range(8)]
    answers += [await busy_town.client.get("/v1/nothing") for _ in range(8)]
    assert [answer.status_code for answer in answers] == [401] * 8 + [404] * 4 + [429] * 4
    assert answers[-1].json()["code"] == "too_many_requests"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert all("ratelimit" in answer.headers for answer in answers)
    # Whoever has a right token is somebody else.
    assert (await busy_town.as_("resident", "GET", "/v1/needs")).status_code == 200


async def test_whoever_watches_over_the_service_always_gets_an_answer(busy_town: Town) -> None:
    for _ in range(20):
        assert (await busy_town.client.get("/livez")).status_code == 200
        assert (await busy_town.client.get("/readyz")).status_code == 200


async def test_without_limits_no_answer_speaks_of_them(town: Town) -> None:
    answer = await town.as_("anonymous", "GET", "/v1/needs")
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


@contextlib.asynccontextmanager
async def _behind_a_proxy(
    templates: dict[tuple[str, str], fixtures.Template], directory: Path, trusted: str
) -> AsyncIterator[httpx.AsyncClient]:
    template = templates["sqlite", "settled"]
    assert template.setting
    environment = {"RATE_LIMIT": "0.01", "TRUSTED_PROXIES": trusted}
    async with (
        fixtures.copied("sqlite", template, None) as url,  # type: ignore[arg-type]
        towns.running_town(url, directory, template.setting, **environment) as opened,
    ):
        transport = httpx.ASGITransport(app=opened.app, client=("10.0.0.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://town") as client:
            yield client


async def _left(client: httpx.AsyncClient, *forwarded: str, **others: str) -> int:
    """How many reads are left to whom the service takes for the caller."""
    headers = [("X-Forwarded-For", value) for value in forwarded] + list(others.items())
    answer = await client.get("/v1/needs", headers=headers)
    return int(answer.headers["ratelimit-remaining"])


async def test_nobodys_word_for_an_address_is_taken_by_default(
    templates: dict[tuple[str, str], fixtures.Template], tmp_path: Path
) -> None:
    async with _behind_a_proxy(templates, tmp_path, "") as client:
        assert await _left(client, "203.0.113.1") == 11
        assert await _left(client, "203.0.113.2") == 10
        assert await _left(client, forwarded="for=203.0.113.3") == 9


async def test_behind_a_trusted_proxy_each_client_is_counted_by_its_own_address(
    templates: dict[tuple[str, str], fixtures.Template], tmp_path: Path
) -> None:
    async with _behind_a_proxy(templates, tmp_path, "10.0.0.0/8, ::1") as client:
        assert await _left(client, "203.0.113.1") == 11
        assert await _left(client, "203.0.113.2:5555") == 11
        assert await _left(client, "203.0.113.1") == 10
        # What the client itself had put there stands to the left of what the proxy saw.
        assert await _left(client, "198.51.100.7, 203.0.113.1") == 9
        assert await _left(client, "198.51.100.7", "203.0.113.1, 10.9.9.9") == 8
        assert await _left(client, "[2001:db8::1]:443") == 11
        assert await _left(client, "2001:db8::2") == 10
        # A proxy that writes X-Forwarded-For lets a Forwarded of the client through unread.
        assert await _left(client, "203.0.113.1", forwarded="for=1.2.3.4") == 7


async def test_a_proxy_that_is_not_on_the_list_is_a_caller_like_others(
    templates: dict[tuple[str, str], fixtures.Template], tmp_path: Path
) -> None:
    async with _behind_a_proxy(templates, tmp_path, "192.0.2.1") as client:
        assert await _left(client, "203.0.113.1") == 11
        assert await _left(client, "203.0.113.2") == 10


# What may be sent


def _nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


@pytest.mark.parametrize(
    "body",
    [
        _nested(65),
        _nested(60_000),
        b"[" * 65,
        _nested(65, '{"a":', "}").replace(b":}", b":1}"),
        b'["' + b"]" * 64 + b'",' + _nested(64) + b"]",
        b'["\\"]]]]]]",' + _nested(64) + b"]",
    ],
    ids=["65", "60,000", "open", "objects", "closed in a text", "after a quoted quote"],
)
async def test_json_that_nests_deeper_than_64_is_refused_and_says_so(body: bytes) -> None:
    with pytest.raises(errors.Refusal) as refused:
        requests.refuse_deep(body)
    assert refused.value.code == "malformed"
    assert refused.value.values == {"reason": "nested too deeply"}


@pytest.mark.parametrize(
    "body",
    [
        _nested(64),
        b"[" + b",".join([_nested(63)] * 50) + b"]",
        json.dumps({"text": "[" * 1000}).encode(),
        json.dumps(["{[" * 50 + '\\"' + "[" * 50] * 20).encode(),
        b'"' + b'\\"[' * 1000,
    ],
    ids=["64", "64, often", "brackets in a text", "after quoted quotes", "a text without an end"],
)
async def test_brackets_that_are_not_nested_are_let_through(body: bytes) -> None:
    requests.refuse_deep(body)


async def test_deep_nesting_gets_the_same_answer_at_every_endpoint(town: Town) -> None:
    for path in ("/v1/needs", "/v1/needs/preview", "/v1/offerings/bulk", "/v1/sessions"):
        answer = await town.as_("secretary", "POST", path, json=json.loads(_nested(65)))
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), path
        assert "nested too deeply" in answer.json()["detail"]


async def test_a_query_beyond_4_kib_is_refused_with_414(town: Town) -> None:
    answer = await town.as_("anonymous", "GET", "/v1/needs?cursor=" + "a" * 4089)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    answer = await town.as_("anonymous", "GET", "/v1/needs?cursor=" + "a" * 4090)
    assert (answer.status_code, answer.json()["code"]) == (414, "query_too_long")
    assert "4096" in answer.json()["detail"]


async def test_a_bulk_body_may_be_larger_than_others_up_to_1_mib(town: Town) -> None:
    filler = an_offering(town, title={"zh": "长" * 200, "en": "x" * 200})
    for count, status in ((200, 400), (2000, 413)):
        items = {"items": [filler | {"colour": "red"}] * count}
        assert len(json.dumps(items)) > 65_536
        answer = await town.as_("partner_staff", "POST", "/v1/offerings/bulk", json=items)
        assert answer.status_code == status, answer.text[:300]


# What every answer has


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/needs", 200),
        ("GET", "/livez", 200),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/needs", 405),
        ("POST", "/v1/needs", 401),
        ("GET", "/v1/needs?x=y", 400),
        ("OPTIONS", "/v1/needs", 204),
    ],
)
async def test_no_answer_may_be_guessed_at_framed_or_run(
    town: Town, method: str, path: str, status: int
) -> None:
    answer = await town.as_("anonymous", method, path)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers.get_list("content-security-policy")
    assert policy == ["default-src 'none'; frame-ancestors 'none'"]
    assert "server" not in answer.headers
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert status < 400 or answer.headers["cache-control"] == "no-store"


async def test_the_page_of_the_documentation_keeps_its_own_policy(town: Town) -> None:
    answer = await town.as_("anonymous", "GET", "/docs")
    (policy,) = answer.headers.get_list("content-security-policy")
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


async def test_pages_of_other_origins_may_call_only_when_they_are_named(
    templates: dict[tuple[str, str], fixtures.Template], tmp_path: Path
) -> None:
    template = templates["sqlite", "settled"]
    assert template.setting
    origins = {"CORS_ORIGINS": "https://town.example"}
    preflight = {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, if-match, idempotency-key",
    }
    async with (
        fixtures.copied("sqlite", template, None) as url,  # type: ignore[arg-type]
        towns.running_town(url, tmp_path, template.setting, **origins) as opened,
    ):
        for origin, welcome in (("https://town.example", True), ("https://evil.example", False)):
            headers = {"Origin": origin}
            asked = await opened.client.options("/v1/needs", headers=headers | preflight)
            assert (asked.status_code == 204) is welcome
            answer = await opened.client.get("/v1/needs", headers=headers)
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if welcome else None)
            assert "access-control-allow-credentials" not in answer.headers
            assert "access-control-allow-credentials" not in asked.headers


async def test_by_default_no_page_of_another_origin_may_call(town: Town) -> None:
    answer = await town.client.get("/v1/needs", headers={"Origin": "https://town.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


# The head of a request, at the server itself


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with servers.started(tmp_path_factory.mktemp("data"), "--no-demo") as at:
        yield at


def _sent(address: str, *parts: bytes) -> bytes:
    """What comes back for these bytes, until the server closes or has answered."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as opened:
        with contextlib.suppress(OSError):
            for part in parts:
                opened.sendall(part)
        with contextlib.suppress(ConnectionResetError):
            return opened.recv(65_536)
    return b""


def test_a_head_within_the_limits_is_answered(address: str) -> None:
    large = b"X-Large: " + b"a" * 30_000 + b"\r\n"
    got = _sent(address, b"GET /livez HTTP/1.1\r\nHost: town\r\n" + large + b"\r\n")
    assert got.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        [b"X-Large: " + b"a" * heads.MAX_HEAD + b"\r\n\r\n"],
        [b"X-Large: ", *[b"a" * 8192] * 200],
        [b"X-Many: x\r\n" * (heads.MAX_HEADERS + 1) + b"\r\n"],
        [*[b"X-Many: " + b"a" * 1000 + b"\r\n"] * 2000],
    ],
    ids=["one too large", "one that never ends", "too many", "many that never end"],
)
def test_a_head_beyond_the_limits_ends_the_connection(address: str, head: list[bytes]) -> None:
    got = _sent(address, b"GET /livez HTTP/1.1\r\nHost: town\r\n", *head)
    # Whoever goes on sending may lose the answer to the reset, never the refusal.
    assert got == b"" or got.startswith(b"HTTP/1.1 431 ")
    assert httpx.get(f"{address}/livez").status_code == 200


def test_an_address_that_is_too_long_is_refused_before_it_is_read(address: str) -> None:
    got = _sent(address, b"GET /" + b"a" * heads.MAX_HEAD + b" HTTP/1.1\r\nHost: town\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 431 ")


def test_many_small_heads_that_come_together_are_no_large_one(address: str) -> None:
    """Also when the last of them is not whole yet."""
    one = b"GET /livez HTTP/1.1\r\nHost: town\r\nX-Long: %b\r\n\r\n" % (b"a" * 2000)
    last = b"GET /livez HTTP/1.1\r\nHost: town\r\n"
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as opened:
        opened.sendall(one * 20 + last)
        time.sleep(0.1)
        opened.sendall(b"Connection: close\r\n\r\n")
        got = b"".join(iter(lambda: opened.recv(65_536), b""))
    assert got.count(b"HTTP/1.1 200 ") == 21


def test_the_server_says_nothing_about_itself(address: str) -> None:
    answer = httpx.get(f"{address}/v1/needs/{uuid.uuid4()}")
    assert answer.status_code == 404
    assert "server" not in answer.headers
