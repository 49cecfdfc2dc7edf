"""Papers of the demo's partners: credit codes and licences, with numbers nobody really has."""

from __future__ import annotations

import datetime as dt
import zlib
from typing import Any

from models.demo import texts

_DIGITS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
# Registering department and type, the first two digits of a code. Residents have no code.
_REGISTERED = {"institution": "12", "social_org": "52", "enterprise": "91", "sole_trader": "92"}
_DISTRICTS = {"chongqing": "500105", "ganzhou": "360702"}
_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def city(place: str) -> str:
    """Which of the two trees a place belongs to."""
    return "ganzhou" if place.startswith("zhanggong") else "chongqing"


def credit_code(kind: str, place: str, key: str) -> str | None:
    """A unified social credit code that passes both its checks (GB 11714, GB 32100-2015)."""
    if kind not in _REGISTERED:
        return None
    organisation = f"MA{_serial(key, 6)}"
    # Letters count from A = 10 here, without the gaps of the outer check.
    total = sum(int(sign, 36) * weight for sign, weight in zip(organisation, _WEIGHTS, strict=True))
    code = f"{_REGISTERED[kind]}{_DISTRICTS[city(place)]}{organisation}{'0X987654321'[total % 11]}"
    outer = sum(_DIGITS.index(sign) * pow(3, at, 31) for at, sign in enumerate(code))
    return code + _DIGITS[-outer % 31]


def phone(key: str) -> str:
    """A number in the form of a Chongqing landline that no exchange gives out."""
    return f"023 0000 {_serial(key, 4)}"


def credential(raw: dict[str, Any], place: str, holder: str, today: dt.date) -> dict[str, Any]:
    """A licence as its holder states it. `from` and `to` are days from today; without `to` it is
    for life."""
    kind = raw["kind"]
    issuer = texts.issuers()[kind]
    stated = {
        "kind": kind,
        "issuer": issuer[city(place)],
        "number": f"{issuer['prefix']}{_serial(f'{holder}/{kind}', 9)}",
        "valid_from": day(today, raw["from"]),
    }
    return stated | ({"valid_to": day(today, raw["to"])} if "to" in raw else {})


def day(today: dt.date, offset: int) -> dt.date:
    """The date so many days from today."""
    return today + dt.timedelta(days=offset)


def _serial(key: str, digits: int) -> str:
    return f"{zlib.crc32(key.encode()) % 10**digits:0{digits}d}"
