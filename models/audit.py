"""Who did what: append-only rows, each sealed with the hash of the one before."""

from __future__ import annotations

from piccolo.columns import UUID, BigInt, BigSerial, Text, Timestamptz, Varchar
from piccolo.table import Table


class Audit(Table):
    """One act. Ids only, no personal data: a person can be forgotten and the chain still holds."""

    seq = BigSerial(primary_key=True)
    at = Timestamptz(null=False)
    actor = UUID(null=True, default=None)
    action = Varchar(length=64, null=False)
    subject = UUID(null=False)
    # The place whose officers may read it.
    place = UUID(null=True, default=None)
    # JSON of ids, codes and numbers.
    detail = Text(null=False)
    previous = Varchar(length=64, null=False)
    hash = Varchar(length=64, null=False)


class AuditHead(Table):
    """A signed statement of where the chain ended: it shows when the tail was cut off."""

    id = UUID(primary_key=True)
    seq = BigInt(null=False)
    hash = Varchar(length=64, null=False)
    signed_at = Timestamptz(null=False)
    signature = Varchar(length=64, null=False)
