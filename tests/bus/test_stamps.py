"""The broker's times: RFC 3339 in UTC, with as many digits of a second as are not zero."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.jetstream.reading import stamp_ms
from interlock.envelope.amounts import timestamp


@given(st.integers(0, 253_402_300_799), st.integers(0, 999_999_999))
def test_whatever_the_digits_the_milliseconds_are_there(second: int, nano: int) -> None:
    fraction = f".{nano:09d}".rstrip("0").rstrip(".")
    assert stamp_ms(f"{timestamp(second * 1000)[:19]}{fraction}Z") == second * 1000 + nano // 1_000_000
