"""What is compared. Stored as it is in a snapshot: the same facts give the same answer for ever."""

from __future__ import annotations

import datetime as dt

from msgspec import Struct

from models.values import OfferingKind, Per, Priority, Window
from search.windows import Interval


# Thousands of these are in the caches: what holds nothing that could hold it back need not be gone
# through by the garbage collector, which would keep everybody waiting for 50 ms.
class Licence(Struct, frozen=True, gc=False):
    """A licence or qualification, valid in `[valid_from, valid_to)`, UTC minutes; None is open."""

    kind: str
    issuer: str = ""
    number: str = ""
    valid_from: int | None = None
    valid_to: int | None = None
    verified: bool = False


class OfferingFacts(Struct, frozen=True, gc=False):
    """One offering as the matcher sees it.

    `reach_m` None goes anywhere, `capacity` None has no limit; `taken` lists (start, end, quantity)
    of the capacity given away, `busy` the times that are gone altogether, in any order. No
    `availability` is never free. `rating_sum` counts hundredths of a star over all `ratings`;
    `jobs_kept` of `jobs_agreed` were done; `served_here` is how often this place was served before.
    `text` is the search score of the need's words in the offering, 0..10000, None if unknown.
    """

    id: str
    version: int
    kind: OfferingKind
    partner: str
    services: tuple[str, ...] = ()
    status: str = "active"
    partner_status: str = "admitted"
    lat_e6: int | None = None
    lon_e6: int | None = None
    reach_m: int | None = None
    capacity: int | None = None
    taken: tuple[tuple[int, int, int], ...] = ()
    price_amount: int = 0
    currency: str = "CNY"
    per: Per = "session"
    availability: tuple[Window, ...] = ()
    busy: tuple[Interval, ...] = ()
    licences: tuple[Licence, ...] = ()
    features: tuple[str, ...] = ()
    requires_features: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_minutes_week: int | None = None
    committed_minutes_week: int = 0
    max_contacts_week: int | None = None
    contacts_week: int = 0
    ratings: int = 0
    rating_sum: int = 0
    jobs_agreed: int = 0
    jobs_kept: int = 0
    served_here: int = 0
    blocked: bool = False
    text: int | None = None


class NeedFacts(Struct, frozen=True):
    """One need as the matcher sees it, on the local date `as_of`.

    `radius_m` None means anywhere (phone help), `budget_amount` None that none was stated, no
    `windows` that no time was asked for. `min_coverage` is the share of the windows that an
    offering must cover, 0..10000.
    """

    id: str
    version: int
    service_type: str
    as_of: dt.date
    lat_e6: int | None = None
    lon_e6: int | None = None
    radius_m: int | None = None
    beneficiaries: int = 0
    priority: Priority = "normal"
    windows: tuple[Window, ...] = ()
    min_coverage: int = 10_000
    budget_amount: int | None = None
    currency: str = "CNY"
    per: Per = "session"
