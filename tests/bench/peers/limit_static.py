"""How fast this server can send anything at all: the bytes of one file, or 304.

python -m tests.bench.peers.limit_static FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.bench import peers

_BODY = Path(sys.argv[1]).read_bytes()
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The same answer to everything."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    known = any(name == b"if-none-match" for name, _ in scope["headers"])
    headers, body = ([], b"") if known else (_HEADERS, _BODY)
    await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    peers.serve(app)
