"""The demo's data files as they are written."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from msgspec import json


@functools.cache
def read(name: str) -> Any:
    """The content of `name`.json in this directory. Shared: whoever reads it leaves it as it is."""
    return json.decode(resources.files("models.demo").joinpath(f"{name}.json").read_bytes())


def issuers() -> dict[str, dict[str, str]]:
    """Who issues each kind of licence in either city, and what its numbers begin with."""
    found: dict[str, dict[str, str]] = read("neighbourhood")["issuers"]
    return found
