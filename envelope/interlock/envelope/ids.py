"""Identifiers: allow-listed tokens, agents, UUIDv7 (RFC 9562), and ids derived from what caused them (ENV-06)."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Annotated

from msgspec import Meta

# `(?!\n)$` because Python's `$` also matches before a final newline, which must not reach a subject.
_TOKEN = r"[a-z0-9][a-z0-9-]{0,62}"
_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TOKEN_PATTERN = rf"^{_TOKEN}(?!\n)$"
AGENT_PATTERN = rf"^{_TOKEN}(\.{_TOKEN})?(?!\n)$"
UUID7_PATTERN = rf"^{_UUID7}(?!\n)$"
TRACE_ID_PATTERN = r"^[0-9a-f]{32}(?!\n)$"
SPAN_ID_PATTERN = r"^[0-9a-f]{16}(?!\n)$"
DIGEST_PATTERN = r"^[0-9a-f]{64}(?!\n)$"

Token = Annotated[str, Meta(pattern=TOKEN_PATTERN)]
AgentId = Annotated[str, Meta(pattern=AGENT_PATTERN)]
Uuid7 = Annotated[str, Meta(pattern=UUID7_PATTERN)]
TraceId = Annotated[str, Meta(pattern=TRACE_ID_PATTERN)]
Digest = Annotated[str, Meta(pattern=DIGEST_PATTERN)]

_TIME = len("01234567-89ab")  # in front of a UUIDv7: ms since 1970 UTC, 48 bits in hex
_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}
_token = re.compile(TOKEN_PATTERN)
_agent = re.compile(AGENT_PATTERN)
_uuid7 = re.compile(UUID7_PATTERN)


def is_token(text: str) -> bool:
    """Whether text may stand as one token of a subject: workspace, role, skill or task id."""
    return _token.match(text) is not None


def is_agent_id(text: str) -> bool:
    """Whether text is `role` or `role.instance`."""
    return _agent.match(text) is not None


def is_uuid7(text: str) -> bool:
    """Whether text is a lower-case UUID of version 7 and the RFC's variant."""
    return _uuid7.match(text) is not None


def role_of(agent: str) -> str:
    """The role of an agent id: `executor.2` → `executor`."""
    return agent.partition(".")[0]


def new_id(now_ms: int, random: bytes | None = None) -> str:
    """A UUIDv7 of the given time (ms since 1970 UTC); random: 10 bytes, from the operating system when not given."""
    time = f"{now_ms & 0xFFFF_FFFF_FFFF:012x}"
    return _uuid7_text(f"{time[:8]}-{time[8:]}", (random if random is not None else os.urandom(10)).hex())


def derived_id(workspace: str, parent_id: str, sender: str, step: str) -> str:
    """The id of what `sender` makes of `parent_id` at `step`: the same arguments give the same id for ever.

    The workspace is part of it because all workspaces share the streams, and whoever submits a goal may choose its id.
    A redelivered parent yields the same children, and JetStream's deduplication drops the repeats. The time part is the
    parent's, so that ids still sort by goal.
    """
    digest = hashlib.sha256(f"{workspace}\n{parent_id}\n{sender}\n{step}".encode()).hexdigest()
    return _uuid7_text(parent_id[:_TIME], digest)


def same_time(uuid7: str, other: str) -> bool:
    """Whether two UUIDv7 hold the same time, as those of a parent and its children do."""
    return uuid7[:_TIME] == other[:_TIME]


def span_of(uuid7: str) -> str:
    """The span id (W3C, 16 hex, never all zero) that belongs to a message id."""
    return hashlib.sha256(uuid7.encode()).hexdigest()[:15] + "1"


def trace_of(goal_id: str) -> str:
    """The trace id (W3C, 32 hex) that belongs to a goal."""
    return hashlib.sha256(goal_id.encode()).hexdigest()[:32]


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def _uuid7_text(time: str, digits: str) -> str:
    """time: as it stands in front; digits: at least 20 in hex, of which one becomes the version and two bits of another the
    variant.
    """
    return f"{time}-7{digits[1:4]}-{_VARIANT[digits[4]]}{digits[5:8]}-{digits[8:20]}"
