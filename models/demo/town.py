"""The town itself: pure, the same for the same day on every machine."""

from __future__ import annotations

import datetime as dt

from msgspec import Struct, convert

from models import places, values
from models.demo import shapes, texts
from models.demo.neighbourhood import Neighbourhood

PASSWORD = "demo-only"  # noqa: S105 - printed at every start of the demo

PEOPLE = (
    shapes.Person("resident@demo", "resident", "王秀兰 Wang Xiulan", "qiaobei"),
    shapes.Person("volunteer@demo", "volunteer", "刘洋 Liu Yang", "qiaobei"),
    shapes.Person("vanguard@demo", "vanguard", "李敏 Li Min", "qiaobei"),
    shapes.Person("partner@demo", "partner_staff", "周桂芳 Zhou Guifang", None),
    shapes.Person("grid@demo", "grid_worker", "石磊 Shi Lei", "qiaobei-grid-1"),
    shapes.Person("secretary@demo", "secretary", "何静 He Jing", "qiaobei"),
    shapes.Person("officer@demo", "officer", "吴国强 Wu Guoqiang", "guanyinqiao"),
    shapes.Person("operator@demo", "operator", "运维值班 Operator", None),
)


class Town(Struct, frozen=True):
    """Everything the demo writes, in an order in which it can be written."""

    people: tuple[shapes.Person, ...]
    places: tuple[places.PlaceDraft, ...]
    partners: tuple[shapes.Partner, ...]
    offerings: tuple[shapes.Offering, ...]
    needs: tuple[shapes.Need, ...]
    stories: tuple[shapes.Story, ...]


def town(today: dt.date) -> Town:
    """The town as it stands on a day: licences, seasons and windows are dated from it."""
    stories = texts.read("stories")
    partners = [raw for story in stories for raw in story.get("partners", ())]
    partners += texts.read("neighbourhood")["partners"]
    offerings = [raw for story in stories for raw in story["offerings"]]
    offerings += Neighbourhood(partners).offerings()
    needs = [raw for story in stories for raw in story["needs"]]
    needs += texts.read("needs")
    return Town(
        people=PEOPLE,
        places=tuple(shapes.place(raw) for raw in texts.read("places")),
        partners=tuple(shapes.partner(raw, today) for raw in partners),
        offerings=tuple(shapes.offering(raw, today) for raw in offerings),
        needs=tuple(shapes.need(raw, today) for raw in needs),
        stories=tuple(
            shapes.Story(
                story["slug"],
                convert(story["title"], values.Bilingual),
                convert(story["text"], values.BilingualProse),
                tuple(raw["key"] for raw in story["needs"]),
            )
            for story in stories
        ),
    )
