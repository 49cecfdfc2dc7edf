"""What the values of a facet are called, in the caller's language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from api import language
from models import places, services

Labels = dict[str, dict[str, str]]

# (Chinese, English)
_FIXED: dict[str, dict[str, tuple[str, str]]] = {
    "kind": {
        "space": ("空间", "Spaces"),
        "merchant": ("商户", "Merchants"),
        "volunteer": ("志愿者", "Volunteers"),
        "vanguard": ("先锋", "Vanguards"),
        "goods": ("物资", "Goods"),
        "need": ("需求", "Needs"),
        "service_type": ("服务类型", "Service types"),
        "place": ("地点", "Places"),
    },
    "status": {
        "active": ("可用", "Active"),
        "open": ("待满足", "Open"),
        "draft": ("草稿", "Draft"),
        "paused": ("暂停", "Paused"),
        "idle": ("闲置", "Idle"),
        "converting": ("改造中", "Being converted"),
    },
    "weekdays": {
        "1": ("周一", "Monday"),
        "2": ("周二", "Tuesday"),
        "3": ("周三", "Wednesday"),
        "4": ("周四", "Thursday"),
        "5": ("周五", "Friday"),
        "6": ("周六", "Saturday"),
        "7": ("周日", "Sunday"),
    },
}


async def of(facets: Mapping[str, Mapping[str, int]], tongue: language.Language) -> Labels:
    """A name for each value of these facets that has one."""
    at = 0 if tongue == "zh" else 1
    found: Labels = {}
    for facet, counts in facets.items():
        if facet == "service_types":
            names = await _services(tongue)
        elif facet == "community":
            names = await places.names_of(counts, tongue)
        else:
            names = {value: texts[at] for value, texts in _FIXED.get(facet, {}).items()}
        found[facet] = {value: names[value] for value in counts if value in names}
    return found


async def _services(tongue: language.Language) -> dict[str, str]:
    return {
        service.slug: service.name.zh if tongue == "zh" else service.name.en
        for service in await services.every()
    }


def title(texts: Iterable[str], tongue: language.Language) -> str:
    """Of a Chinese and an English text the one in the caller's language, or else the other."""
    zh, en = texts
    return (zh or en) if tongue == "zh" else (en or zh)
