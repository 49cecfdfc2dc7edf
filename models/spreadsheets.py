"""Tables for spreadsheets: CSV (RFC 4180) that opens as what it is, and runs nothing."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json

# A spreadsheet takes a cell that begins so for a formula, the wide ones too where people write
# Chinese.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A header and rows as one table.

    It begins with a byte order mark, without which spreadsheets garble Chinese; a text that they
    would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.encode(value).decode()
    if isinstance(value, dt.datetime):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
