"""Recorded hops told again under `interlock-replay.<prefix>`, where no role listens and no stream stores (BUS-08)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import anyio

from interlock.bus.transport import Message, Transport
from interlock.envelope.subjects import PREFIX

SANDBOX = "interlock-replay"
SEQUENCE = "Interlock-Replay-Sequence"
Pace = Literal["original", "full"]
_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}")
# A pause between hops that no rehearsal wants to sit through in one piece: the broker is asked nothing meanwhile.
MAX_PAUSE_S = 3_600.0


def is_prefix(text: str) -> bool:
    """One to eight tokens of letters, digits, `_` and `-`."""
    return _PREFIX.fullmatch(text) is not None


def sandbox_subject(prefix: str, subject: str) -> str:
    """`interlock.<workspace>.role.…` becomes `interlock-replay.<prefix>.<workspace>.role.…`."""
    return f"{SANDBOX}.{prefix}.{subject.removeprefix(f'{PREFIX}.')}"


async def republish(transport: Transport, hops: Sequence[Message], prefix: str, pace: Pace) -> int:
    """Plain messages, byte for byte, with their headers and the sequence they had. original: with the pauses they had.
    Answers how many. Raises ValueError for a prefix that is none, BusError.
    """
    if not is_prefix(prefix):
        raise ValueError(f"no prefix of a subject: {prefix[:80]!r}")
    before_ms = hops[0].stored_ms if hops else 0
    for hop in hops:
        if pace == "original" and hop.stored_ms > before_ms:
            await anyio.sleep(min((hop.stored_ms - before_ms) / 1000, MAX_PAUSE_S))
        before_ms = hop.stored_ms
        headers = {**hop.headers, SEQUENCE: str(hop.sequence)}
        await transport.send(sandbox_subject(prefix, hop.subject), hop.data, headers=headers)
    return len(hops)
