"""Waiting longer after each failure, spread so that many do not come back at once (BUS-06)."""

from __future__ import annotations

import hashlib

from msgspec import Struct


class Backoff(Struct, frozen=True, kw_only=True):
    """Delay of attempt n: first_ms × factor^(n-1), at most cap_ms, of which up to spread_percent is taken off."""

    first_ms: int = 200
    factor: int = 2
    cap_ms: int = 30_000
    spread_percent: int = 20


def delay_ms(backoff: Backoff, attempt: int, seed: str) -> int:
    """The wait after the attempt-th failure (from 1). The spread is drawn from the seed, so that a replay agrees."""
    whole = min(backoff.cap_ms, backoff.first_ms * backoff.factor ** min(max(attempt, 1) - 1, 32))
    draw = int.from_bytes(hashlib.sha256(f"{seed}:{attempt}".encode()).digest()[:4], "big")
    taken: int = whole * (draw % (backoff.spread_percent + 1)) // 100
    return int(whole - taken)
