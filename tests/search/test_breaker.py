"""A server that does not answer is left alone, and asked again by one caller first."""

from __future__ import annotations

import pytest

from search.engine import SearchUnavailable
from search.meili import breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _closed(one: breaker.Breaker) -> bool:
    try:
        one.check()
    except SearchUnavailable:
        return True
    return False


def test_a_few_failures_close_nothing_and_an_answer_forgets_them(clock: Clock) -> None:
    one = breaker.Breaker(clock)
    for _ in range(3):
        for _ in range(breaker.FAILURES - 1):
            one.failed()
            assert not _closed(one)
        one.succeeded()


def test_after_the_pause_one_caller_tries_and_the_others_wait_for_it(clock: Clock) -> None:
    one = breaker.Breaker(clock)
    for _ in range(breaker.FAILURES):
        one.failed()
    assert _closed(one)
    clock.now += breaker.FIRST_PAUSE_S
    assert [_closed(one) for _ in range(3)] == [False, True, True]
    one.succeeded()
    assert [_closed(one) for _ in range(3)] == [False] * 3


def test_each_try_in_vain_makes_the_pause_longer_up_to_a_limit(clock: Clock) -> None:
    one = breaker.Breaker(clock)
    for _ in range(breaker.FAILURES):
        one.failed()
    pauses = []
    for _ in range(6):
        began = clock.now
        while _closed(one):
            clock.now += 0.25
        pauses.append(clock.now - began)
        one.failed()
    assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_try_that_was_given_up_keeps_the_others_out_for_a_while_only(clock: Clock) -> None:
    one = breaker.Breaker(clock)
    for _ in range(breaker.FAILURES):
        one.failed()
    clock.now += breaker.FIRST_PAUSE_S
    assert not _closed(one)  # and is never heard of again
    assert _closed(one)
    clock.now += breaker.TRY_S
    assert not _closed(one)


def test_a_server_that_says_when_to_come_back_is_believed_within_reason(clock: Clock) -> None:
    one = breaker.Breaker(clock)
    one.failed(retry_after_s=3)
    clock.now += 2.9
    assert _closed(one)
    clock.now += 0.2
    assert not _closed(one)
    one.failed(retry_after_s=86_400)
    clock.now += breaker.LONGEST_RETRY_AFTER_S
    assert not _closed(one)
