"""Logging, set up in one place: what may be in a line is listed, and everything else is dropped.

A line is for whoever runs the service, who has no business with what people write. So an
exception is its type and where in our code it came from, without its message and values, and what
a library logs is where it logged it, without the text.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import structlog

# Names, numbers and ids. A field that may hold what somebody wrote must never be among them.
FIELDS = frozenset(
    {
        "request_id",
        "method",
        "route",
        "status",
        "ms",
        "caller",
        "error",
        "seconds",
        "count",
        "id",
        "topic",
        "library",
        "at",
        "seq",
        "hash",
    }
)
_EVENT = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){0,3}")
_LONGEST = 200
_MOST_FRAMES = 30
_ROOT = Path(__file__).parent.parent
_OURS = tuple(f"{_ROOT / folder}/" for folder in ("api", "models", "search"))

Event = MutableMapping[str, Any]
_encode_lines = msgspec.json.Encoder().encode_lines


class _Request(msgspec.Struct, kw_only=True):
    """The line of a request: there is one for each, so it goes past the list it is made after."""

    timestamp: dt.datetime
    level: str = "info"
    event: str = "request"
    request_id: str
    method: str
    route: str
    status: int
    ms: float
    caller: str


_is_json = False
# Lines of this turn of the loop. One write costs more than all else of a line.
_waiting: list[_Request] = []


class _Stderr:
    """Writes lines to whatever stderr is at that moment: tests put another in its place."""

    def msg(self, line: str) -> None:
        _write_waiting()
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def configure(terminal: bool | None = None) -> None:
    """Send everything that is logged, by us or by a library, through the list to stderr.

    JSON, a line each; on a terminal, for people.
    """
    global _is_json
    if terminal is None:
        terminal = sys.stderr.isatty()
    _is_json = not terminal
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            allowed,
            structlog.dev.ConsoleRenderer() if terminal else _json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _Libraries) for handler in root.handlers):
        root.addHandler(_Libraries())


def request(request_id: str, method: str, route: str, status: int, ms: float, caller: str) -> None:
    """The line of a request. Every value is one of ours, or was looked at before.

    It is written at the end of this turn of the loop, before whatever else is logged.
    """
    if _is_json:
        line = _Request(
            timestamp=dt.datetime.now(dt.UTC),
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            ms=ms,
            caller=caller,
        )
        if not _waiting:
            asyncio.get_running_loop().call_soon(_write_waiting)
        _waiting.append(line)
        return
    structlog.get_logger().info(
        "request",
        request_id=request_id,
        method=method,
        route=route,
        status=status,
        ms=ms,
        caller=caller,
    )


def _write_waiting() -> None:
    """The lines of the requests that ended in this turn of the loop, in one write."""
    if _waiting:
        lines = _encode_lines(_waiting).decode()
        # First: if they cannot be written, the next ones are tried all the same.
        _waiting.clear()
        sys.stderr.write(lines)


def _json(_: Any, __: str, event: Event) -> str:
    return msgspec.json.encode(event).decode()


def allowed(_: Any, __: str, event: Event) -> dict[str, Any]:
    """The line without what is not on the list."""
    name = event["event"]
    line = {
        "timestamp": event["timestamp"],
        "level": event["level"],
        "event": name if isinstance(name, str) and _EVENT.fullmatch(name) else "unnamed",
    }
    for field, value in event.items():
        if field in FIELDS and _is_plain(value):
            line[field] = value
    error = event.get("exc_info")
    if error:
        line |= _trace(_exception(error))
    return line


def _is_plain(value: Any) -> bool:
    """A number, or a short text without anything that could begin another line."""
    if isinstance(value, str):
        return len(value) <= _LONGEST and value.isascii() and value.isprintable()
    return isinstance(value, int | float)


def _exception(given: Any) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    return given[1] if isinstance(given, tuple) else sys.exc_info()[1]


def _trace(error: BaseException | None) -> dict[str, Any]:
    """What went wrong and where, without a word of what it was about."""
    if error is None:
        return {}
    found = {"error": _name(error), "frames": list(_frames(error.__traceback__))[-_MOST_FRAMES:]}
    causes = [_name(cause) for cause in _causes(error)]
    return found | ({"causes": causes} if causes else {})


def _name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else (f"{kind.__module__}.{kind.__qualname__}")
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What led to it, nearest first; of a group, what is in it."""
    seen = {id(error)}
    waiting = [error]
    while waiting and len(seen) < 10:
        error = waiting.pop(0)
        inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        for cause in (*inside, before):
            if cause is not None and id(cause) not in seen:
                seen.add(id(cause))
                waiting.append(cause)
                yield cause


def _frames(trace: TracebackType | None) -> Iterator[str]:
    """Our own frames, and the last one whoever's it is, as file:line:function."""
    walked = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
    for number, (code, line) in enumerate(walked, 1):
        if code.co_filename.startswith(_OURS) or number == len(walked):
            yield f"{_short(code.co_filename)}:{line}:{code.co_qualname}"


def _short(file: str) -> str:
    if file.startswith(_OURS):
        return Path(file).relative_to(_ROOT).as_posix()
    return "/".join(Path(file).parts[-2:])


class _Libraries(logging.Handler):
    """What libraries log: that they did and where, since their texts quote what they were given."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        level = max(20, min(record.levelno // 10 * 10, 50))  # structlog knows no others
        structlog.get_logger().log(
            level,
            "library",
            library=record.name,
            at=f"{_short(record.pathname)}:{record.lineno}:{record.funcName}",
            exc_info=record.exc_info,
        )


def hook() -> None:
    """Send also through the list what Python would print itself: how a thread or the program died,
    and what went wrong where nobody could be told."""
    sys.excepthook = lambda _, error, __: _died("program.died", error)
    threading.excepthook = lambda given: _died("thread.died", given.exc_value)
    sys.unraisablehook = lambda given: _died("cleanup.failed", given.exc_value)


def _died(event: str, error: BaseException | None) -> None:
    if not isinstance(error, SystemExit):
        structlog.get_logger().critical(event, exc_info=error)
