"""The life of an agreement, drawn from its table: as SVG for `/docs`, as Markdown for the document.

States stand in columns, by how many steps they are away from the first one; what time does by
itself is dashed and says after how long.
"""

from __future__ import annotations

import functools
import hashlib
from html import escape

from models.agreements import lifecycle

_FIRST: lifecycle.State = "proposed"
_BOX_W, _BOX_H, _GAP_X, _GAP_Y, _EDGE = 124, 44, 176, 40, 24
_ZH: dict[str, str] = {
    "proposed": "已提议",
    "declined": "已谢绝",
    "lapsed": "已过期",
    "withdrawn": "已撤回",
    "active": "生效",
    "suspended": "暂停",
    "ended": "提前结束",
    "completed": "已完成",
    "reviewed": "已评价",
}
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c2733}.s{fill:#fff;stroke:#33475b;stroke-width:1.5}"
    ".t{fill:none;stroke:#33475b;stroke-width:1.3;marker-end:url(#a)}.d{stroke-dasharray:5 4}"
    ".l{font-size:11px;paint-order:stroke;stroke:#f6f8fa;stroke-width:4px}.z{font-size:11px;fill:#5b6b7b}"
)
Spot = tuple[int, int]


def markdown() -> str:
    """The table of transitions, in both languages."""
    lines = [
        "| step 步骤 | from 起 | to 至 | who 谁 | what it does 作用 |",
        "|---|---|---|---|---|",
    ]
    for t in lifecycle.TRANSITIONS:
        who = ", ".join(t.by) if t.by else f"time 时间 ({t.after} after {t.since})"
        fields = ", ".join(f"`{f}`" + ("" if f in t.needs else "?") for f in t.takes)
        what = f"{t.effect_en} {t.effect_zh}" + (f" ({fields})" if fields else "")
        lines.append(f"| `{t.name}` | {', '.join(t.starts)} | {t.leads_to} | {who} | {what} |")
    return "\n".join(lines)


@functools.cache
def name() -> str:
    """What the drawing is called in addresses: by its content, so that browsers keep it."""
    return f"agreements.{hashlib.blake2b(svg().encode(), digest_size=10).hexdigest()}.svg"


def svg() -> str:
    """The drawing."""
    spots = _spots()
    width = max(x for x, _ in spots.values()) + _BOX_W + _EDGE
    height = max(y for _, y in spots.values()) + _BOX_H + _EDGE
    drawn = [_arrow(pair, labels, spots) for pair, labels in sorted(_edges().items())]
    drawn += [_box(state, spot) for state, spot in spots.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" aria-label="The life of an agreement 协议的生命周期">'
        f"<style>{_STYLE}</style><defs>"
        '<marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
        ' orient="auto"><path d="M0 0L8 4L0 8z" fill="#33475b"/></marker></defs>'
        f'<rect width="{width}" height="{height}" fill="#f6f8fa"/>{"".join(drawn)}</svg>\n'
    )


def _spots() -> dict[lifecycle.State, Spot]:
    """Where each state stands."""
    columns: list[list[lifecycle.State]] = [[_FIRST]]
    seen = {_FIRST}
    while True:
        reached = [
            t.leads_to
            for t in lifecycle.TRANSITIONS
            if set(t.starts) & set(columns[-1]) and t.leads_to not in seen
        ]
        column = [state for state in lifecycle.STATES if state in reached]
        if not column:
            break
        seen |= set(column)
        # What goes on stands on top, so that lines to what comes next are short.
        columns.append(sorted(column, key=lambda s: (not _goes_on(s), lifecycle.STATES.index(s))))
    return {
        state: (_EDGE + at * (_BOX_W + _GAP_X), 2 * _EDGE + row * (_BOX_H + _GAP_Y))
        for at, column in enumerate(columns)
        for row, state in enumerate(column)
    }


def _goes_on(state: lifecycle.State) -> bool:
    return any(state in t.starts and t.leads_to not in (state, _FIRST) for t in _others())


def _others() -> list[lifecycle.Transition]:
    return [t for t in lifecycle.TRANSITIONS if set(t.starts) != {t.leads_to}]


def _edges() -> dict[tuple[lifecycle.State, lifecycle.State], list[lifecycle.Transition]]:
    """What leads from each state to another. Steps that stay where they are are in the table."""
    found: dict[tuple[lifecycle.State, lifecycle.State], list[lifecycle.Transition]] = {}
    for t in _others():
        for state in t.starts:
            if state != t.leads_to:
                found.setdefault((state, t.leads_to), []).append(t)
    return found


def _box(state: lifecycle.State, spot: Spot) -> str:
    x, y = spot
    middle = x + _BOX_W // 2
    return (
        f'<rect class="s" x="{x}" y="{y}" width="{_BOX_W}" height="{_BOX_H}" rx="8"/>'
        f'<text x="{middle}" y="{y + 19}" text-anchor="middle">{escape(state)}</text>'
        f'<text class="z" x="{middle}" y="{y + 35}" text-anchor="middle">{_ZH[state]}</text>'
    )


def _arrow(
    pair: tuple[lifecycle.State, lifecycle.State],
    several: list[lifecycle.Transition],
    spots: dict[lifecycle.State, Spot],
) -> str:
    (x1, y1), (x2, y2) = spots[pair[0]], spots[pair[1]]
    kind = "t" if any(t.by for t in several) else "t d"
    said = ", ".join(t.name + (f" {t.after}" if t.after else "") for t in several)
    middle, low, anchor = _BOX_H // 2, _BOX_H - 8, "end"
    if x2 > x1:
        path = _curve(x1 + _BOX_W, y1 + middle, x2, y2 + middle)
        label = (x2 - 14, y2 + middle - 5)
    elif x2 < x1:
        # Back: lower, so that it does not lie on the line that leads there.
        path = _curve(x1, y1 + low, x2 + _BOX_W, y2 + low)
        label = (x1 - 8, y1 + low + 13)
    else:
        bulge = x1 + _BOX_W + 26 + abs(y2 - y1) // 4
        path = (
            f"M{x1 + _BOX_W} {y1 + low}C{bulge} {y1 + low} {bulge} {y2 + middle}"
            f" {x1 + _BOX_W} {y2 + middle}"
        )
        label, anchor = (x1 + _BOX_W + 10, y2 + middle + 14), "start"
    return (
        f'<path class="{kind}" d="{path}"/><text class="l" x="{label[0]}" y="{label[1]}"'
        f' text-anchor="{anchor}">{escape(said)}</text>'
    )


def _curve(x1: int, y1: int, x2: int, y2: int) -> str:
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
