"""A plugin of schemathesis: the requests of each operation come from every caller in turn.

`CALLERS` holds a token for each of them (JSON, by name; empty for nobody). What each was answered
by each operation is in the file `ANSWERED` at the end: how many times which status.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

CALLERS: dict[str, str] = json.loads(os.environ["CALLERS"])
NAMES = {token: name for name, token in CALLERS.items()}
_turns: dict[str, itertools.cycle[str]] = {}
# Of an operation so many requests are made; of more, one in four.
_ALL_OF = 100
_made: Counter[str] = Counter()
_answered: dict[str, dict[str, Counter[int]]] = {}


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """A need has hundreds of ways to be wrong, and three addresses take one."""
    _made[case.operation.label] += 1
    made = _made[case.operation.label]
    return made <= _ALL_OF or made % 4 == 0


@schemathesis.auth(refresh_interval=None)
class NextCaller:
    """Signs each request for the next caller."""

    def get(self, case: Any, context: Any) -> str:
        """Whose turn it is: the operator begins, who gets furthest; after them another at each
        operation, since few have requests enough for all."""
        label = context.operation.label
        if label not in _turns:
            *others, operator = CALLERS
            at = len(_turns) % len(others)
            _turns[label] = itertools.cycle([operator, *others[at:], *others[:at]])
        return next(_turns[label])

    def set(self, case: Any, data: str, context: Any) -> None:
        """Put the token into the request."""
        if CALLERS[data]:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {CALLERS[data]}"}


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Note what was answered, but for other methods of the address and made-up tokens."""
    token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token in NAMES and response.request.method == case.operation.method.upper():
        name = case.operation.definition.raw["operationId"]
        callers = _answered.setdefault(name, {})
        callers.setdefault(NAMES[token], Counter())[response.status_code] += 1


@atexit.register
def _report() -> None:
    Path(os.environ["ANSWERED"]).write_text(json.dumps(_answered))
