"""Settings are data: one table gives the program, `.env.example`, `doctor` and the tests."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, ValidationError, convert, field

# A key of 16 random bytes in hexadecimal has 32 characters.
SECRET_LENGTH = 32
# What switches a debug mode on in us, in Litestar, or in Python itself.
_DEBUG = ("DEBUG", "LITESTAR_DEBUG", "LITESTAR_PDB", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?\Z")


class Setting(Struct, frozen=True):
    """One setting: its environment variable, its default as text, and what it does."""

    name: str
    variable: str
    default: str
    help: str
    secret: bool = False
    # A list, its items separated by commas.
    many: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "mode",
        "MODE",
        "development",
        "development, or production: refuses to start with what is not safe in public.",
    ),
    Setting(
        "secret_key",
        "SECRET_KEY",
        "",
        "32 or more random characters that sign the audit trail (openssl rand -hex 32); empty, in"
        " development only: made once and kept in DATA_DIR/secret.key.",
        secret=True,
    ),
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
    Setting(
        "meili_key",
        "MEILI_KEY",
        "",
        "API key for that server; `search setup` makes it and the next one.",
        secret=True,
    ),
    Setting(
        "meili_token_key",
        "MEILI_TOKEN_KEY",
        "",
        "Key that signs what phones may search that server with; empty: they only ask us.",
        secret=True,
    ),
    Setting(
        "meili_public_url",
        "MEILI_PUBLIC_URL",
        "",
        "Where phones reach that server, https://search.town.example; empty: they do not.",
    ),
    Setting(
        "metrics_token",
        "METRICS_TOKEN",
        "",
        "Bearer token with which a monitoring system reads /metrics, 32 or more random characters;"
        " empty: only operators do.",
        secret=True,
    ),
    Setting("access_minutes", "ACCESS_MINUTES", "30", "Life of an access token, in minutes."),
    Setting("refresh_days", "REFRESH_DAYS", "30", "Life of a refresh token, in days."),
    Setting(
        "rate_limit",
        "RATE_LIMIT",
        "1",
        "Multiplies what a caller may ask in a minute (1,200 reads, 240 writes, 300 searches, 30"
        " sign-ins), counted in each process; 0: no limits.",
    ),
    Setting(
        "trusted_proxies",
        "TRUSTED_PROXIES",
        "",
        "Addresses or networks, separated by commas, whose X-Forwarded-For is believed:"
        " 10.0.0.0/8,::1; empty: nobody's.",
        many=True,
    ),
    Setting(
        "cors_origins",
        "CORS_ORIGINS",
        "",
        "Web pages of other origins that may call the API, separated by commas:"
        " https://town.example; * for all, in development only.",
        many=True,
    ),
    Setting(
        "workers",
        "WEB_CONCURRENCY",
        "1",
        "How many server processes share the database; each `serve` is one of them. More than one"
        " needs PostgreSQL and Meilisearch.",
    ),
)


class Settings(Struct, frozen=True, kw_only=True):
    """What this process runs with. `load` builds it; nothing else reads the environment."""

    mode: Literal["development", "production"]
    secret_key: str
    host: str
    port: int
    data: Path = field(default_factory=lambda: Path("data"))
    database_url: str
    demo: bool
    meili_url: str
    meili_key: str
    meili_token_key: str
    meili_public_url: str
    metrics_token: str
    access_minutes: int
    refresh_days: int
    rate_limit: float
    trusted_proxies: tuple[str, ...]
    cors_origins: tuple[str, ...]
    workers: int
    # The variables of the environment that switch a debug mode on.
    debugging: tuple[str, ...]

    @property
    def database(self) -> str:
        """The database URL, with the default file in the data directory filled in."""
        return self.database_url or f"sqlite:///{self.data / 'community.sqlite'}"

    @property
    def in_production(self) -> bool:
        """Whether everything that is not safe in public is refused."""
        return self.mode == "production"


def load(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from the environment; `overrides` (the command line) win when not None.

    Refuses with ValueError, naming the variable, when a value cannot be read.
    """
    values: dict[str, Any] = {"debugging": [name for name in _DEBUG if _is_on(environ.get(name))]}
    for setting in SETTINGS:
        given = overrides.get(setting.name)
        value = given if given is not None else environ.get(setting.variable, setting.default)
        values[setting.name] = _items(value) if setting.many else value
    values["data"] = str(values["data"])
    try:
        options = convert(values, Settings, strict=False, dec_hook=_path)
    except ValidationError as error:
        name = str(error).rsplit("$.", 1)[-1].strip("`")
        variable = next((s.variable for s in SETTINGS if s.name == name), name)
        raise ValueError(f"{variable}: {error}") from None
    _check(options)
    return options


def _is_on(value: str | None) -> bool:
    return (value or "").lower() not in ("", "0", "false", "no", "off")


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _check(options: Settings) -> None:
    """What a type cannot say."""
    for network in options.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f"TRUSTED_PROXIES: {error}") from None
    for origin in options.cors_origins:
        if origin != "*" and not _ORIGIN.match(origin):
            raise ValueError(f"CORS_ORIGINS: {origin!r} is not like https://town.example:8443")
    if not 0 <= options.rate_limit <= 1_000_000:
        raise ValueError("RATE_LIMIT: must be 0 or more")


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


def refusals(options: Settings) -> list[str]:
    """Why these settings are not safe in public: one line each, which says the mend."""
    on_sqlite, many = options.database.startswith("sqlite:"), options.workers > 1
    random = "set 32 or more random characters, as `openssl rand -hex 32` gives them"
    one = f"serves one process, and WEB_CONCURRENCY is {options.workers}; set WEB_CONCURRENCY=1, or"
    found = (
        (not options.secret_key, f"SECRET_KEY is missing; {random}"),
        (_is_plain(options.secret_key), f"SECRET_KEY is too short or too plain; {random}"),
        (
            _is_plain(options.metrics_token),
            f"METRICS_TOKEN is too short or too plain; {random}, or leave it empty",
        ),
        (options.debugging, f"debug mode is on; unset {', '.join(options.debugging)}"),
        (
            "*" in options.cors_origins,
            "CORS_ORIGINS=* lets every web page call the API for its visitors; name the origins,"
            " or leave it empty",
        ),
        (options.demo, "DEMO is true, and everybody knows the demo's password; set DEMO=false"),
        (on_sqlite and many, f"SQLite {one} DATABASE_URL to a PostgreSQL server"),
        (not options.meili_url and many, f"the embedded index {one} MEILI_URL"),
        (
            options.meili_url and not options.meili_key,
            "MEILI_URL is set without MEILI_KEY: who reaches that server reads the whole index;"
            " give it a key and set MEILI_KEY",
        ),
    )
    return [line for holds, line in found if holds]


def _is_plain(secret: str) -> bool:
    # Random hexadecimal has a dozen different characters; "changeme" four times over has not.
    return bool(secret) and (len(secret) < SECRET_LENGTH or len(set(secret)) < 10)


def signing_key(options: Settings) -> bytes:
    """SECRET_KEY, or what stands for it in development: made once, kept in DATA_DIR/secret.key.

    Who goes on to production with the same data gives the content of that file as SECRET_KEY.
    Refuses with ValueError in production when there is none.
    """
    if options.secret_key:
        return options.secret_key.encode()
    if options.in_production:
        raise ValueError("SECRET_KEY is missing")
    path = options.data / "secret.key"
    if not path.exists():
        _make_key(path)
    return path.read_bytes().strip()


def _make_key(path: Path) -> None:
    """Write a new key for the owner's eyes only. Of two processes that start together one wins,
    and nobody reads half a key: the file gets its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def env_example() -> str:
    """The text of `.env.example`: every setting, its default and its help."""
    lines = ["# Settings of Community Partners, generated: python -m api settings > .env.example"]
    for setting in SETTINGS:
        lines += ["", f"# {setting.help}", f"{setting.variable}={setting.default}"]
    return "\n".join(lines) + "\n"
