"""Days and weeks: which are over, and that none overlaps or is forgotten."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.reports.periods import DAY_MS, DAYS, Length, named, next_end, over

MOMENTS = st.integers(min_value=0, max_value=4_000_000_000_000)
LENGTHS = st.sampled_from(("day", "week"))


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("length", "now", "end"),
    [
        ("day", "2026-11-20T23:59:59.999", "2026-11-21T00:00:00"),
        ("day", "2026-11-21T00:00:00", "2026-11-22T00:00:00"),
        ("week", "2026-11-21T12:00:00", "2026-11-22T00:00:00"),  # a Saturday; weeks end as Sunday begins
        ("week", "2026-11-22T00:00:00", "2026-11-29T00:00:00"),
        ("week", "2024-02-28T01:00:00", "2024-03-03T00:00:00"),  # over a leap day
    ],
)
def test_when_a_period_ends(length: Length, now: str, end: str) -> None:
    assert next_end(length, ms(now)) == ms(end)


@given(LENGTHS, MOMENTS, st.integers(min_value=0, max_value=400 * DAY_MS), st.integers(min_value=1, max_value=40))
def test_periods_that_are_over_follow_each_other_up_to_now(length: Length, since: int, gone: int, most: int) -> None:
    now = since + gone
    found = over(length, since, now, most)
    assert len(found) <= most
    for one, other in itertools.pairwise(found):
        assert one.end_ms == other.start_ms
    for one in found:
        assert one.end_ms - one.start_ms == DAYS[length] * DAY_MS
        assert since < one.end_ms <= now
    if found:
        assert now - found[-1].end_ms < DAYS[length] * DAY_MS
    else:
        assert next_end(length, now) - DAYS[length] * DAY_MS <= since


@given(LENGTHS, MOMENTS)
def test_a_period_is_found_by_each_of_its_days(length: Length, at: int) -> None:
    day = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")
    period = named(length, day)
    assert period.holds(at)
    assert named(length, period.name) == period
    assert period.path.replace("/", "-") == period.name


@pytest.mark.parametrize(
    "text", ["", "today", "2026-13-01", "2026-02-30", "2026-1-1", "2026-11-20T00:00:00", "２026-11-20"]
)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|month|is no"):
        named("day", text)
