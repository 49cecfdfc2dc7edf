"""Trees of spaces and their bookings, against a model of a few lines."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, convert

from models import base, bookings, errors, kin, offerings, spaces
from tests.towns import Town, a_booking, a_space

LEVELS: tuple[kin.Level, ...] = ("site", "site", "floor", "floor", "room", "room")
SPACES = st.integers(0, len(LEVELS) - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("book"), SPACES, st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("move"), SPACES, st.none() | SPACES, st.just(0)),
        st.tuples(st.just("give back"), st.integers(0, 30), st.just(0), st.just(0)),
    ),
    min_size=8,
    max_size=20,
)


class Model(Struct):
    """What lies in what, and who is booked from which hour to which."""

    parents: dict[int, int]
    booked: dict[uuid.UUID, tuple[int, int, int]]

    def above(self, space: int) -> list[int]:
        found = []
        while space in self.parents:
            space = self.parents[space]
            found.append(space)
        return found

    def clashes(self, parents: dict[int, int]) -> bool:
        """Whether two bookings would be in each other's way with these parents."""
        tree = Model(parents, {})
        times = list(self.booked.values())
        return any(
            one[0] in (other[0], *tree.above(other[0])) and one[1] < other[2] and other[1] < one[2]
            for number, one in enumerate(times)
            for at, other in enumerate(times)
            if number != at
        )


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(STEPS)
async def test_whatever_is_moved_and_booked_no_space_is_used_with_what_it_lies_in(
    town: Town, steps: list[tuple[Any, ...]]
) -> None:
    """A1, A4: each step is taken, or refused, as the model says."""
    draft = convert(a_space(town), offerings.OfferingDraft)
    made = await offerings.register_all([draft] * len(LEVELS))
    ids = [space.id for space in made]
    for number in range(len(LEVELS)):
        assert await _place(ids, number, None)
    model = Model({}, {})
    for what, space, other, length in steps:
        if what == "move":
            allowed = other is None or kin.RANK[LEVELS[other]] > kin.RANK[LEVELS[space]]
            parents = {low: high for low, high in model.parents.items() if low != space}
            parents |= {} if other is None else {space: other}
            expected = allowed and not model.clashes(parents)
            assert await _place(ids, space, other) == expected
            model.parents = parents if expected else model.parents
        elif what == "book":
            wanted = (space, other, other + length)
            here = Model(model.parents, {**model.booked, base.new_id(): wanted})
            booking = await _book(town, ids[space], other, length)
            assert (booking is not None) == (not here.clashes(model.parents))
            if booking:
                model.booked[booking] = wanted
        elif model.booked:
            booking = sorted(model.booked)[space % len(model.booked)]
            await bookings.cancel(await bookings.read(booking))
            del model.booked[booking]


async def _place(ids: list[uuid.UUID], space: int, parent: int | None) -> bool:
    draft = spaces.SpaceDraft(
        level=LEVELS[space], parent_id=None if parent is None else ids[parent]
    )
    try:
        await spaces.place(await offerings.read(ids[space]), draft)
    except errors.Refusal as refused:
        if refused.code not in ("already_booked", "unprocessable"):
            raise
        return False
    return True


async def _book(town: Town, space: uuid.UUID, hour: int, hours: int) -> uuid.UUID | None:
    begins = base.moment(a_booking("06:00")["starts_at"]) + dt.timedelta(hours=hour)
    draft = bookings.BookingDraft(starts_at=begins, ends_at=begins + dt.timedelta(hours=hours))
    try:
        offering = await offerings.read(space)
        return (await bookings.book(offering, draft, town.accounts["secretary"])).id
    except errors.Refusal as refused:
        if refused.code != "already_booked":
            raise
        return None
