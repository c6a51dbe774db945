"""Money, time, budgets: one value has one text, sums are exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.amounts import (
    Amount,
    Budget,
    Decimal6,
    Timestamp,
    clock_ms,
    micro_usd,
    time_ms,
    timestamp,
    usd_text,
)


@given(st.integers(0, 10**16 - 1))
def test_money_has_one_text(micro: int) -> None:
    text = usd_text(micro)
    assert micro_usd(text) == micro
    assert Decimal(text) * 1_000_000 == micro
    assert msgspec.convert(text, Decimal6) == text
    assert usd_text(-micro) == ("0" if micro == 0 else f"-{text}")


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0),
        ("0.000001", 1),
        ("0.05", 50_000),
        ("1.5", 1_500_000),
        ("1.50", 1_500_000),
        ("9999999999.999999", 10**16 - 1),
    ],
)
def test_money_by_example(text: str, micro: int) -> None:
    assert micro_usd(text) == micro


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1.", ".5", "-1", "+1", "1e3", "0.0000001", "01", "00", "1,5", "1_000", "٣", "１", "1\n", "1\x00", "9" * 11, "NaN", "inf", "0x1"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        micro_usd(text)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Decimal6)


@pytest.mark.parametrize("text", ["1.0", "1.50", "0.000000"])
def test_the_wire_takes_the_shortest_text_only(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Decimal6)


@given(st.integers(-2_000_000_000_000, 253_402_300_799_999))
def test_times_are_exact_to_the_millisecond(ms: int) -> None:
    assert time_ms(timestamp(ms)) == ms
    assert msgspec.convert(timestamp(ms), Timestamp) == timestamp(ms)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
        ("2024-02-29T23:59:59.999999+00:00", 1_709_251_199_999),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_by_example(text: str, ms: int) -> None:
    assert time_ms(text) == ms


@pytest.mark.parametrize("text", ["", "now", "2024-01-01", "2024-01-01T00:00:00", "2023-02-29T00:00:00.000Z", "1\n"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        time_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-01T00:00:00.000Z", "2024-00-01T00:00:00.000Z", "2024-01-32T00:00:00.000Z", "2024-01-00T00:00:00.000Z",
        "2024-01-01T24:00:00.000Z", "2024-01-01T00:60:00.000Z", "2024-01-01T00:00:60.000Z", "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00.000+00:00", "2024-01-01t00:00:00.000z", "2024-01-01 00:00:00.000Z", "2024-01-01T00:00:00.000Z\n",
        "٢024-01-01T00:00:00.000Z",
    ],
    ids=ascii,
)  # fmt: skip
def test_times_the_wire_does_not_take(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Timestamp)


def test_the_clock_counts_from_1970() -> None:
    assert 1_700_000_000_000 < clock_ms() < 10_000_000_000_000


AMOUNTS = st.builds(Amount, *[st.integers(0, 10**12)] * 4)


@given(AMOUNTS, AMOUNTS)
def test_amounts_add_compare_and_travel(one: Amount, other: Amount) -> None:
    assert one + other - other == one
    assert one.within(one + other)
    assert one.at_most(other).within(one)
    assert one.at_most(other).within(other)
    assert (one.within(other) and other.within(one)) == (one == other)
    assert one.budget.amount == one
    assert msgspec.convert(msgspec.to_builtins(one.budget), Budget) == one.budget
    assert one.is_zero == (one == Amount())


@pytest.mark.parametrize("dimension", Amount.__struct_fields__)
def test_every_dimension_counts(dimension: str) -> None:
    more = Amount(**{dimension: 1})
    assert not more.within(Amount())
    assert Amount().within(more)
    assert not more.is_zero


@pytest.mark.parametrize(
    "wire",
    [{"actions": -1}, {"actions": 2**53}, {"actions": 1.5}, {"actions": "1"}, {"actions": True}, {"costUSD": 1}, {"cost_usd": "1"}, {"x": 1}],
    ids=str,
)  # fmt: skip
def test_what_is_no_budget(wire: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wire, Budget)
