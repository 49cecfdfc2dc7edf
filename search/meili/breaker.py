"""A server that does not answer is left alone for a moment, instead of every caller waiting for it.

After so many failures in a row nobody asks until a pause is over; then one caller tries, and the
others wait for what comes of that. A server that says itself when to come back (Retry-After) is
taken at its word.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from search.engine import SearchUnavailable

FAILURES = 5
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 5.0
LONGEST_RETRY_AFTER_S = 60.0
# A try that was given up by its caller must not keep the others out for ever.
TRY_S = 10.0


class Breaker:
    """Counts failures of one server; belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause_s = 0.0
        self._closed_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it did not answer again and again, and has not answered since."""
        return self._closed_until > 0

    def check(self) -> None:
        """Refuses (SearchUnavailable) while the pause lasts; whoever passes after it is the one
        who tries."""
        if not self._closed_until:
            return
        now = self._clock()
        if now < self._closed_until:
            raise SearchUnavailable("Meilisearch did not answer a moment ago")
        self._closed_until = now + TRY_S

    def succeeded(self) -> None:
        """It answers: everybody may ask."""
        self._failures, self._pause_s, self._closed_until = 0, 0.0, 0.0

    def failed(self, retry_after_s: float = 0.0) -> None:
        """It did not answer, or says that it cannot now."""
        self._failures += 1
        if retry_after_s:
            pause = min(retry_after_s, LONGEST_RETRY_AFTER_S)
        elif self._failures >= FAILURES:
            pause = self._pause_s = min(self._pause_s * 2 or FIRST_PAUSE_S, LAST_PAUSE_S)
        else:
            return
        self._closed_until = self._clock() + pause
