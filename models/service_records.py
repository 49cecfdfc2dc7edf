"""A person's service record, signed: whoever is shown it can check it without asking us.

It is a JWS (RFC 7515) with an Ed25519 key (RFC 8037), so every library for those can verify it. The
key is derived from SECRET_KEY (RFC 5869): another secret is another key, and what the old one
signed stays good for whoever has kept the old public key.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import uuid
import zoneinfo

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from models import attendance, base, bookings, engine, values

# The longest time that one record tells of.
LONGEST_DAYS = 366
_PURPOSE = b"community-partners service record 1"


class ServiceEntry(Struct, frozen=True, kw_only=True):
    """What somebody gave on one day: the minutes that count. Of a home, the place is what
    everybody may know. `id` is the row of attendance."""

    id: uuid.UUID
    date: dt.date
    place_id: uuid.UUID
    place: values.Bilingual
    service_type: str
    minutes: int


class ServiceRecord(Struct, frozen=True, kw_only=True):
    """What an account has given between two days, both inclusive."""

    account_id: uuid.UUID
    name: str
    first: dt.date
    last: dt.date
    issued_at: dt.datetime
    minutes: int
    entries: tuple[ServiceEntry, ...]


class SignedRecord(Struct, frozen=True, kw_only=True):
    """A service record, and the same as a compact JWS: its payload is what is signed."""

    record: ServiceRecord
    jws: str


class PublicKey(Struct, frozen=True, kw_only=True):
    """A public key as a JWK (RFC 7517); `kid` is its thumbprint (RFC 7638)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class PublicKeys(Struct, frozen=True):
    """The keys that signatures are checked with: a JWK set."""

    keys: tuple[PublicKey, ...]


async def of(account: uuid.UUID, first: dt.date, last: dt.date) -> ServiceRecord:
    """What counts of what an account has given between two local days."""
    ((name,),) = await engine.rows("SELECT display_name FROM account WHERE id = $1", account)
    entries = tuple(
        entry for entry in await _entries(account, first, last) if first <= entry.date <= last
    )
    return ServiceRecord(
        account_id=account,
        name=name,
        first=first,
        last=last,
        issued_at=base.now(),
        minutes=sum(entry.minutes for entry in entries),
        entries=entries,
    )


def sign(record: ServiceRecord, secret: bytes) -> SignedRecord:
    """Sign a record with the key that follows from the secret."""
    key = _key(secret)
    head = {"alg": "EdDSA", "kid": public_key(secret).kid, "typ": "service-record+json"}
    signed = f"{_text(msgspec.json.encode(head))}.{_text(msgspec.json.encode(record))}"
    signature = _text(key.sign(signed.encode()))
    return SignedRecord(record=record, jws=f"{signed}.{signature}")


def public_key(secret: bytes) -> PublicKey:
    """What signatures with the secret's key are checked with."""
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    x = _text(_key(secret).public_key().public_bytes(*raw))
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return PublicKey(kty="OKP", crv="Ed25519", x=x, kid=_text(thumbprint), use="sig", alg="EdDSA")


def _key(secret: bytes) -> Ed25519PrivateKey:
    seed = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
    return Ed25519PrivateKey.from_private_bytes(seed)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def _entries(account: uuid.UUID, first: dt.date, last: dt.date) -> list[ServiceEntry]:
    """A day more on both sides: dates are local, minutes are not."""
    midnight = dt.time(tzinfo=dt.UTC)
    day = dt.timedelta(days=1)
    rows = await engine.rows(
        "SELECT t.id, o.starts, l.id, l.name_zh, l.name_en, l.timezone, a.service_type, t.minutes"
        " FROM attendance t JOIN occurrence o ON o.id = t.occurrence"
        " JOIN agreement a ON a.id = o.agreement JOIN place l ON l.id = a.public_place"
        f" WHERE t.account = $1 AND t.minutes > 0 AND {attendance.STANDING}"
        " AND o.starts >= $2 AND o.starts < $3 ORDER BY o.starts, t.id",
        account,
        bookings.minute(dt.datetime.combine(first - day, midnight)),
        bookings.minute(dt.datetime.combine(last + day + day, midnight)),
    )
    return [
        ServiceEntry(
            id=base.as_id(identity),
            date=bookings.moment_of(starts).astimezone(zoneinfo.ZoneInfo(zone)).date(),
            place_id=base.as_id(place),
            place=values.Bilingual(zh, en),
            service_type=service_type,
            minutes=minutes,
        )
        for identity, starts, place, zh, en, zone, service_type, minutes in rows
    ]
