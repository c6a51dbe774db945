"""W3C trace context and baggage: what is well-formed is read, what is not is nothing; and never without bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.telemetry.propagation import (
    MAX_BAGGAGE_BYTES,
    MAX_MEMBERS,
    Parent,
    carried,
    carry,
    read_baggage,
    read_traceparent,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(f"00-{TRACE}-{SPAN}-01", True), (f"00-{TRACE}-{SPAN}-00", False), (f"cc-{TRACE}-{SPAN}-03-what-comes", True)],
)
def test_a_traceparent(header: str, sampled: bool) -> None:
    assert read_traceparent(header) == Parent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
    ],
)
def test_no_traceparent(header: str | None) -> None:
    assert read_traceparent(header) is None


@pytest.mark.parametrize(
    ("header", "members"),
    [
        (None, {}),
        ("", {}),
        ("team=payments", {"team": "payments"}),
        (" a=1 , b = 2;ttl=3", {"a": "1", "b": "2"}),
        ("a=1,a=2", {"a": "1"}),
        ("no value,b=2,=3,c=with space", {"b": "2"}),
        ("a=" + "x" * 257, {}),
        ("a=\r\nEvil: yes", {}),
        ("a=é", {}),
        ("a=1," + "b" * MAX_BAGGAGE_BYTES, {}),
    ],
)
def test_baggage(header: str | None, members: dict[str, str]) -> None:
    assert read_baggage(header) == members


@given(st.text(max_size=400))
def test_whatever_baggage_says_what_is_carried_on_is_well_formed_and_bounded(header: str) -> None:
    members = carry(header)
    assert len(members) <= MAX_MEMBERS and len(carried()) <= MAX_BAGGAGE_BYTES
    assert carried().isascii() and not set(carried()) & set("\r\n ")
    assert read_baggage(carried()) == members
