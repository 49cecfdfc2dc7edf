"""What an index holds: one flat document for every space, merchant, … need, service type, place.

Each searched domain builds its documents with one function, for single updates, rebuilds and
demo data alike. Here is their form, and the limits that no engine may be asked to bend.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct, structs

from models import values

# What is offered and asked for; and what it is called by, and where.
OfferedKind = Literal["space", "merchant", "volunteer", "vanguard", "goods", "need"]
Kind = Literal[OfferedKind, "service_type", "place"]
OFFERED: tuple[OfferedKind, ...] = get_args(OfferedKind)
DocumentId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
SlugOrNone = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{0,64}\Z")]
IdOrNone = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}\Z")]
Text = Annotated[str, Meta(max_length=4000)]
Weekday = Annotated[int, Meta(ge=1, le=7)]
WeekMask = Annotated[str, Meta(pattern=r"^[0-9a-f]{0,168}\Z")]
# Beyond 2^53 a number no longer survives JSON, and so would not survive the other engine.
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class BadDocument(Exception):
    """A document that no engine takes; the text says which field and why."""


class Location(Struct, frozen=True):
    """A WGS-84 position in whole micro-degrees."""

    lat_e6: Annotated[int, Meta(ge=-90_000_000, le=90_000_000)]
    lon_e6: Annotated[int, Meta(ge=-180_000_000, le=180_000_000)]


class Document(Struct, frozen=True, kw_only=True):
    """One searchable thing, with everything that can be searched, filtered, counted or sorted.

    `service_names` are the taxonomy's names in both languages, `pinyin` what may be typed on a
    Latin keyboard for the title and the Chinese ones. `places` are the ids of the place itself and
    of all places above it, for the scope alone. `price` is in minor units, `rating` in
    hundredths, `created` in seconds. `rank_key` settles every tie, the larger first, so it ought to
    be unique. What is not `public` is found only by those whose scope covers a place or partner.

    `open_week` is the mask of the quarter-hours of the week in which it may be open, in hexadecimal
    (`windows.week`); `dated` if that is not the whole truth: dates, exceptions, a clock that
    changes. `credentials` are the kinds that it or its partner has stated, valid or not.
    """

    id: str
    kind: Kind
    version: int
    title_zh: str = ""
    title_en: str = ""
    description_zh: str = ""
    description_en: str = ""
    service_types: tuple[str, ...] = ()
    service_names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    pinyin: tuple[str, ...] = ()
    community: str = ""
    community_name: str = ""
    places: tuple[str, ...] = ()
    partner: str = ""
    public: bool = False
    location: Location | None = None
    capacity: int | None = None
    price: int | None = None
    rating: int = 0
    weekdays: tuple[int, ...] = ()
    open_week: str = ""
    dated: bool = False
    credentials: tuple[str, ...] = ()
    status: str = "active"
    created: int = 0
    rank_key: int = 0


class _Position(Location, frozen=True):
    """The limits of a position, tried although it is a Location already."""


class _Limited(Document, frozen=True, kw_only=True):
    """A document that an engine takes. Trying the limits takes most of the time of reading one, so
    it is done once, when it is packed."""

    id: DocumentId
    version: values.Version
    title_zh: Text
    title_en: Text
    description_zh: Text
    description_en: Text
    service_types: Annotated[tuple[values.Slug, ...], Meta(max_length=64)]
    service_names: Annotated[tuple[Text, ...], Meta(max_length=128)]
    tags: Annotated[tuple[Text, ...], Meta(max_length=64)]
    pinyin: Annotated[tuple[Text, ...], Meta(max_length=200)]
    community: SlugOrNone
    community_name: Text
    places: Annotated[tuple[values.Slug, ...], Meta(max_length=16)]
    partner: IdOrNone
    location: _Position | None
    capacity: values.Quantity | None
    price: values.Money | None
    rating: Annotated[int, Meta(ge=0, le=500)]
    weekdays: Annotated[tuple[Weekday, ...], Meta(max_length=7)]
    open_week: WeekMask
    credentials: Annotated[tuple[values.Slug, ...], Meta(max_length=64)]
    status: values.Slug
    created: Whole
    rank_key: Whole


def pack(document: Document) -> bytes:
    """The document as bytes, but for its pinyin: most of what it weighs, and no hit tells it.
    Refuses (BadDocument) whatever breaks a limit above.

    Structs built in Python are not checked by msgspec: this is the one place where all limits are
    enforced.
    """
    try:
        packed = msgspec.msgpack.encode(structs.replace(document, pinyin=()))
        msgspec.convert(document, _Limited, from_attributes=True)
        "".join(document.pinyin).encode()
    except (msgspec.MsgspecError, UnicodeEncodeError, TypeError, OverflowError) as error:
        raise BadDocument(str(error)) from error
    return packed


_decoder = msgspec.msgpack.Decoder(Document)


def unpack(packed: bytes) -> Document:
    """The document of these bytes. Refuses (msgspec.MsgspecError) foreign or damaged ones."""
    return _decoder.decode(packed)
