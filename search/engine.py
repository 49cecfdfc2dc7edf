"""What may be asked of a search index, whichever engine keeps it, and what it answers.

Questions are typed: no text of a caller ever becomes part of a filter. A Query that breaks a
limit cannot be made, so an engine is never asked one. What the caller may see is a Scope; it
comes from who is asking, never from the request, and every engine ANDs it with the question.
"""

from __future__ import annotations

import datetime as dt
import importlib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

from msgspec import Struct

from models import values
from search.documents import Document, Kind

Sort = Literal["relevance", "newest", "rating", "price_asc", "distance"]
Facet = Literal["kind", "status", "service_types", "tags", "community", "weekdays"]
Match = Literal["any", "all"]

MAX_TEXT = 500
MAX_PAGE_SIZE = 100
MAX_FACET_VALUES = 100  # of one facet in an answer: the most frequent ones
OPEN_STATUSES = ("active", "open")

_SLUG = re.compile(r"[a-z0-9_-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SLUG_FIELDS = (
    "statuses",
    "service_types_any",
    "service_types_all",
    "tags",
    "communities",
    "credentials",
)


class BadQuery(Exception):
    """A query that no engine may be asked: which field, and what is wrong with it."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


class SearchUnavailable(Exception):
    """The index cannot answer now. The database is not touched by this: only search is down."""


class TokensNotOffered(Exception):
    """There is no server that phones could ask themselves, or they are not meant to."""


class Box(Struct, frozen=True, kw_only=True):
    """A rectangle in degrees, borders included. It does not cross the 180th meridian."""

    south: float
    west: float
    north: float
    east: float


class OpenAt(Struct, frozen=True, kw_only=True):
    """What is open in a quarter-hour of the week (0 is Monday 00:00 at UTC+8).

    Of documents whose hours depend on the date only those in `exact` are found; with None they are
    the only ones, all that may be open then, so that somebody can look at their dates.
    """

    quarter: int
    exact: tuple[str, ...] | None = None


class Query(Struct, frozen=True, kw_only=True):
    """One question. Every filter that is given must hold; an empty filter asks for nothing.

    `match`: `all` wants every word of the text; `any` drops words from the end until something
    is left to find, and ranks by how many were kept. Sorting by distance needs `near`, and puts
    what has no position last; with `radius_m` only what lies within is found. Prices are in minor
    units. `page_size` 0 asks for the totals alone. `languages` tells the server which language
    the text is in; the embedded engine reads Chinese and English side by side anyway. `ids` finds
    none but these (None: any), `except_ids` none of these.

    Refuses (BadQuery) slugs, coordinates, sizes and names that are none.
    """

    text: str = ""
    kinds: tuple[Kind, ...] = ()
    statuses: tuple[str, ...] = OPEN_STATUSES
    service_types_any: tuple[str, ...] = ()
    service_types_all: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    communities: tuple[str, ...] = ()
    weekdays: tuple[int, ...] = ()
    credentials: tuple[str, ...] = ()
    open_at: OpenAt | None = None
    ids: tuple[str, ...] | None = None
    except_ids: tuple[str, ...] = ()
    price_max: int | None = None
    capacity_min: int | None = None
    near: values.Point | None = None
    radius_m: int | None = None
    box: Box | None = None
    sort: Sort = "relevance"
    facets: tuple[Facet, ...] = ()
    page: int = 1
    page_size: int = 20
    match: Match = "any"
    highlight: bool = False
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.text) > MAX_TEXT:
            raise BadQuery("text", f"at most {MAX_TEXT} characters")
        for field in _SLUG_FIELDS:
            _slugs(field, getattr(self, field))
        exact = self.open_at.exact if self.open_at else None
        for identity in (*(self.ids or ()), *self.except_ids, *(exact or ())):
            if not _ID.fullmatch(identity):
                raise BadQuery("ids", "1 to 64 of A-Z, a-z, 0-9, - and _")
        _known("kinds", self.kinds, get_args(Kind))
        _known("facets", self.facets, get_args(Facet))
        _known("sort", (self.sort,), get_args(Sort))
        _known("match", (self.match,), get_args(Match))
        _known("weekdays", self.weekdays, range(1, 8))
        _between("price_max", self.price_max, 0, 10**12)
        _between("capacity_min", self.capacity_min, 0, 1_000_000)
        _between("open_at", self.open_at.quarter if self.open_at else None, 0, 671)
        _between("page", self.page, 1, 1_000_000)
        _between("page_size", self.page_size, 0, MAX_PAGE_SIZE)
        self._check_places()

    def _check_places(self) -> None:
        if self.near is not None:
            _position("near", self.near.lat, self.near.lon)
        if self.box is not None:
            _position("box", self.box.south, self.box.west)
            _position("box", self.box.north, self.box.east)
            if self.box.south > self.box.north or self.box.west > self.box.east:
                raise BadQuery("box", "south to north and west to east")
        _between("radius_m", self.radius_m, 0, 1_000_000)
        if self.radius_m is not None and self.near is None:
            raise BadQuery("radius_m", "needs near")
        if self.sort == "distance" and self.near is None:
            raise BadQuery("sort", "distance needs near")


class Scope(Struct, frozen=True, kw_only=True):
    """What one caller may see besides public documents.

    `places`: everything at or below these places. `partners`: everything these partners offer.
    `everything`: for the operator and for rebuilding, never for a resident.
    """

    places: frozenset[str] = frozenset()
    partners: frozenset[str] = frozenset()
    everything: bool = False


class Phones(Struct, frozen=True):
    """Where phones reach the search server, and the key that signs what they ask it with."""

    url: str
    key: str


class SearchToken(Struct, frozen=True, kw_only=True):
    """What a phone needs to search this index at this address, until it expires."""

    url: str
    index: str
    token: str
    expires_at: dt.datetime


class Hit(Struct, frozen=True, kw_only=True):
    """A document that was found. `distance_m` if the query says near where.

    `highlights` holds the escaped texts by field, the words that matched inside `<em>`; only
    fields with such a word are in it. Lists are joined by commas.
    """

    document: Document
    distance_m: int | None = None
    highlights: dict[str, str] = {}


class Page(Struct, frozen=True, kw_only=True):
    """One page of an answer. `total_capped`: there are more than `total`.

    `facets` counts the whole answer, not the page. A facet ignores the query's own filter on the
    same field, so that the caller sees what choosing another value would bring; filters that ask
    for all values at once do count.
    """

    hits: tuple[Hit, ...]
    total: int
    total_capped: bool
    facets: dict[str, dict[str, int]]
    page: int
    pages: int


class Upsert(Struct, frozen=True, tag="upsert"):
    """Put this document in place of whatever has its id."""

    document: Document


class Delete(Struct, frozen=True, tag="delete"):
    """Forget this id, whatever version is there. `version` is the object's own when it went:
    upserts older than that will be passed over.
    """

    id: str
    version: int


Op = Upsert | Delete


class Receipt(Struct, frozen=True):
    """Stands for a batch of writes under way."""

    tasks: tuple[int, ...]


class Failure(Struct, frozen=True):
    """A document that was left out of its batch, and why."""

    id: str
    detail: str


class Health(Struct, frozen=True, kw_only=True):
    """`empty`: the index began from nothing and wants a rebuild; until then it is incomplete."""

    documents: int
    pending: int
    empty: bool


@runtime_checkable
class Rebuild(Protocol):
    """A second index being filled beside the one in use.

    Writes that arrive meanwhile go to both. A newer begin_rebuild aborts it: its methods then
    raise SearchUnavailable.
    """

    async def add(self, documents: Sequence[Document]) -> tuple[Failure, ...]:
        """Adds documents, unless a newer version has arrived by apply."""

    async def commit(self) -> None:
        """Puts the new index in the place of the old one, between two searches."""

    async def abort(self) -> None:
        """Gives the new index up. Does nothing after commit."""


@runtime_checkable
class SearchEngine(Protocol):
    """An index. Every method but close raises SearchUnavailable when it cannot be reached."""

    @property
    def paused(self) -> bool:
        """Whether it is left alone for a moment, because it did not answer again and again."""

    async def search(self, query: Query, scope: Scope) -> Page:
        """One page of what matches the query within the scope."""

    async def multi(self, queries: Sequence[Query], scope: Scope) -> list[Page]:
        """Several queries of one caller, answered from one state of the index."""

    async def suggest(self, text: str, scope: Scope, limit: int) -> list[str]:
        """Titles within the scope that continue or resemble what has been typed so far."""

    async def search_token(self, scope: Scope, seconds: int) -> SearchToken:
        """For searching the server without us, within the scope. Raises TokensNotOffered."""

    async def apply(self, ops: Sequence[Op]) -> Receipt:
        """Accepts writes and returns at once; they are searchable after wait.

        An upsert that is older than what the index has seen of its id is passed over, so a
        late one does no harm.
        """

    async def wait(self, receipt: Receipt) -> tuple[Failure, ...]:
        """Returns when the batch is searchable, with the documents that had to be left out.

        Raises SearchUnavailable if the batch as a whole failed; it has to be applied again.
        """

    async def begin_rebuild(self) -> Rebuild:
        """Starts an empty index beside this one."""

    async def versions(self) -> dict[str, int]:
        """The version of every document in the index, for comparing with the database."""

    async def health(self) -> Health:
        """How many documents are in, how many batches are waiting, and whether to rebuild."""

    async def close(self) -> None:
        """Finishes the writes accepted so far and lets go of everything. May be called twice."""


def open_engine(
    directory: Path | None, url: str = "", key: str = "", phones: Phones | None = None
) -> SearchEngine:
    """The Meilisearch server at `url`; without one the embedded engine, over this directory or
    in memory. Whether the server answers is not asked yet.

    The directory is a cache: if it is missing, damaged or made by another version, the engine
    starts with an empty index and says so in its health. Refuses (SearchUnavailable) a directory
    that another process has open, and an address that is none.
    """
    # By name: each engine imports this module for its types, and must not be imported back.
    engine: SearchEngine
    if url:
        engine = importlib.import_module("search.meili").Meili(url, key, phones=phones)
    else:
        engine = importlib.import_module("search.embedded").Embedded(directory)
    return engine


def _slugs(field: str, slugs: Iterable[str]) -> None:
    for slug in slugs:
        if not _SLUG.fullmatch(slug):
            raise BadQuery(field, "1 to 64 of a-z, 0-9, - and _")


def _known(field: str, given: Iterable[object], known: Sequence[object]) -> None:
    for value in given:
        if value not in known:
            raise BadQuery(field, f"one of {', '.join(map(str, known))}")


def _between(field: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise BadQuery(field, f"from {low} to {high}")


def _position(field: str, lat: float, lon: float) -> None:
    if not (math.isfinite(lat) and -90 <= lat <= 90):
        raise BadQuery(field, "a latitude from -90 to 90")
    if not (math.isfinite(lon) and -180 <= lon <= 180):
        raise BadQuery(field, "a longitude from -180 to 180")
