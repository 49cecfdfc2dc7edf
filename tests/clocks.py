"""A clock that a test moves."""

from __future__ import annotations

import datetime as dt


class Clock:
    """Stands still until it is advanced. `base.clock` is its `read`."""

    def __init__(self) -> None:
        self._now = dt.datetime.now(dt.UTC)

    def read(self) -> dt.datetime:
        """What the program takes for the present moment."""
        return self._now

    def advance(self, **by: float) -> None:
        """Let time pass: `advance(minutes=15)`."""
        self._now += dt.timedelta(**by)

    def stand(self, moment: str) -> None:
        """Stand at a moment: `stand("2027-03-31T23:59+08:00")`."""
        self._now = dt.datetime.fromisoformat(moment).astimezone(dt.UTC)

    def after(self, **by: float) -> str:
        """The moment so much later, as a body states it."""
        return (self._now + dt.timedelta(**by)).isoformat()

    def set(self, moment: dt.datetime) -> None:
        """From now on it is this time."""
        self._now = moment
