"""Who calls, whose objects they cover, and what a row of the matrix says."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.towns import Town

KEY = "service key"
ROLES = (
    "anonymous",
    "resident",
    "volunteer",
    "vanguard",
    "partner_staff",
    "grid_worker",
    "secretary",
    "officer",
    "operator",
    KEY,
)
RELATIONS = ("own", "sibling", "other", "none")
# A key of the first grid with every scope acts like a secretary there.
DECIDERS = frozenset({"secretary", "officer", "operator", KEY})
STAFF = DECIDERS | {"grid_worker"}
OFFICERS = frozenset({"officer", "operator"})
OPERATORS = frozenset({"operator"})
PARTNER = frozenset({"partner_staff"})
EVERYBODY = frozenset(ROLES)
SIGNED_IN = EVERYBODY - {"anonymous"}

# Whose objects a role covers. The officer's subdistrict holds both communities.
COVERS = {
    "partner_staff": {"own"},
    "grid_worker": {"own"},
    "secretary": {"own"},
    "officer": {"own", "sibling"},
    "operator": {"own", "sibling", "other"},
    KEY: {"own"},
}
PUBLIC_OBJECTS = frozenset({"place", "training", "open need", "group", ""})
# Who sees a draft or an applicant that they cover. Places are public.
SEES = {
    "need": STAFF,
    "booking": STAFF | PARTNER,
    "offering": STAFF | PARTNER,
    "partner": STAFF | PARTNER,
    "consented need": STAFF,
    "role": STAFF,
    "service key": DECIDERS,
    "invitation": DECIDERS,
    "plan": STAFF,
    "proposal": STAFF | PARTNER,
    "agreement": STAFF | PARTNER,
    "enrolment": STAFF,
    "space": STAFF | PARTNER,
    "docking": STAFF | PARTNER,
    "training": EVERYBODY,
    "completion": STAFF | PARTNER,
    "bound agreement": STAFF | PARTNER,
    "task": STAFF,
    "occurrence": STAFF | PARTNER,
    "attendance": STAFF | PARTNER,
    "place": EVERYBODY,
    "": EVERYBODY,
}
DONE = {200, 201, 204}
NONE = str(uuid.UUID(int=7 << 76 | 1 << 63))


class Target(Struct):
    """The object of one case: its id, its place, its partner, its credential if it has one, and
    the space that a group offers."""

    id: str
    place: str
    partner: str = ""
    credential: str = NONE
    space: str = NONE


class Row(Struct):
    """What a route asks of its callers.

    `who` may use it on objects they cover (`EVERYBODY` on all that they see). `object` is the kind
    of thing in its path or body. `done` are the statuses that mean it was allowed. One that is
    `apart` changes what the others stand on.
    """

    who: frozenset[str]
    object: str = ""
    send: Callable[[Town, Target], dict[str, Any]] = lambda _town, _target: {}
    done: frozenset[int] = frozenset(DONE)
    query: str = ""
    apart: bool = False
