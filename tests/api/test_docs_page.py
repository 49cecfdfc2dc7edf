"""The page at /docs: it works, and it needs nothing from anywhere else."""

from __future__ import annotations

import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import servers
from tests.api import contract
from tests.towns import Town

STATIC = servers.ROOT / "api" / "static"
VENDORED = STATIC / "swagger-ui"
# What the bundle mentions and never asks for: names of namespaces and schemas, links in messages
# and comments, and what its Markdown could link to. The validator is switched off in docs.js.
MENTIONED = {
    "datatracker.ietf.org",
    "example.com",
    "fb.me",
    "github.com",
    "instagram.com",
    "json-schema.org",
    "reactjs.org",
    "redux.js.org",
    "soundcloud.com",
    "spdx.org",
    "spec.openapis.org",
    "swagger.io",
    "twitter.com",
    "validator.swagger.io",
    "vladimirgorej.com",
    "www.facebook.com",
    "www.rfc-editor.org",
    "www.tiktok.com",
    "www.w3.org",
    "실례.com",
}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


class _References(html.parser.HTMLParser):
    """Every address that a page refers to."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "action")]


async def _references(town: Town) -> list[str]:
    page = await town.as_("anonymous", "GET", "/docs")
    assert page.status_code == 200
    return _References(page.text).found


async def test_the_page_refers_only_to_files_of_ours(town: Town) -> None:
    references = await _references(town)
    assert len(references) > 3
    for reference in references:
        assert re.match(r"/[^/]|data:,$", reference), reference
        if reference.startswith("/"):
            answer = await town.as_("anonymous", "GET", reference)
            assert answer.status_code == 200, reference


async def test_nothing_may_come_from_elsewhere_and_types_are_not_guessed(town: Town) -> None:
    for path in ["/docs", *(ref for ref in await _references(town) if ref.startswith("/docs/"))]:
        headers = (await town.as_("anonymous", "GET", path)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        kind = {".js": "text/javascript", ".css": "text/css"}.get(Path(path).suffix, "text/html")
        assert headers["content-type"] == f"{kind}; charset=utf-8"


async def test_files_are_kept_for_good_and_the_page_is_asked_for_again(town: Town) -> None:
    page = await town.as_("anonymous", "GET", "/docs")
    assert page.headers["cache-control"] == "no-cache"
    tag = {"If-None-Match": page.headers["etag"]}
    assert (await town.as_("anonymous", "GET", "/docs", headers=tag)).status_code == 304
    for path in (ref for ref in await _references(town) if ref.startswith("/docs/")):
        answer = await town.as_("anonymous", "GET", path)
        assert "immutable" in answer.headers["cache-control"]
        assert hashlib.blake2b(answer.content, digest_size=10).hexdigest() in path


async def test_a_file_is_the_same_compressed_or_not(town: Town) -> None:
    (path,) = (ref for ref in await _references(town) if "bundle" in ref)
    packed = await town.as_("anonymous", "GET", path, headers={"Accept-Encoding": "gzip"})
    plain = await town.as_("anonymous", "GET", path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 3


async def test_a_file_that_the_page_does_not_have_is_a_404_problem(town: Town) -> None:
    for name in ("swagger-ui.css", "..%2f..%2fpyproject.toml", "LICENSE"):
        answer = await town.as_("anonymous", "GET", f"/docs/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_what_is_vendored_is_what_was_published() -> None:
    lines = (VENDORED / "SHA256SUMS").read_text().splitlines()
    recorded = {name: digest for digest, name in (line.split() for line in lines)}
    found = {path.name for path in VENDORED.iterdir()} - {"SHA256SUMS", "README.md"}
    assert recorded.keys() == found
    for name, digest in recorded.items():
        assert hashlib.sha256((VENDORED / name).read_bytes()).hexdigest() == digest, name


def test_the_style_sheet_loads_nothing() -> None:
    style = (VENDORED / "swagger-ui.css").read_text()
    assert "@import" not in style
    assert set(re.findall(r"url\(\s*[\"']?(\w+:|[^)]{0,20})", style)) == {"data:"}


def test_every_address_that_the_scripts_mention_is_known_to_be_harmless() -> None:
    own = (STATIC / "docs.js").read_text()
    assert "//" not in re.sub(r"^//.*$", "", own, flags=re.MULTILINE)
    assert "validatorUrl: null" in own
    bundle = (VENDORED / "swagger-ui-bundle.js").read_text()
    assert set(re.findall(r"https?://([\w-]+(?:\.[\w-]+)+)", bundle)) == MENTIONED


@pytest.mark.skipif(
    BROWSER is None, reason="no chromium on PATH: /docs was not looked at in a browser"
)
def test_a_browser_shows_every_operation_and_asks_nobody_else(tmp_path: Path) -> None:
    with servers.started(tmp_path / "data", "--no-demo") as address:
        command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        command += ["--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        command += [f"--log-net-log={tmp_path / 'net.json'}", "--enable-logging=stderr"]
        command += ["--virtual-time-budget=20000", "--dump-dom", f"{address}/docs"]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    operations = sum(len(item) for item in contract.agreed()["paths"].values())
    assert shown.stdout.count('<div class="opblock opblock-') == operations
    assert "CONSOLE" not in shown.stderr, shown.stderr
    asked = _asked(tmp_path / "net.json", address)
    assert f"{address}/v1/openapi.json" in asked
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}


def _asked(log: Path, origin: str) -> set[str]:
    """Every address that the page at `origin` has asked for, by the browser's own record."""
    text = log.read_text().rstrip().rstrip(",")
    events = json.loads(text if text.endswith("}") else text + "]}")["events"]
    parameters = (event.get("params", {}) for event in events)
    return {p["url"] for p in parameters if p.get("initiator") == origin and "url" in p}
