"""What the matcher found, as short sentences in Chinese and English, with the values compared.

One template per code, gate and action; placeholders take the values of the part, failure or mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from search.gates import Failure, Mend
from search.scoring import Part

Language = Literal["zh", "en"]
Text = tuple[str, str]  # zh, en

PARTS: Mapping[str, Text] = {
    "distance": (
        "相距{distance_m}米；0米满分，{radius_m}米为零分",
        "{distance_m} m away; full marks at 0 m, none at {radius_m} m",
    ),
    "distance.anywhere": (
        "相距{distance_m}米；每{half_m}米减半",
        "{distance_m} m away; halves every {half_m} m",
    ),
    "distance.space": (
        "距场地{distance_m}米；0米满分，{radius_m}米为零分",
        "{distance_m} m from the space; full marks at 0 m, none at {radius_m} m",
    ),
    "distance.anywhere.space": (
        "距场地{distance_m}米；每{half_m}米减半",
        "{distance_m} m from the space; halves every {half_m} m",
    ),
    "distance.unknown": ("位置未知", "position unknown"),
    "time.whole": ("所需时间全部有空（{asked}分钟）", "free for all of the {asked} min asked for"),
    "time.part": (
        "所需{asked}分钟中有空{free}分钟",
        "free for {free} of the {asked} min asked for",
    ),
    "time.any": ("未要求时间", "no time asked for"),
    "reliability.both": (
        "{ratings}次评价平均{rating}星；{agreed}次约定履行{kept}次",
        "{rating} stars (ratings: {ratings}); kept {kept} of {agreed} jobs",
    ),
    "reliability.rated": (
        "{ratings}次评价平均{rating}星；尚无约定记录",
        "{rating} stars (ratings: {ratings}); no jobs yet",
    ),
    "reliability.kept": (
        "{agreed}次约定履行{kept}次；尚无评价",
        "kept {kept} of {agreed} jobs; no ratings yet",
    ),
    "reliability.new": ("新加入，尚无评价和约定记录", "new: no ratings and no jobs yet"),
    "price": ("价格{price}，预算{budget}", "costs {price}, the budget is {budget}"),
    "price.free": ("免费", "free of charge"),
    "price.no_budget": ("价格{price}，未给出预算", "costs {price}, no budget stated"),
    "capacity": ("可容纳{places}，需要{needed}", "holds {places}, {needed} needed"),
    "capacity.large": (
        "可容纳{places}，只需要{needed}：偏大",
        "holds {places}, only {needed} needed: larger than it must be",
    ),
    "capacity.part": (
        "可容纳{places}，共需要{needed}：只够一部分",
        "holds {places} of the {needed} needed",
    ),
    "capacity.any": ("容量不受限", "no limit of capacity"),
    "credentials": (
        "优先资质{preferred}中具备：{held}",
        "of the preferred {preferred} holds: {held}",
    ),
    "credentials.any": ("没有优先资质要求", "no credentials preferred"),
    "continuity": ("曾在这里服务{times}次", "times it has served here: {times}"),
    "continuity.new": ("尚未在这里服务过", "has not served here yet"),
    "balance": (
        "加上本项每周{minutes}分钟，上限{most}分钟",
        "{minutes} min a week with this, {most} at most",
    ),
    "balance.any": ("没有每周时间上限", "no weekly limit"),
    "language": ("需要{wanted}，会说：{spoken}", "asked for {wanted}, speaks: {spoken}"),
    "language.any": ("没有语言要求", "no language asked for"),
    "text": ("描述相符{percent}%", "descriptions agree by {percent} %"),
    "text.unknown": ("描述未比较", "descriptions not compared"),
}

FAILURES: Mapping[str, Text] = {
    "kind": ("需要{needed}，这是{has}", "a {needed} is needed, this is a {has}"),
    "status.offering": ("状态为{has}，须为{needed}", "is {has}, must be {needed}"),
    "status.partner": ("提供方状态为{has}，须为{needed}", "its partner is {has}, must be {needed}"),
    "blocked": ("该社区已不与其合作", "this place has stopped working with the partner"),
    "contacts": (
        "本周联系次数已用完：最多{has}次，这将是第{needed}次",
        "may be contacted {has} times a week at most, this would be number {needed}",
    ),
    "service": ("需要{needed}，提供：{has}", "{needed} is needed, offered: {has}"),
    "radius": ("相距{has}米，范围{needed}米", "{has} m away, the need's radius is {needed} m"),
    "radius.unknown": (
        "位置未知，范围{needed}米",
        "position unknown, the need's radius is {needed} m",
    ),
    "reach": ("相距{needed}米，最远服务{has}米", "{needed} m away, goes no further than {has} m"),
    "features": ("缺少{lacking}；具备：{has}", "lacks {lacking}; has: {has}"),
    "language": ("需要会说{needed}之一，会说：{has}", "one of {needed} is needed, speaks: {has}"),
    "budget": ("价格{needed}，预算只有{has}", "costs {needed}, the budget is {has}"),
    "budget.currency": (
        "价格{needed}，预算为{has}：币种不同",
        "costs {needed}, the budget is {has}: another currency",
    ),
    "load": (
        "每周已有{committed}分钟，加本项{minutes}分钟共{needed}分钟，上限{has}分钟",
        "{committed} min a week taken, {needed} with these {minutes}, {has} at most",
    ),
    "capacity": ("剩余容量{has}，需要{needed}", "{has} places left, {needed} needed"),
    "credentials.missing": ("没有经核实的资质：{kind}", "no verified licence: {kind}"),
    "credentials.unverified": ("资质{kind}尚未核实", "licence {kind} is not verified"),
    "credentials.expires": (
        "资质{kind}有效至{has}，须有效至{needed}",
        "licence {kind} is valid until {has}, needed until {needed}",
    ),
    "credentials.starts": (
        "资质{kind}自{has}起有效，{needed}就需要",
        "licence {kind} is valid from {has}, needed from {needed}",
    ),
    "time.opens_late": (
        "{end}才开门，{start}就需要",
        "opens {end}, needed from {start}",
    ),
    "time.closes_early": (
        "{start}关门，需要到{end}",
        "closes {start}, needed until {end}",
    ),
    "time.closed": (
        "需要的时间没有开放：{add}（有空{has}分钟，需要{needed}分钟）",
        "not open when needed: {add} (free for {has} of {needed} min)",
    ),
    "time.busy": (
        "已有安排：{times}（有空{has}分钟，需要{needed}分钟）",
        "busy {times} (free for {has} of {needed} min)",
    ),
    "time.over": (
        "{first}至{last}之间没有需要的时间",
        "the need has no time between {first} and {last}",
    ),
}

MENDS: Mapping[str, Text] = {
    "activate": ("启用该资源", "make the offering active"),
    "admit_partner": ("接纳该提供方", "admit the partner"),
    "lift_block": ("解除屏蔽", "lift the block"),
    "allow_contact": ("每周允许联系{value}次", "allow {value} contacts a week"),
    "offer_service": ("增加服务：{add}", "offer {add} too"),
    "widen_radius": ("将范围扩大到{value}米", "widen the radius to {value} m"),
    "drop_radius": ("取消范围限制", "ask for no radius"),
    "extend_reach": ("将服务距离扩大到{value}米", "extend the reach to {value} m"),
    "add_feature": ("增加设施：{add}", "add {add}"),
    "add_language": ("增加语言：{add}", "add the language {add}"),
    "raise_budget": ("将预算提高到{value}", "raise the budget to {value}"),
    "change_currency": ("将预算改为{value}", "state the budget as {value}"),
    "raise_load": ("将每周上限提高到{value}小时", "raise the weekly limit to {value} h"),
    "raise_capacity": ("将容量提高到{value}", "raise the capacity to {value}"),
    "verify_licence": ("核实资质{kind}", "verify the licence {kind}"),
    "renew_licence": (
        "续期资质{kind}，有效至{value}",
        "renew the licence {kind} to be valid to {value}",
    ),
    "obtain_licence": (
        "取得经核实的资质{kind}，{valid_from}至{valid_to}有效",
        "obtain a verified licence {kind}, valid {valid_from} to {valid_to}",
    ),
    "open_earlier": ("提前{minutes}分钟开门：{add}", "open {minutes} min earlier: {add}"),
    "open_later": ("延后{minutes}分钟关门：{add}", "stay open {minutes} min later: {add}"),
    "open_longer": ("提前开门并延后关门：{add}", "open longer at both ends: {add}"),
    "open_on": ("增加开放时间：{add}", "open also {add}"),
    "free_up": ("腾出{minutes}分钟：{times}", "free up {minutes} min: {times}"),
}

WORDS: Mapping[str, Text] = {
    "space": ("场地", "space"),
    "merchant": ("商户", "merchant"),
    "volunteer": ("志愿者", "volunteer"),
    "vanguard": ("邻里先锋", "vanguard"),
    "goods": ("物资", "goods"),
    "session": ("次", "session"),
    "week": ("周", "week"),
    "month": ("月", "month"),
    "none": ("无", "none"),
}
_DAYS: tuple[Text, ...] = (
    ("周一", "Mon"),
    ("周二", "Tue"),
    ("周三", "Wed"),
    ("周四", "Thu"),
    ("周五", "Fri"),
    ("周六", "Sat"),
    ("周日", "Sun"),
)
_SHOWN_AT_MOST = 3
_WITHOUT_CENTS = {"JPY", "KRW", "VND"}


def say_part(part: Part, language: Language) -> str:
    """Why the part has its value: `312 m away; full marks at 0 m, none at 1000 m`."""
    values = dict(part.values)
    if "rating" in values:
        values["rating"] = _hundredths(values["rating"])
    return say(PARTS[part.code], values, language)


def say_failure(failure: Failure, language: Language) -> str:
    """What kept it out: `closes 08:30, needed until 09:00`."""
    values = {**failure.values, "needed": failure.needed, "has": failure.has}
    template, hours = FAILURES[failure.code], values.get("add", [])
    if failure.code in ("time.opens_late", "time.closes_early"):
        if len(hours) > 1:
            template = FAILURES["time.closed"]
        else:
            values |= {"start": hours[0]["start"], "end": hours[0]["end"]}
    return say(template, values, language)


def say_mend(mend: Mend, language: Language) -> str:
    """The smallest change that would do: `open 30 min earlier: Mon-Fri 06:30-07:00`."""
    own = mend.value if isinstance(mend.value, dict) else {}
    return say(MENDS[mend.action], {**own, **mend.values, "value": mend.value}, language)


def say(template: Text, values: Mapping[str, Any], language: Language) -> str:
    """A template in a language, its values as people read them."""
    at = _at(language)
    return template[at].format_map({name: _show(value, at) for name, value in values.items()})


def _at(language: Language) -> int:
    return 0 if language == "zh" else 1


def _show(value: Any, at: int) -> str:
    """A value as people read it: a price, hours, a time, or a list of up to three of them."""
    if value is None or value == []:
        return WORDS["none"][at]
    if isinstance(value, dict):
        if "amount" in value:
            return _price(value, at)
        return _hours(value, at) if "days" in value else ""
    if isinstance(value, list | tuple):
        return _list(value, at)
    text = str(value)
    if text[10:11] == "T":
        return text[:16].replace("T", " ")
    return WORDS[text][at] if text in WORDS else text


def _list(values: list[Any] | tuple[Any, ...], at: int) -> str:
    if _is_interval(values):
        start, end = (_show(time, at) for time in values)
        return f"{start}–{end[11:] if end[:10] == start[:10] else end}"
    shown = [_show(value, at) for value in values[:_SHOWN_AT_MOST]]
    more = len(values) - len(shown)
    text = ("、", ", ")[at].join(shown)
    return text + (f"等{len(values)}项", f" and {more} more")[at] if more else text


def _is_interval(values: list[Any] | tuple[Any, ...]) -> bool:
    return len(values) == 2 and all(str(value)[10:11] == "T" for value in values)


def _price(price: Mapping[str, Any], at: int) -> str:
    currency, per = price["currency"], WORDS[price["per"]][at]
    cents = currency not in _WITHOUT_CENTS
    amount = _hundredths(price["amount"]) if cents else str(price["amount"])
    if at == 0:
        return f"{amount}{'元' if currency == 'CNY' else ' ' + currency}/{per}"
    return f"{amount} {currency} a {per}"


def _hundredths(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02d}"


def _hours(window: Mapping[str, Any], at: int) -> str:
    """`Mon-Fri 06:30-07:00`, with its dates if it has any."""
    hours = f"{window['start']}–{window['end']}"
    if window["from"] and window["from"] == window["until"]:
        return f"{window['from']} {hours}"
    text = f"{days_of(list(window['days']), at)}{('', ' ')[at]}{hours}"
    if window["from"] or window["until"]:
        text += f" ({window['from'] or '…'}–{window['until'] or '…'})"
    if window["except"]:
        count = len(window["except"])
        text += (f"（除{count}天外）", f" except {count} days")[at]
    return text


def days_of(days: list[int], at: int) -> str:
    names = [_DAYS[day - 1][at] for day in days]
    if len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        return names[0] + ("至", "–")[at] + names[-1]
    return ("、", ", ")[at].join(names)
