"""The table of an agreement's life: what it must hold whatever is written into it."""

from __future__ import annotations

import datetime as dt
from typing import get_args

import pytest

from api import agreements as handlers
from api.documentation import diagram
from models.agreements import lifecycle
from models.agreements.records import StepDraft

MOMENT = dt.datetime(2026, 12, 1, 8, tzinfo=dt.UTC)


def test_the_table_has_every_step_and_every_timed_transition_and_no_other() -> None:
    by_hand = {t.name for t in lifecycle.TRANSITIONS if t.by}
    by_time = {t.name for t in lifecycle.TRANSITIONS if not t.by}
    assert by_hand == set(get_args(lifecycle.Step)) == {*handlers._STEPS, "swap"}
    assert by_time == set(get_args(lifecycle.Timed))


def test_from_each_state_a_step_leads_to_one_state() -> None:
    pairs = [(t.name, state) for t in lifecycle.TRANSITIONS for state in t.starts]
    assert len(pairs) == len(set(pairs))


def test_every_state_can_be_reached_and_only_what_is_over_has_no_way_out() -> None:
    reached = {"proposed"} | {t.leads_to for t in lifecycle.TRANSITIONS}
    assert reached == set(lifecycle.STATES)
    over = {s for s in lifecycle.STATES if not any(s in t.starts for t in lifecycle.TRANSITIONS)}
    assert over == {"lapsed", "withdrawn", "ended", "reviewed"}


def test_what_is_needed_is_taken_and_is_a_field_of_the_body() -> None:
    for transition in lifecycle.TRANSITIONS:
        assert set(transition.needs) <= set(transition.takes) <= set(StepDraft.__struct_fields__)
        assert bool(transition.after) == bool(transition.since) == (not transition.by)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("PT0S", dt.timedelta()),
        ("P7D", dt.timedelta(days=7)),
        ("P2W", dt.timedelta(weeks=2)),
        ("P1DT2H30M", dt.timedelta(days=1, hours=2, minutes=30)),
    ],
)
def test_periods_are_iso_8601(text: str, wanted: dt.timedelta) -> None:
    assert lifecycle.period(text) == wanted


def test_of_several_things_that_time_does_the_first_is_due() -> None:
    def due(state: lifecycle.State, last: dt.datetime) -> lifecycle.Due | None:
        return lifecycle.due(
            state, {"respond_by": MOMENT, "state_since": MOMENT, "last_ends": last}
        )

    soon, later = MOMENT + dt.timedelta(days=5), MOMENT + dt.timedelta(days=300)
    assert due("proposed", later) == lifecycle.Due("lapse", MOMENT)
    assert due("suspended", soon) == lifecycle.Due("complete", soon + dt.timedelta(days=1))
    assert due("suspended", later) == lifecycle.Due("give_up", MOMENT + dt.timedelta(days=90))
    assert due("ended", later) is None


def test_the_drawing_and_the_table_of_the_documentation_show_all_of_it() -> None:
    drawn, table = diagram.svg(), diagram.markdown()
    for state in lifecycle.STATES:
        assert f">{state}</text>" in drawn
    for transition in lifecycle.TRANSITIONS:
        assert f"`{transition.name}`" in table
        if transition.starts != (transition.leads_to,):
            assert transition.name in drawn
            assert not transition.after or transition.after in drawn
