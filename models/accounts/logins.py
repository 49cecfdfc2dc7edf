"""How a login is written: one spelling per person, whatever keyboard it was typed on."""

from __future__ import annotations

import re
import unicodedata

from models import errors

_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,135}")
_PHONE = re.compile(r"\+?[0-9]{5,20}")
_SPACERS = str.maketrans("", "", " -()")


def fold(login: str) -> str | None:
    """The one spelling of an e-mail address or phone number; None when it is neither."""
    # Folding can undo the composition, so it stands between two normalisations.
    folded = unicodedata.normalize("NFKC", login).strip().casefold()
    folded = unicodedata.normalize("NFKC", folded)
    phone = folded.translate(_SPACERS)
    if _PHONE.fullmatch(phone):
        return phone
    return folded if _EMAIL.fullmatch(folded) else None


def required(login: str) -> str:
    """The one spelling, or a refusal that names the field."""
    folded = fold(login)
    if folded is None:
        raise errors.refuse_field(
            "login", "wrong_format", needed="an e-mail address or a phone number"
        )
    return folded
