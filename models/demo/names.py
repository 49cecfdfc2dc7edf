"""Names that people and places of the synthetic city might have."""

from __future__ import annotations

from models import values
from models.demo import texts
from models.demo.draw import Draw


class Names:
    """Draws names in both languages; they repeat, as names do."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._surnames = texts.read("neighbourhood")["surnames"]
        self._given = texts.read("neighbourhood")["given"]
        self._first, self._second = texts.read("city")["first"], texts.read("city")["second"]

    def person(self) -> values.Bilingual:
        """Somebody: 王秀英, Wang Xiuying."""
        surname, given = self._draw.pick(self._surnames), self._draw.pick(self._given)
        return values.Bilingual(surname[0] + given[0], f"{surname[1]} {given[1]}")

    def place(self) -> values.Bilingual:
        """A community: 金桥社区, Jinqiao."""
        first, second = self._draw.pick(self._first), self._draw.pick(self._second)
        return values.Bilingual(f"{first[0]}{second[0]}社区", first[1] + second[1])
