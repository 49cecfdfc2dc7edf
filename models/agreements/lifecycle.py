"""The life of an agreement as data: its states, who leads from one to the next, and what time does.

`TRANSITIONS` is the one table. `POST /v1/agreements/{id}/{transition}` allows what it allows, the
OpenAPI document and the drawn diagram show it, and the clock moves what is due by it. Periods are
ISO 8601 durations.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Literal, get_args

import icalendar
from msgspec import Struct

State = Literal[
    "proposed",
    "declined",
    "lapsed",
    "withdrawn",
    "active",
    "suspended",
    "ended",
    "completed",
    "reviewed",
]
Step = Literal["accept", "decline", "withdraw", "swap", "suspend", "resume", "end"]
Timed = Literal["lapse", "give_up", "complete", "close_reviews"]
# party: whoever answers for one of the parties; decider: whoever decides for the need's place.
Who = Literal["party", "decider"]
# What time counts from: the end of the time to answer, the moment the state was entered, the end
# of the last occurrence.
Since = Literal["respond_by", "state_since", "last_ends"]
Field = Literal["reason", "note", "party_id", "places", "commitment_id", "offering_id"]

OPEN: tuple[State, ...] = ("proposed", "active", "suspended")
LIVE: tuple[State, ...] = ("active", "suspended")


class Transition(Struct, frozen=True, kw_only=True):
    """One way from one state to another.

    `by` are those who may; nobody: time alone, `after` the period since the moment `since`.
    `takes` are the fields a caller may send, `needs` those that must be there. `effect` says in
    both languages what happens with it.
    """

    name: Step | Timed
    starts: tuple[State, ...]
    leads_to: State
    by: tuple[Who, ...] = ()
    after: str | None = None
    since: Since | None = None
    takes: tuple[Field, ...] = ()
    needs: tuple[Field, ...] = ()
    effect_en: str
    effect_zh: str


TRANSITIONS: tuple[Transition, ...] = (
    Transition(
        name="accept",
        starts=("proposed",),
        leads_to="active",
        by=("party",),
        takes=("party_id", "places"),
        effect_en="says yes for one party; with the last yes every time is booked, all or none",
        effect_zh="代表一方接受；最后一方接受时预订全部时段，全有或全无",
    ),
    *(
        Transition(
            name="accept",
            starts=(state,),
            leads_to=state,
            by=("party",),
            takes=("party_id",),
            effect_en="a newcomer says yes and takes over what is left",
            effect_zh="接替者接受，并接手剩余时段",
        )
        for state in LIVE
    ),
    Transition(
        name="decline",
        starts=("proposed",),
        leads_to="declined",
        by=("party",),
        takes=("party_id", "reason", "note"),
        needs=("reason",),
        effect_en="says no for one party, with a reason that is counted",
        effect_zh="代表一方谢绝，原因计入统计",
    ),
    *(
        Transition(
            name="decline",
            starts=(state,),
            leads_to=state,
            by=("party",),
            takes=("party_id", "reason", "note"),
            needs=("reason",),
            effect_en="a newcomer says no; the agreement stays as it is",
            effect_zh="接替者谢绝，协议不变",
        )
        for state in LIVE
    ),
    Transition(
        name="withdraw",
        starts=("proposed",),
        leads_to="withdrawn",
        by=("decider",),
        takes=("reason", "note"),
        effect_en="takes the proposal back",
        effect_zh="撤回提议",
    ),
    Transition(
        name="lapse",
        starts=("proposed",),
        leads_to="lapsed",
        after="PT0S",
        since="respond_by",
        effect_en="not everybody has answered in time",
        effect_zh="未在期限内全部答复",
    ),
    Transition(
        name="swap",
        starts=("proposed", "declined"),
        leads_to="proposed",
        by=("decider",),
        takes=("commitment_id", "offering_id"),
        needs=("commitment_id",),
        effect_en="asks another member instead of one; without offering_id the best that fits",
        effect_zh="改请另一成员；未给出 offering_id 时取最匹配者",
    ),
    *(
        Transition(
            name="swap",
            starts=(state,),
            leads_to=state,
            by=("decider",),
            takes=("commitment_id", "offering_id"),
            needs=("commitment_id",),
            effect_en="asks a newcomer, who takes over once they accept",
            effect_zh="邀请接替者，其接受后接手",
        )
        for state in LIVE
    ),
    Transition(
        name="suspend",
        starts=("active",),
        leads_to="suspended",
        by=("party", "decider"),
        takes=("reason", "note"),
        needs=("reason",),
        effect_en="nothing takes place; the times stay booked",
        effect_zh="暂停服务，时段保留",
    ),
    Transition(
        name="resume",
        starts=("suspended",),
        leads_to="active",
        by=("decider",),
        takes=("note",),
        effect_en="goes on; what fell into the pause is cancelled",
        effect_zh="恢复服务，暂停期间的场次取消",
    ),
    Transition(
        name="give_up",
        starts=("suspended",),
        leads_to="ended",
        after="P90D",
        since="state_since",
        effect_en="nobody has resumed it; what is left is given back",
        effect_zh="无人恢复，剩余时段释放",
    ),
    Transition(
        name="end",
        starts=("active", "suspended"),
        leads_to="ended",
        by=("party", "decider"),
        takes=("reason", "note"),
        needs=("reason",),
        effect_en="ends early; what has been stays on record, what is left is given back",
        effect_zh="提前结束；已发生的留存，剩余时段释放",
    ),
    Transition(
        name="complete",
        starts=("active", "suspended"),
        leads_to="completed",
        after="P1D",
        since="last_ends",
        effect_en="a day after its last occurrence",
        effect_zh="最后一场结束一天后",
    ),
    Transition(
        name="close_reviews",
        starts=("completed",),
        leads_to="reviewed",
        after="P7D",
        since="state_since",
        effect_en="what the sides have said of each other is shown to both",
        effect_zh="双方互评公开",
    ),
)
STATES: tuple[State, ...] = get_args(State)
STEPS: tuple[Step, ...] = get_args(Step)


class Due(Struct, frozen=True):
    """What time does next, and when."""

    name: Timed
    at: dt.datetime


def find(step: str, state: State) -> Transition | None:
    """The transition of that name from a state; None where there is none."""
    return next((t for t in TRANSITIONS if t.name == step and state in t.starts), None)


def starts_of(step: str) -> tuple[State, ...]:
    """The states that a transition starts from."""
    return tuple(state for state in STATES if find(step, state))


def due(state: State, moments: Mapping[Since, dt.datetime | None]) -> Due | None:
    """What time does by itself in this state, and when: of several, the first.

    `moments` are those that periods count from; one that is None never comes.
    """
    found = [
        Due(t.name, moment + period(t.after))  # type: ignore[arg-type]  # timed ones have the names
        for t in TRANSITIONS
        if t.after and t.since and state in t.starts and (moment := moments[t.since])
    ]
    return min(found, key=lambda one: one.at, default=None)


def period(text: str) -> dt.timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds (RFC 5545, 3.3.6)."""
    found: dt.timedelta = icalendar.vDuration.from_ical(text)  # type: ignore[no-untyped-call]
    return found
