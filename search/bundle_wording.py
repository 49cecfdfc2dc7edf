"""What a bundle lacks, in words: why a role is unfilled, why nobody goes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.values import Bilingual
from search import wording
from search.bundles import Obstacle, Rule
from search.gates import Failure, Mend
from search.wording import Language, Text

GATES: Mapping[str, Text] = {
    "kind": ("类别不符", "another kind"),
    "status": ("未启用或未接纳", "not active or not admitted"),
    "blocked": ("已屏蔽", "blocked here"),
    "contacts": ("本周联系次数已满", "contacted often enough this week"),
    "service": ("不提供该服务", "another service"),
    "radius": ("太远", "too far away"),
    "reach": ("不来这么远", "does not come so far"),
    "features": ("缺少设施", "lacks features"),
    "language": ("语言不通", "speaks another language"),
    "budget": ("超出预算", "over the budget"),
    "load": ("每周时间不足", "no hours left in the week"),
    "capacity": ("容量不足", "too small or full"),
    "credentials": ("缺少有效资质", "no valid licence"),
    "time": ("时间不合", "not free then"),
}

UNFILLED: Mapping[str, Text] = {
    "nobody": (
        "角色{role}空缺：附近没有这类资源",
        "unfilled role: {role}, because there is nothing of the kind nearby",
    ),
    "none": ("角色{role}空缺：{shut}", "unfilled role: {role}, because {shut}"),
    "few": (
        "角色{role}人数不足：需要{wanted}，只有{found}合适",
        "unfilled role: {role}, because it takes {wanted} and only {found} fit",
    ),
    "others": ("；其余：{shut}", "; of the others: {shut}"),
    "gate": ("{gate}（{count}）", "{gate} ({count})"),
    "nearest": ("。最接近的是{title}：{text}", ". Nearest is {title}: {text}"),
    "cured": ("{text} → {mend}", "{text} → {mend}"),
}

OBSTACLES: Mapping[Rule, Text] = {
    "budget": (
        "角色都有人选，但合计至少{needed}，预算只有{has}",
        "every role has candidates, but together they cost {needed} at the least and the budget"
        " is {has}",
    ),
    "time": (
        "角色都有人选，但共同时间最多为所需的{has}%，需要{needed}%",
        "every role has candidates, but together they are free for {has} % of the time at the"
        " most, {needed} % are needed",
    ),
    "features": (
        "角色{roles}有人选，但没有场地具备其所需的{needed}",
        "there are candidates for {roles}, but no space has what they require: {needed}",
    ),
    "reach": (
        "角色{roles}有人选，但距场地{needed}米，最远只服务{has}米",
        "there are candidates for {roles}, but the space is {needed} m away and they go no further"
        " than {has} m",
    ),
    "one_role": (
        "同一提供方不能兼任多个角色：{roles}",
        "one and the same partner would have to fill {roles}",
    ),
}
_TOGETHER: Text = ("（须与其他原因一并解决）", " (to be mended together with the others)")
MENDS: Mapping[str, Text] = {
    "lower_coverage": (
        "将最低时间覆盖降到{value}%",
        "ask for {value} % of the time only",
    ),
}
_SHOWN_AT_MOST = 3


def say_unfilled(
    role: str,
    wanted: int,
    found: int,
    shut: Sequence[tuple[str, int]],
    nearest: tuple[Bilingual, Sequence[Failure]] | None,
    language: Language,
) -> str:
    """Why nobody, or too few, fill a role: how many each gate keeps out, most first, who is nearest
    to it, and what would let them in."""

    def say(code: str, **values: Any) -> str:
        return wording.say(UNFILLED[code], values, language)

    gates = [
        say("gate", gate=wording.say(GATES[gate], {}, language), count=count)
        for gate, count in shut[:_SHOWN_AT_MOST]
    ]
    if found:
        text = say("few", role=role, wanted=wanted, found=found)
        text += say("others", shut=gates) if gates else ""
    else:
        text = say("none" if gates else "nobody", role=role, shut=gates)
    if nearest is None:
        return text
    title, because = nearest
    name = title.zh if language == "zh" else title.en
    return text + say("nearest", title=name, text=[_cured(entry, language) for entry in because])


def _cured(failure: Failure, language: Language) -> str:
    text = wording.say_failure(failure, language)
    if failure.mend is None:
        return text
    mend = wording.say_mend(failure.mend, language)
    return wording.say(UNFILLED["cured"], {"text": text, "mend": mend}, language)


def say_obstacle(obstacle: Obstacle, language: Language) -> str:
    """Which joint rule is in the way, with the values compared."""
    needed, has = obstacle.needed, obstacle.has
    if obstacle.rule == "time":
        needed, has = percent(needed), percent(has)
    values = {"roles": list(obstacle.roles), "needed": needed, "has": has}
    text = wording.say(OBSTACLES[obstacle.rule], values, language)
    return text if obstacle.alone else text + wording.say(_TOGETHER, {}, language)


def say_cure(mend: Mend, language: Language) -> str:
    """The change that would do."""
    if mend.action in MENDS:
        return wording.say(MENDS[mend.action], {"value": percent(mend.value)}, language)
    return wording.say_mend(mend, language)


def percent(share: int) -> str:
    """A share of 0..10000: `83.33`, `100`."""
    return f"{share // 100}.{share % 100:02d}".rstrip("0").rstrip(".")
