"""The people, shops and rooms around the stories, drawn from the lists of neighbourhood.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.demo import texts
from models.demo.draw import Draw

Raw = dict[str, Any]
SEED = 20_260_701
_MICRO = 1_000_000


class Neighbourhood:
    """Draws offerings for partners of the town. The same seed draws the same ones for ever."""

    def __init__(self, partners: list[Raw]) -> None:
        self._draw = Draw(SEED)
        self._data: Raw = texts.read("neighbourhood")
        self._partners = {raw["key"]: raw for raw in partners}
        self._places: dict[str, Raw] = {raw["slug"]: raw for raw in texts.read("places")}
        self._named: set[str] = set()

    def offerings(self) -> Iterator[Raw]:
        """Everything that is drawn: the crews of partners, then the property company's rooms."""
        for crew in self._data["crews"]:
            yield from self._crew(self._partners[crew["partner"]], crew["skills"])
        yield from self._homes()
        yield from self._stations()

    def _crew(self, partner: Raw, skills: dict[str, int]) -> Iterator[Raw]:
        shop = self._somewhere(partner["place"])
        for skill, count in skills.items():
            template = self._data["skills"][skill]
            for number in range(1, count + 1):
                at = shop if template["kind"] == "merchant" else self._somewhere(partner["place"])
                key = f"{partner['key']}-{skill.replace('_', '-')}-{number}"
                yield self._offering(key, partner, template) | at

    def _offering(self, key: str, partner: Raw, template: Raw) -> Raw:
        draw = self._draw
        body: Raw = {
            "key": key,
            "partner": partner["key"],
            "kind": template["kind"],
            "service_types": template["service_types"],
            "title": self._title(template["title"], partner),
            "description": draw.pick(template["descriptions"]),
            "availability": self._data["hours"][draw.pick(template["hours"])],
            "price_tier": template.get("price_tier", "public"),
            "languages": self._languages(template),
            "credentials": self._credentials(template),
        }
        for name in ("features", "requires_features"):
            body[name] = template.get(name, [])
        for name in ("capacity", "max_hours_week", "max_contacts_week"):
            if name in template:
                body[name] = draw.between(*template[name])
        if template.get("reach_m"):
            low, high = template["reach_m"]
            body["reach_m"] = draw.between(low, high, 100)
        if "price" in template:
            amount = draw.between(*template["price"])
            body["price"] = {"amount": amount, "per": template.get("price_per", "session")}
        return body | self._record(partner["place"])

    def _title(self, title: dict[str, str], partner: Raw) -> dict[str, str]:
        community, partner_name = self._places[partner["place"]]["name"], partner["name"]
        name = self._name() if "{name}" in title["zh"] else {"zh": "", "en": ""}
        return {
            language: title[language].format(
                name=name[language],
                community=community[language],
                partner=partner_name[language],
            )
            for language in ("zh", "en")
        }

    def _name(self) -> dict[str, str]:
        """A name nobody else in the town has."""
        while True:
            surname = self._draw.pick(self._data["surnames"])
            given = self._draw.pick(self._data["given"])
            name = {"zh": surname[0] + given[0], "en": f"{surname[1]} {given[1]}"}
            if name["zh"] not in self._named:
                self._named.add(name["zh"])
                return name

    def _languages(self, template: Raw) -> list[str]:
        also = [name for name in template.get("languages_maybe", ()) if self._draw.chance(30)]
        return [*template.get("languages", ["zh"]), *also]

    def _credentials(self, template: Raw) -> list[Raw]:
        """Some licences have expired and some were never checked, as everywhere."""
        held = [
            *template.get("credentials", ()),
            *(kind for kind in template.get("maybe_credentials", ()) if self._draw.chance(50)),
        ]
        return [self._credential(kind) for kind in held]

    def _credential(self, kind: str) -> Raw:
        luck = self._draw.between(1, 100)
        begun = -self._draw.between(400, 3000)
        ends = -self._draw.between(5, 200) if luck <= 8 else self._draw.between(400, 1800)
        return {"kind": kind, "from": begun, "to": ends, "verified": not 8 < luck <= 14}

    def _record(self, community: str) -> Raw:
        """What past service has left: nothing for the newcomers, few bad records."""
        draw = self._draw
        if draw.chance(18):
            return {}
        ratings = draw.between(1, 60)
        stars = max(draw.between(340, 500), draw.between(340, 500)) / 100
        agreed = ratings + draw.between(0, 30)
        kept = agreed - draw.between(0, agreed // 8)
        record = {"ratings": ratings, "stars": stars, "agreed": agreed, "kept": kept}
        if draw.chance(45):
            return {
                "record": record,
                "served": {draw.pick(self._grids(community)): draw.between(1, 6)},
            }
        return {"record": record}

    def _homes(self) -> Iterator[Raw]:
        stations = self._data["stations"]
        for community in stations["homes"]:
            room = self._room(stations["home"], f"senior-home-{community}", community)
            yield room | {
                "service_types": ["senior_home", "day_care"],
                "features": ["beds", "step_free", "toilet", "assisted_bath", "power"],
                "capacity": self._draw.between(12, 24, 2),
                "price": {"amount": self._draw.between(4000, 7000, 500)},
                "price_tier": "low_fee",
            }

    def _stations(self) -> Iterator[Raw]:
        """Two of three are elevated floors, the others offices the property company gave up."""
        stations = self._data["stations"]
        for community, count in stations["per_community"].items():
            for number in range(1, count + 1):
                theme = self._draw.pick(stations["themes"])
                office = number % 3 == 0
                room = self._room(
                    stations["office" if office else "elevated"],
                    f"station-{community}-{number}",
                    community,
                    number=number,
                    theme=theme,
                )
                features = ["power", "air_conditioning"] if office else ["power", "elevated_floor"]
                step_free = ["step_free"] if self._draw.chance(60) else []
                services = ["activity_station", "activity", theme["service_type"]]
                yield room | {
                    **self._building(community, number),
                    "service_types": list(dict.fromkeys(services)),
                    "features": [*features, *step_free],
                    "capacity": self._draw.between(16, 40, 4),
                    "price_tier": "space_for_service",
                }

    def _room(self, template: Raw, key: str, community: str, **words: Any) -> Raw:
        texts_of = {}
        for language in ("zh", "en"):
            said = {name: _said(word, language) for name, word in words.items()}
            name = self._places[community]["name"][language]
            texts_of[language] = template["title"][language].format(community=name, **said)
        hours = self._draw.pick(("hall", "hall_no_sunday", "shop"))
        return {
            "key": key,
            "partner": self._data["stations"]["partner"],
            "kind": "space",
            "title": texts_of,
            "description": template["description"],
            "availability": self._data["hours"][hours],
            **self._somewhere(community),
            **self._record(community),
        }

    def _somewhere(self, community: str) -> Raw:
        """A grid of the community and a point in it."""
        grid = self._draw.pick(self._grids(community))
        return {"place": grid, "location": self._point(self._places[grid])}

    def _building(self, community: str, number: int) -> Raw:
        """Where a building stands, if the town knows it."""
        slug = f"{community}-building-{number}"
        known = self._places.get(slug)
        return {"place": slug, "location": known["location"]} if known else {}

    def _grids(self, community: str) -> list[str]:
        return [slug for slug in self._places if slug.startswith(f"{community}-grid-")]

    def _point(self, grid: Raw) -> dict[str, float]:
        """Uniform in one half of a grid, which is a convex quadrangle."""
        west, *corners = grid["boundary"]["coordinates"][0][:4]
        second, third = corners[:2] if self._draw.chance(50) else corners[1:]
        along, across = self._draw.share(), self._draw.share()
        if along + across > 1:
            along, across = 1 - along, 1 - across
        lon, lat = (
            origin + along * (b - origin) + across * (c - origin)
            for origin, b, c in zip(west, second, third, strict=True)
        )
        return {"lat": round(lat * _MICRO) / _MICRO, "lon": round(lon * _MICRO) / _MICRO}


def _said(word: Any, language: str) -> str:
    return str(word[language] if isinstance(word, dict) else word)
