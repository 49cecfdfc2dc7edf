"""The last operator stays one, whoever leaves, in whatever way, and at whatever moment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from models import accounts, errors
from tests.api.test_roles import a_person, role_id
from tests.clocks import Clock
from tests.towns import PASSWORD, Town

WAYS = ("revoke", "ban", "erase")


async def _leave(town: Town, way: str, who: str = "operator") -> httpx.Response:
    """An operator ends the own role in one of three ways."""
    if way == "revoke":
        return await town.as_(who, "DELETE", f"/v1/roles/{await role_id(town, who)}")
    if way == "ban":
        return await town.as_(who, "POST", f"/v1/accounts/{town.accounts[who]}/ban")
    return await town.as_(who, "DELETE", "/v1/accounts/current", json={"password": PASSWORD})


async def _another(town: Town, who: str = "newcomer", **change: Any) -> uuid.UUID:
    account = await a_person(town, who)
    await town.make("/v1/roles", {"account_id": account, "role": "operator", **change}, "operator")
    return uuid.UUID(account)


async def test_the_last_operator_does_not_leave(town: Town) -> None:
    for way in WAYS:
        answer = await _leave(town, way)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_operator"), way
        assert "Make another account operator first" in answer.json()["detail"]
        await town.get("/v1/audit", "operator")


@pytest.mark.parametrize("way", WAYS)
async def test_an_operator_leaves_when_somebody_else_is_one_for_as_long(
    town: Town, way: str
) -> None:
    await _another(town)
    assert (await _leave(town, way)).status_code in (200, 204)
    await town.get("/v1/audit", "newcomer")


async def test_operators_who_are_none_for_as_long_do_not_count(town: Town, clock: Clock) -> None:
    """One whose role ends sooner, one whose role begins later, one who was lent it, one banned."""
    soon = clock.after(days=9)
    await _another(town, "sooner", valid_to=soon)
    await _another(town, "later", valid_from=soon)
    deputy = {"account_id": await a_person(town, "deputy"), "valid_to": soon}
    await town.make(f"/v1/roles/{await role_id(town, 'operator')}/delegate", deputy, "operator")
    banned = await _another(town, "banned")
    await town.make(f"/v1/accounts/{banned}/ban", None, "operator")
    for way in WAYS:
        assert (await _leave(town, way)).json()["code"] == "last_operator", way


async def test_a_lent_or_future_role_of_an_operator_ends_as_any_other(
    town: Town, clock: Clock
) -> None:
    deputy = {"account_id": await a_person(town, "deputy"), "valid_to": clock.after(days=9)}
    path = f"/v1/roles/{await role_id(town, 'operator')}/delegate"
    lent = await town.make(path, deputy, "operator")
    later = {"account_id": await a_person(town, "later"), "role": "operator"}
    future = await town.make("/v1/roles", later | {"valid_from": clock.after(days=9)}, "operator")
    for role in (lent, future):
        answer = await town.as_("operator", "DELETE", f"/v1/roles/{role['id']}")
        assert answer.status_code == 204


async def test_of_two_operators_who_end_each_other_at_once_one_is_left(town: Town) -> None:
    """A race on both databases, however the one ends the other."""

    async def revoked(account: uuid.UUID) -> None:
        found = await accounts.browse_roles(accounts.EVERYTHING, account, limit=9, account=account)
        await accounts.revoke(next(role for role in found if role.role == "operator"))

    async def banned(account: uuid.UUID) -> None:
        await accounts.ban(account)

    ways: list[Callable[[uuid.UUID], Awaitable[None]]] = [revoked, banned]
    left = town.accounts["operator"]
    for number, (one, other) in enumerate((way, ways[1 - at]) for way in ways for at in (0, 1)):
        newcomer = await accounts.register(f"{number}@example.org", "a long enough one", "x")
        await accounts.grant(newcomer, "operator")
        outcome = await asyncio.gather(one(left), other(newcomer), return_exceptions=True)
        refused = [result for result in outcome if result is not None]
        assert [getattr(result, "code", result) for result in refused] == ["last_operator"]
        assert isinstance(refused[0], errors.Refusal)
        left = left if outcome[0] is refused[0] else newcomer
