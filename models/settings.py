"""Settings are data: one table gives the program, `.env.example`, `doctor` and the tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, ValidationError, convert, field


class Setting(Struct, frozen=True):
    """One setting: its environment variable, its default as text, and what it does."""

    name: str
    variable: str
    default: str
    help: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("host", "HOST", "127.0.0.1", "Address to listen on; 0.0.0.0 for every interface."),
    Setting("port", "PORT", "8000", "TCP port to listen on; 0 takes a free one."),
    Setting("data", "DATA_DIR", "data", "Directory of the SQLite file and the search index."),
    Setting(
        "database_url",
        "DATABASE_URL",
        "",
        "postgres://user:password@host/name, or sqlite:///path; empty: SQLite in DATA_DIR.",
        secret=True,
    ),
    Setting("demo", "DEMO", "true", "Load the demo town into an empty database on first start."),
    Setting(
        "meili_url",
        "MEILI_URL",
        "",
        "Meilisearch server, http://host:7700; empty: the embedded engine in DATA_DIR.",
    ),
    Setting("meili_key", "MEILI_KEY", "", "API key for that server.", secret=True),
    Setting("access_minutes", "ACCESS_MINUTES", "30", "Life of an access token, in minutes."),
    Setting("refresh_days", "REFRESH_DAYS", "30", "Life of a refresh token, in days."),
)


class Settings(Struct, frozen=True, kw_only=True):
    """What this process runs with. `load` builds it; nothing else reads the environment."""

    host: str
    port: int
    data: Path = field(default_factory=lambda: Path("data"))
    database_url: str
    demo: bool
    meili_url: str
    meili_key: str
    access_minutes: int
    refresh_days: int

    @property
    def database(self) -> str:
        """The database URL, with the default file in the data directory filled in."""
        return self.database_url or f"sqlite:///{self.data / 'community.sqlite'}"


def load(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from the environment; `overrides` (the command line) win when not None.

    Refuses with ValueError, naming the variable, when a value cannot be read.
    """
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        given = overrides.get(setting.name)
        values[setting.name] = (
            given if given is not None else environ.get(setting.variable, setting.default)
        )
    values["data"] = str(values["data"])
    try:
        return convert(values, Settings, strict=False, dec_hook=_path)
    except ValidationError as error:
        name = str(error).rsplit("$.", 1)[-1].strip("`")
        variable = next((s.variable for s in SETTINGS if s.name == name), name)
        raise ValueError(f"{variable}: {error}") from None


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


def env_example() -> str:
    """The text of `.env.example`: every setting, its default and its help."""
    lines = ["# Settings of Community Partners, generated: python -m api settings > .env.example"]
    for setting in SETTINGS:
        lines += ["", f"# {setting.help}", f"{setting.variable}={setting.default}"]
    return "\n".join(lines) + "\n"
