"""`/docs`: the page that shows the document. It needs nothing from anywhere else.

Swagger UI is vendored in `api/static/swagger-ui`. Assets are addressed by their content, so that
browsers keep them for good; the page and the document are asked for again and answer 304.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import string
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath
from msgspec import Struct

from api import auth
from api.documentation import diagram, document

_STATIC = Path(__file__).parent.parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
# Everything from here, nothing from elsewhere; the style sheet carries its icons as data.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


class File(Struct, frozen=True):
    """Bytes to answer as they are, also compressed; `digest` is what they are called by."""

    body: bytes
    packed: bytes
    media_type: str
    digest: str


def _file(body: bytes, media_type: str) -> File:
    digest = hashlib.blake2b(body, digest_size=10).hexdigest()
    return File(body, gzip.compress(body, 6, mtime=0), media_type, digest)


@functools.cache
def assets() -> dict[str, File]:
    """The files of the page, by their names in addresses: `swagger-ui.3f2a….css`."""
    found = {}
    for path in (*_STATIC.glob("swagger-ui/*.css"), *_STATIC.glob("**/*.js")):
        file = _file(path.read_bytes(), _TYPES[path.suffix])
        found[f"{path.stem}.{file.digest}{path.suffix}"] = file
    found[diagram.name()] = _file(diagram.svg().encode(), "image/svg+xml")
    return found


@functools.cache
def _page() -> File:
    template = string.Template((_STATIC / "docs.html").read_text(encoding="utf-8"))
    names = {name.split(".")[0].replace("-", "_"): name for name in assets() if ".js" in name}
    (style,) = (name for name in assets() if name.endswith(".css"))
    return _file(template.substitute(names, style=style).encode(), "text/html")


def _answer(request: Request[Any, Any, Any], file: File, cache: str) -> Response[bytes]:
    headers = {"ETag": f'"{file.digest}"', "Cache-Control": cache, **_HEADERS}
    if f'"{file.digest}"' in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, media_type=file.media_type, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)


@get("/docs", include_in_schema=False)
async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The page."""
    return _answer(request, _page(), _ASK_AGAIN)


@get("/docs/{name:str}", include_in_schema=False)
async def asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of the page."""
    auth.found(name in assets())
    return _answer(request, assets()[name], _FOREVER)


@get("/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any], state: State) -> Response[bytes]:
    """The document, made when it is first asked for."""
    if "openapi" not in state:
        text = document.text(document.of(request.app))
        state["openapi"] = _file(text.encode(), "application/json")
    return _answer(request, state["openapi"], _ASK_AGAIN)


HANDLERS = (page, asset, openapi)
