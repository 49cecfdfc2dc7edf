"""The filter language: parsed in full, refused as the server refuses, never evaluated as code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

Test = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(
    r"""\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([()\[\],])|(<=|>=|!=|=|<|>)|([\w.-]+))"""
)
_EARTH_M = 6_371_008.8


class BadFilter(Exception):
    """What is wrong with a filter."""


def parse(given: object, filterable: set[str]) -> Test:
    """A filter as it comes: a text, or a list all of which must hold (a list inside: any)."""
    if given is None or given == "" or given == []:
        return lambda _: True
    if isinstance(given, str):
        return _Parser(given, filterable).parsed()
    if not isinstance(given, list):
        raise BadFilter("Invalid syntax for the filter parameter")
    tests = [
        _any([parse(one, filterable) for one in part])
        if isinstance(part, list)
        else parse(part, filterable)
        for part in given
    ]
    return _all(tests)


def _all(tests: list[Test]) -> Test:
    return lambda document: all(test(document) for test in tests)


def _any(tests: list[Test]) -> Test:
    return lambda document: any(test(document) for test in tests)


class _Parser:
    def __init__(self, text: str, filterable: set[str]) -> None:
        self._filterable = filterable
        self._tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise BadFilter(f"Unexpected characters at the end of the filter: `{text[at:]}`")
            self._tokens.append(match[0].strip())
            at = match.end()
        self._at = 0

    def parsed(self) -> Test:
        test = self._either()
        if self._at < len(self._tokens):
            raise BadFilter(f"Found unexpected characters: `{self._tokens[self._at]}`")
        return test

    def _either(self) -> Test:
        tests = [self._both()]
        while self._taken("OR"):
            tests.append(self._both())
        return _any(tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._taken("AND"):
            tests.append(self._one())
        return _all(tests)

    def _one(self) -> Test:
        if self._taken("NOT"):
            test = self._one()
            return lambda document: not test(document)
        if self._taken("("):
            test = self._either()
            self._expect(")")
            return test
        name = self._next()
        if name == "_geoRadius":
            return self._radius()
        if name == "_geoBoundingBox":
            return self._box()
        self._check(name)
        return self._compared(name, self._next())

    def _compared(self, name: str, operator: str) -> Test:
        if operator == "IN":
            wanted = [self._form(value) for value in self._list()]
            return lambda document: any(has in wanted for has in _forms(document.get(name)))
        if operator == "EXISTS":
            return lambda document: name in document
        if operator == "IS":
            empty = {"NULL": None, "EMPTY": ""}[self._next()]
            return lambda document: document.get(name, 0) == empty
        value = self._form(self._value())
        if operator == "=":
            return lambda document: value in _forms(document.get(name))
        if operator == "!=":
            return lambda document: value not in _forms(document.get(name))
        compare: dict[str, Callable[[float, float], bool]] = {
            "<=": lambda has, limit: has <= limit,
            ">=": lambda has, limit: has >= limit,
            "<": lambda has, limit: has < limit,
            ">": lambda has, limit: has > limit,
        }
        if operator not in compare or not isinstance(value, float):
            raise BadFilter(f"Was expecting an operation but found `{operator}`")
        limit = value
        return lambda document: any(
            isinstance(has, float) and compare[operator](has, limit)
            for has in _forms(document.get(name))
        )

    def _radius(self) -> Test:
        self._check("_geo")
        self._expect("(")
        lat, lng, metres = self._number(), self._comma_number(), self._comma_number()
        self._expect(")")
        _position(lat, lng)
        return lambda document: (
            (at := document.get("_geo")) is not None
            and metres_between(at["lat"], at["lng"], lat, lng) <= metres
        )

    def _box(self) -> Test:
        self._check("_geo")
        self._expect("(")
        corners = []
        for position in range(2):
            if position:
                self._expect(",")
            self._expect("[")
            corners.append((self._number(), self._comma_number()))
            self._expect("]")
        self._expect(")")
        (north, east), (south, west) = corners
        _position(north, east)
        _position(south, west)
        if south > north:
            raise BadFilter(f"The top latitude `{north}` is below the bottom latitude `{south}`.")
        return lambda document: (
            (at := document.get("_geo")) is not None
            and south <= at["lat"] <= north
            and west <= at["lng"] <= east
        )

    def _check(self, name: str) -> None:
        if name not in self._filterable:
            raise BadFilter(f"Attribute `{name}` is not filterable.")

    def _list(self) -> list[str]:
        self._expect("[")
        found: list[str] = []
        while not self._taken("]"):
            if found:
                self._expect(",")
            found.append(self._value())
        return found

    def _value(self) -> str:
        token = self._next()
        if token[0] in "\"'":
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if token in "()[],":
            raise BadFilter(f"Was expecting a value but instead got `{token}`")
        return token

    def _form(self, value: str) -> object:
        try:
            return float(value)
        except ValueError:
            return value.lower()

    def _number(self) -> float:
        try:
            return float(self._value())
        except ValueError:
            raise BadFilter("Was expecting a number") from None

    def _comma_number(self) -> float:
        self._expect(",")
        return self._number()

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise BadFilter("Was expecting an operation but found nothing")
        self._at += 1
        return self._tokens[self._at - 1]

    def _taken(self, word: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == word:
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._taken(word):
            raise BadFilter(f"Expected `{word}`")


def _forms(value: Any) -> list[object]:
    """What a field can be equal to: numbers as numbers, all else as lower-case text."""
    if isinstance(value, list):
        return [form for one in value for form in _forms(one)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, int | float):
        return [float(value)]
    if isinstance(value, str):
        try:
            return [float(value), value.lower()]
        except ValueError:
            return [value.lower()]
    return []


def _position(lat: float, lng: float) -> None:
    if not -90 <= lat <= 90:
        raise BadFilter(f"Bad latitude `{lat}`. Latitude must be contained between -90 and 90")
    if not -180 <= lng <= 180:
        raise BadFilter(f"Bad longitude `{lng}`. Longitude must be contained between -180 and 180")


def metres_between(lat: float, lng: float, other_lat: float, other_lng: float) -> float:
    """The great-circle distance."""
    a, b = math.radians(lat), math.radians(other_lat)
    chord = math.sin((b - a) / 2) ** 2
    chord += math.cos(a) * math.cos(b) * math.sin(math.radians(other_lng - lng) / 2) ** 2
    return 2 * _EARTH_M * math.asin(math.sqrt(min(1.0, chord)))
