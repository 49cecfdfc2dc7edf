"""What to do about most exclusions, in one plain sentence, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from models import values
from search import wording

PartOfDay = Literal["night", "morning", "midday", "afternoon", "evening"]
_Text = tuple[str, str]  # zh, en


class Hours(Struct, frozen=True):
    """How many offerings would fit if they were open then, too."""

    service_type: str
    kind: values.OfferingKind
    part_of_day: PartOfDay
    days: tuple[int, ...]
    offerings: int


class Unfilled(Struct, frozen=True):
    """For how many slots of this service and kind fewer offerings fit than they take."""

    service_type: str
    kind: values.OfferingKind
    slots: int


# Which gate keeps most of those out who fit otherwise, and what helps.
_GATES: Mapping[str, _Text] = MappingProxyType(
    {
        "time": ("开放时间", "opening hours"),
        "credentials": (
            "资质：协助办理、续期或核实",
            "licences: help to obtain, renew or verify them",
        ),
        "capacity": ("容量：寻找更大的资源", "capacity: look for larger ones"),
        "budget": ("预算：提高预算或寻找更低价格", "the budget: raise it or look for lower prices"),
        "radius": ("距离：扩大范围或就近招募", "distance: widen the radius or recruit nearer"),
        "reach": ("服务距离：请其走得更远或就近招募", "their reach: extend it or recruit nearer"),
        "features": ("设施：补充所缺设施", "features: add what is lacking"),
        "language": ("语言：招募会说该语言的人", "language: recruit who speaks it"),
        "load": ("每周工时上限：招募更多人手", "weekly hours: recruit more hands"),
        "contacts": ("联系次数上限：招募更多人手", "contacts a week: recruit more hands"),
        "status": ("未启用或未准入：启用并准入", "being inactive: admit and activate them"),
        "blocked": ("已被屏蔽的合作方", "blocked partners"),
    }
)
# These say that an offering is another thing, not that it nearly fits.
OTHER_THINGS = frozenset({"kind", "service"})
_PARTS_OF_DAY: Mapping[PartOfDay, _Text] = MappingProxyType(
    {
        "night": ("夜间", "at night"),
        "morning": ("上午", "in the morning"),
        "midday": ("中午", "at midday"),
        "afternoon": ("下午", "in the afternoon"),
        "evening": ("晚间", "in the evening"),
    }
)
_NOTHING_ASKED: _Text = ("没有开放的需求。", "No need is open here.")
_FILLED: _Text = (
    "{slots}个岗位都有足够的匹配。",
    "Enough offerings fit each of the {slots} slots.",
)
_SHORT: _Text = (
    "{slots}个岗位中{short}个匹配不足。",
    "Too few offerings fit {short} of {slots} slots.",
)
_NEAR: _Text = (
    "差一项即可的多因{gate}（{alone}次）{recruit}。",
    " Most near misses are {gate} ({alone}){recruit}.",
)
_NOBODY_NEAR: _Text = ("没有差一项即可的资源{recruit}。", " Nobody nearly fits{recruit}.")
_RECRUIT: _Text = ("：请为“{service}”寻找{kind}", ": recruit for {service} ({kind})")
_RECRUIT_THEN: _Text = (
    "：请为“{service}”寻找{days}{part}可用的{kind}",
    ": recruit for {service} ({kind}), {days} {part}",
)


def say(
    slots: int,
    short: int,
    alone: Mapping[str, int],
    hours: Hours | None,
    unfilled: Unfilled | None,
    names: Mapping[str, values.Bilingual],
) -> values.Bilingual:
    """The sentence, in both languages.

    `short` of the `slots` have too few who fit; `alone` counts by gate the offerings that it alone
    keeps out; `hours` and `unfilled` are the most frequent ones; `names` are of service types.
    """
    return values.Bilingual(
        *(_say(at, slots, short, alone, hours, unfilled, names) for at in (0, 1))
    )


def _say(
    at: int,
    slots: int,
    short: int,
    alone: Mapping[str, int],
    hours: Hours | None,
    unfilled: Unfilled | None,
    names: Mapping[str, values.Bilingual],
) -> str:
    if not slots:
        return _NOTHING_ASKED[at]
    begins = (_SHORT if unfilled else _FILLED)[at].format(slots=slots, short=short)
    near = {gate: n for gate, n in alone.items() if n and gate not in OTHER_THINGS}
    if near:
        gate = min(near, key=lambda gate: (-near[gate], gate))
        recruit = _recruit(hours, names, at) if gate == "time" and hours else ""
        return begins + _NEAR[at].format(gate=_GATES[gate][at], alone=near[gate], recruit=recruit)
    return begins + (
        _NOBODY_NEAR[at].format(recruit=_recruit(unfilled, names, at)) if unfilled else ""
    )


def _recruit(lacking: Hours | Unfilled, names: Mapping[str, values.Bilingual], at: int) -> str:
    name, kind = names[lacking.service_type], wording.WORDS[lacking.kind][at]
    service = (name.zh, name.en)[at]
    if isinstance(lacking, Unfilled):
        return _RECRUIT[at].format(service=service, kind=kind)
    days = wording.days_of(list(lacking.days), at)
    part = _PARTS_OF_DAY[lacking.part_of_day][at]
    return _RECRUIT_THEN[at].format(service=service, kind=kind, days=days, part=part)
