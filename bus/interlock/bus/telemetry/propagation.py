"""What travels beside an envelope: W3C trace context and baggage. Neither is signed, so nothing is ever decided by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar

from msgspec import Struct

TRACEPARENT = "traceparent"
BAGGAGE = "baggage"
MAX_BAGGAGE_BYTES = 1_024
MAX_MEMBERS = 8
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
# W3C Baggage: a token, `=`, percent-encoded octets; properties after `;` are not passed on.
_MEMBER = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})\s*=\s*([\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{0,256})\s*(?:;.*)?"
)
_carried: ContextVar[str] = ContextVar("interlock_baggage", default="")


class Parent(Struct, frozen=True):
    """What a traceparent header says."""

    trace_id: str
    span_id: str
    sampled: bool


def read_traceparent(header: str | None) -> Parent | None:
    """W3C Trace Context, level 1; None for what is none. Versions to come are read like the first, as it demands."""
    found = None if header is None else _TRACEPARENT.fullmatch(header.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags = found.groups()
    if version == "ff" or (version == "00" and len(header or "") > 55) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1))


def read_baggage(header: str | None) -> dict[str, str]:
    """The members that are well-formed, the first of a name, at most MAX_MEMBERS; none of what is too long to be carried."""
    if not header or len(header) > MAX_BAGGAGE_BYTES:
        return {}
    members: dict[str, str] = {}
    for part in header.split(","):
        found = _MEMBER.fullmatch(part)
        if found is not None and len(members) < MAX_MEMBERS:
            members.setdefault(found[1], found[2])
    return members


def carry(header: str | None) -> dict[str, str]:
    """From here on what is sent carries this baggage; answers its members."""
    if not header and not _carried.get():
        return {}
    members = read_baggage(header)
    _carried.set(",".join(f"{name}={value}" for name, value in members.items()))
    return members


# The baggage header of what is sent now, empty for none.
carried: Callable[[], str] = _carried.get
