"""Rates, breakers, backoff: tables and properties with the time as an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.breaker import Breakers, BreakerSettings
from interlock.bus.rates import Buckets, RateLimit


@given(st.lists(st.integers(0, 5_000), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_a_bucket_never_lets_more_through_than_it_may(steps: list[int], per_minute: int, burst: int) -> None:
    buckets, now, passed = Buckets(RateLimit(per_minute=per_minute, burst=burst)), 0, 0
    for step in steps:
        now += step
        wait_ms = buckets.take("a", now)
        passed += wait_ms == 0
        assert passed <= burst + now * per_minute // 60_000
        if wait_ms:
            assert buckets.take("a", now + wait_ms) == 0, "after the wait it is let through"
            now, passed = now + wait_ms, passed + 1


def test_buckets_are_apart_bounded_and_may_be_off() -> None:
    buckets = Buckets(RateLimit(per_minute=1, burst=1), max_keys=2)
    assert buckets.take("a", 0) == 0
    assert buckets.take("a", 0) == 60_000
    assert buckets.take("b", 0) == 0
    assert buckets.take("a", -10_000) == 60_000, "a clock that jumps back adds nothing"
    assert [Buckets(RateLimit()).take("a", 0) for _ in range(100)] == [0] * 100


def test_a_breaker_opens_tries_once_and_closes() -> None:
    breakers = Breakers(BreakerSettings(failures=2, open_ms=100))
    assert breakers.allows("x", 0)
    for _ in range(2):
        breakers.report("x", succeeded=False, now_ms=10)
    assert not breakers.allows("x", 109)
    assert breakers.allows("other", 50)
    assert breakers.allows("x", 110), "one trial"
    assert not breakers.allows("x", 111), "only one"
    breakers.report("x", succeeded=False, now_ms=120)
    assert not breakers.allows("x", 219)
    assert breakers.allows("x", 220)
    breakers.report("x", succeeded=True, now_ms=221)
    assert all(breakers.allows("x", 222) for _ in range(5))
    off = Breakers(BreakerSettings(failures=0))
    for _ in range(50):
        off.report("x", succeeded=False, now_ms=0)
    assert off.allows("x", 0)


@given(st.integers(1, 500), st.text(max_size=10))
def test_backoff_grows_to_its_cap_and_repeats(attempt: int, seed: str) -> None:
    backoff = Backoff(first_ms=100, factor=2, cap_ms=5_000, spread_percent=20)
    wait = delay_ms(backoff, attempt, seed)
    assert wait == delay_ms(backoff, attempt, seed)
    whole = min(5_000, 100 * 2 ** (attempt - 1))
    assert whole * 80 // 100 <= wait <= whole


@pytest.mark.parametrize("attempt", [-1, 0, 1])
def test_backoff_of_a_first_attempt(attempt: int) -> None:
    assert delay_ms(Backoff(spread_percent=0), attempt, "") == 200
