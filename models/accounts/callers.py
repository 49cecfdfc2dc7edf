"""Who is asking, and the one rule of what they see and change."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from models import base, engine, errors
from models import places as tree

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
    everything above) and to the partner's own people; an operator sees all. `roughly`: of the rows
    of those places no more than what everybody may know, so no home.
    """

    everything: bool = False
    places: frozenset[uuid.UUID] = frozenset()
    partners: frozenset[uuid.UUID] = frozenset()
    roughly: bool = False

    def restrict(self, where: base.Where, public: str, place: str, partner: str | None) -> None:
        """Add the rule to a query: `public` is its condition for a public row, the others are the
        columns that name the row's place and partner."""
        if self.everything:
            return
        clauses = [public, *self._theirs(where, self.places, place, partner)]
        where.add(f"({' OR '.join(clauses)})")

    def knows(self, where: base.Where, place: str, partner: str | None) -> str | None:
        """The condition for the rows of which these eyes may know all, homes too; None if there
        are no such rows. It is put together with the parameters of `where`."""
        if self.everything:
            return "1 = 1"
        known = frozenset() if self.roughly else self.places
        clauses = self._theirs(where, known, place, partner)
        return f"({' OR '.join(clauses)})" if clauses else None

    def within(
        self,
        where: base.Where,
        asked: uuid.UUID,
        place: str,
        public_place: str,
        partner: str | None,
    ) -> None:
        """Only rows that are, as far as these eyes may know, at the place asked for or below: or
        else asking for one building after the other would find a home."""
        if self.everything:
            where.within(place, asked)
            return
        below = "{} IN (SELECT descendant FROM place_closure WHERE ancestor = {})"
        here = where.value(asked)
        known = self.knows(where, place, partner)
        public, exact = below.format(public_place, here), below.format(place, here)
        where.add(f"({public} OR {known} AND {exact})" if known else public)

    def _theirs(
        self, where: base.Where, places: frozenset[uuid.UUID], place: str, partner: str | None
    ) -> list[str]:
        clauses = []
        if places:
            clauses.append(
                f"{place} IN (SELECT descendant FROM place_closure"
                f" WHERE ancestor IN ({where.values(sorted(places))}))"
            )
        if self.partners and partner:
            clauses.append(f"{partner} IN ({where.values(sorted(self.partners))})")
        return clauses


# What verbs read with: the program's own eyes. Handlers pass the caller's.
EVERYTHING = Visibility(everything=True)


def visibility(caller: Caller, staff: frozenset[str] = STAFF) -> Visibility:
    """The one helper that turns a caller into what they may see. `staff` are the roles that see
    what is not public at their places.

    A program is not staff: a service key of a place sees of it what everybody may know, and what
    is not public yet only if it may write there, too.
    """
    is_program = caller.scopes is not None
    only_reads = is_program and caller.scopes == ("read",)
    return Visibility(
        everything=caller.is_operator,
        places=frozenset() if only_reads else caller.places_as(staff),
        partners=caller.partners,
        roughly=is_program,
    )


async def inside(sees: Visibility, places: Iterable[uuid.UUID]) -> frozenset[uuid.UUID]:
    """Those of the places that lie in the subtrees of which these eyes may know all."""
    asked = sorted(set(places))
    if not asked or not sees.places or sees.roughly:
        return frozenset()
    if len(asked) == 1:
        above = await tree.ancestors(asked[0])
        return frozenset(asked) if sees.places.intersection(above) else frozenset()
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


async def acting(account: uuid.UUID) -> Caller | None:
    """An account with all the roles that hold now, as if it had signed in; None if it may not."""
    rows = await engine.fetch(
        "SELECT r.name, r.place, r.partner FROM account a"
        f" LEFT JOIN role r ON r.account = a.id AND {LIVE.format('$2')}"
        " WHERE a.id = $1 AND a.status = 'active'",
        account,
        base.now(),
    )
    if not rows:
        return None
    return Caller(account, tuple(base.record(row, RoleGrant) for row in rows if row["name"]))


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
