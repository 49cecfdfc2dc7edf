"""Who is asking, and the one rule of what they see and change."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from models import base, engine, errors

RoleName = Literal[
    "resident",
    "volunteer",
    "vanguard",
    "partner_staff",
    "grid_worker",
    "secretary",
    "officer",
    "operator",
]
KeyScope = Literal["read", "offerings", "needs", "partners"]
# Who decides for a community, and who also reports from it.
DECIDERS = frozenset({"secretary", "officer"})
STAFF = DECIDERS | {"grid_worker"}
# A role that holds at the moment of the parameter.
LIVE = "r.valid_from <= {0} AND (r.valid_to IS NULL OR r.valid_to > {0})"


class RoleGrant(Struct, frozen=True):
    """A role that holds now: its name, and the place or partner it is for."""

    name: RoleName
    place: uuid.UUID | None = None
    partner: uuid.UUID | None = None


class Caller(Struct, frozen=True):
    """Who is asking: nobody (anonymous) or an account with the roles that hold now.

    `scopes` is null for a person; a service key may do no more than they say.
    """

    account: uuid.UUID | None = None
    roles: tuple[RoleGrant, ...] = ()
    scopes: tuple[KeyScope, ...] | None = None

    @property
    def is_operator(self) -> bool:
        """Operators run the system and see everything."""
        return any(role.name == "operator" for role in self.roles)

    def places_as(self, names: Iterable[str]) -> frozenset[uuid.UUID]:
        """The places at which the caller has one of the named roles (each means its subtree)."""
        wanted = set(names)
        return frozenset(role.place for role in self.roles if role.name in wanted and role.place)

    @property
    def partners(self) -> frozenset[uuid.UUID]:
        """The partners the caller acts for."""
        return frozenset(
            role.partner for role in self.roles if role.name == "partner_staff" and role.partner
        )


ANONYMOUS = Caller()


class Visibility(Struct, frozen=True):
    """The scoping rule of a caller, for the database (`restrict`) and the index alike.

    Public rows are everybody's; what is not public belongs to the staff of its place (and of
    everything above) and to the partner's own people; an operator sees all.
    """

    everything: bool = False
    places: frozenset[uuid.UUID] = frozenset()
    partners: frozenset[uuid.UUID] = frozenset()

    def restrict(self, where: base.Where, public: str, place: str, partner: str | None) -> None:
        """Add the rule to a query: `public` is its condition for a public row, the others are the
        columns that name the row's place and partner."""
        if self.everything:
            return
        clauses = [public]
        if self.places:
            clauses.append(
                f"{place} IN (SELECT descendant FROM place_closure"
                f" WHERE ancestor IN ({where.values(sorted(self.places))}))"
            )
        if self.partners and partner:
            clauses.append(f"{partner} IN ({where.values(sorted(self.partners))})")
        where.add(f"({' OR '.join(clauses)})")


# What verbs read with: the program's own eyes. Handlers pass the caller's.
EVERYTHING = Visibility(everything=True)


def visibility(caller: Caller, staff: frozenset[str] = STAFF) -> Visibility:
    """The one helper that turns a caller into what they may see. `staff` are the roles that see
    what is not public at their places."""
    return Visibility(
        everything=caller.is_operator,
        places=caller.places_as(staff),
        partners=caller.partners,
    )


async def inside(sees: Visibility, places: Iterable[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Those of the places that lie in the caller's own subtrees."""
    asked = sorted(set(places))
    if not asked or not sees.places:
        return frozenset()
    where = base.Where()
    where.add(f"descendant IN ({where.values(asked)})")
    where.add(f"ancestor IN ({where.values(sorted(sees.places))})")
    rows = await engine.fetch(
        f"SELECT DISTINCT descendant FROM place_closure WHERE {where}", *where.args
    )
    return frozenset(base.as_id(row["descendant"]) for row in rows)


async def require(
    caller: Caller,
    roles: frozenset[str],
    *,
    place_lineage: Iterable[uuid.UUID] = (),
    partner: uuid.UUID | None = None,
) -> None:
    """Refuse unless the caller holds one of `roles` at a place of the lineage, acts for the
    partner, or is an operator. Anonymous callers get 401, the others 403."""
    if caller.account is None:
        raise errors.Refusal("unauthenticated", headers={"WWW-Authenticate": "Bearer"})
    if caller.is_operator or (partner is not None and partner in caller.partners):
        return
    if caller.places_as(roles).intersection(place_lineage):
        return
    needed = sorted(roles | {"operator"} | ({"partner_staff"} if partner else set()))
    raise errors.Refusal("forbidden", roles=", ".join(needed))


async def holder(account: uuid.UUID) -> Caller:
    """An account with the roles that are its own: lent ones may be used, but give nothing on.

    Whoever has been banned holds none.
    """
    rows = await engine.fetch(
        "SELECT r.name, r.place, r.partner FROM role r"
        " JOIN account a ON a.id = r.account AND a.status = 'active'"
        f" WHERE r.account = $1 AND r.delegated_from IS NULL AND {LIVE.format('$2')}",
        account,
        base.now(),
    )
    return Caller(account, tuple(base.record(row, RoleGrant) for row in rows))
