"""The time bank: never below zero, never more to spend than the cap, and no minute lost."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import accounts, base, engine, errors, hours, ledger, places, values
from models.hours import CAP, Balance

MINUTES = st.integers(0, 3 * CAP)
MOVES = st.lists(st.tuples(st.sampled_from(["earn", "spend", "donate", "take_back"]), MINUTES))


def _total(balance: Balance) -> int:
    return balance.spendable + balance.gift - balance.owed


@given(MOVES)
def test_a_balance_is_never_below_zero_nor_above_the_cap_and_nothing_is_lost(
    moves: list[tuple[str, int]],
) -> None:
    """E8: cap of 1,500 hours, the excess can only be given away."""
    has = Balance()
    for name, minutes in moves:
        after = getattr(hours, name)(has, minutes)
        if after is None:
            enough = has.spendable + (has.gift if name == "donate" else 0)
            assert minutes > enough
            continue
        assert _total(after) - _total(has) == (minutes if name == "earn" else -minutes)
        assert 0 <= after.spendable <= 90_000
        assert after.gift >= 0
        assert after.owed >= 0
        assert not after.owed or after == Balance(owed=after.owed)
        if name == "spend":
            assert after.gift == has.gift
        has = after


@given(MINUTES, MINUTES)
def test_what_lies_above_the_cap_is_given_away_first_and_never_spent(
    over: int, wanted: int
) -> None:
    """E8."""
    full = hours.earn(Balance(), CAP + over)
    assert full == Balance(CAP, over)
    assert hours.spend(full, CAP + 1) is None
    given_away = hours.donate(full, min(wanted, over))
    assert given_away == Balance(CAP, over - min(wanted, over))


async def _somebody(place: uuid.UUID) -> uuid.UUID:
    account = await accounts.register(f"{uuid.uuid4()}@test", "open sesame", "谁")
    await accounts.grant(account, "resident", place=place)
    return account


async def _place() -> uuid.UUID:
    draft = places.PlaceDraft(
        slug=f"p{uuid.uuid4().hex}",
        kind="municipality",
        parent_id=None,
        name=values.Bilingual("市", "City"),
    )
    return (await places.found(draft)).id


async def _credit(account: uuid.UUID, minutes: int, place: uuid.UUID) -> None:
    """As if it had been earned, of no partner in particular."""
    async with engine.unit_of_work():
        before = await hours._locked(account)
        lines = await hours._move(account, before, hours.earn(before, minutes))
        source = ledger.Line(f"hours:{place}", ledger.MINUTE, -minutes)
        await ledger.transfer("hours_earned", [source, *lines], place=place)


async def _held(account: uuid.UUID) -> tuple[int, int, int]:
    """The ledger's own account of what the row says."""
    kept, gift, owed = [
        await ledger.balance(name, ledger.MINUTE) for name in hours.accounts_of(account)
    ]
    row = await hours.of(account)
    assert (row.spendable, row.donate_only, row.owed) == (kept, gift, -owed)
    return kept, gift, owed


async def test_concurrent_donations_never_overdraw(db: engine.Engine) -> None:
    """E8."""
    place = await _place()
    giver, taker = await _somebody(place), await _somebody(place)
    await _credit(giver, 600, place)
    donation = hours.Donation(minutes=60, account_id=taker)
    back = hours.Donation(minutes=10, account_id=giver)

    async def one(account: uuid.UUID, what: hours.Donation) -> bool:
        with contextlib.suppress(errors.Refusal):
            await hours.give(account, what)
            return True
        return False

    done = await asyncio.gather(*(one(giver, donation) for _ in range(25)))
    assert sum(done) == 10
    assert await _held(giver) == (0, 0, 0)
    # Both give to each other at the same moment, and nobody waits for ever.
    async with asyncio.timeout(30):
        several = [one(taker, back) for _ in range(15)] + [one(giver, back) for _ in range(15)]
        await asyncio.gather(*several)
    assert sum(await _held(giver)) + sum(await _held(taker)) == 600


async def test_the_database_itself_refuses_a_balance_that_cannot_be(db: engine.Engine) -> None:
    for spendable, gift, owed in ((-1, 0, 0), (90_001, 0, 0), (0, -1, 0), (0, 0, -1)):
        with pytest.raises(Exception, match="more of hours"):
            await engine.execute(
                "INSERT INTO hours (id, account, spendable, gift, owed, updated_at)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                base.new_id(),
                base.new_id(),
                spendable,
                gift,
                owed,
                base.now(),
            )


async def test_the_hours_of_who_is_forgotten_go_to_the_fund_of_the_place(db: engine.Engine) -> None:
    place = await _place()
    account = await _somebody(place)
    await _credit(account, CAP + 7, place)
    await hours.leave_behind(account)
    assert await _held(account) == (0, 0, 0)
    assert await ledger.balance(f"fund:{place}", ledger.MINUTE) == CAP + 7
