"""Money, time and budgets as values. Inside: integer micro-USD and integer ms; outside: decimal strings, RFC 3339."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from msgspec import Meta, Struct, field

MAX_INT = 2**53 - 1  # the largest integer of I-JSON (RFC 7493) and so of RFC 8785; -MAX_INT is the smallest
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
DECIMAL6_PATTERN = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{0,5}[1-9])?(?!\n)$"
Decimal6 = Annotated[str, Meta(pattern=DECIMAL6_PATTERN)]
_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}"
TIMESTAMP_PATTERN = rf"^{_DAY}T{_TIME}Z(?!\n)$"
Timestamp = Annotated[str, Meta(pattern=TIMESTAMP_PATTERN)]
_decimal = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?")


@lru_cache(maxsize=4096)  # most amounts of a workspace are a few that come again and again
def micro_usd(text: str) -> int:
    """`"0.05"` → 50000. Up to ten digits before the point and six after; raises ValueError for anything else."""
    match = _decimal.fullmatch(text)
    if match is None:
        raise ValueError(f"not an amount of money with at most six decimals: {text[:40]!r}")
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def usd_text(micro: int) -> str:
    """50000 → `"0.05"`: no trailing zeros, so that one amount has one text. A debt reads `"-0.05"`, for people only."""
    whole, part = divmod(abs(micro), 1_000_000)
    text = f"{whole}.{part:06d}".rstrip("0") if part else str(whole)
    return f"-{text}" if micro < 0 else text


def timestamp(time_ms: int) -> str:
    """ms since 1970 UTC → `2026-11-21T04:33:04.123Z`."""
    return f"{_second(time_ms // 1000)}.{time_ms % 1000:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=4096)  # an envelope's time is asked for by several checks in a row
def time_ms(text: str) -> int:
    """The inverse of timestamp; also takes other RFC 3339 forms with a zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone, for example Z")
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1000 + moment.microsecond // 1000


class Budget(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grant: what the holder may spend at most. costUSD is a decimal string on the wire, micro-USD in sums."""

    thinking_tokens: Count = field(name="thinkingTokens", default=0)
    cost_usd: Decimal6 = field(name="costUSD", default="0")
    wall_ms: Count = field(name="wallMs", default=0)
    actions: Count = 0

    @property
    def amount(self) -> Amount:
        return Amount(self.thinking_tokens, micro_usd(self.cost_usd), self.wall_ms, self.actions)


class Amount(Struct, frozen=True, array_like=True):
    """A vector over the four dimensions of a budget: tokens, micro-USD, wall ms, actions."""

    tokens: int = 0
    usd_micro: int = 0
    wall_ms: int = 0
    actions: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.tokens + other.tokens,
            self.usd_micro + other.usd_micro,
            self.wall_ms + other.wall_ms,
            self.actions + other.actions,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.tokens - other.tokens,
            self.usd_micro - other.usd_micro,
            self.wall_ms - other.wall_ms,
            self.actions - other.actions,
        )

    def within(self, other: Amount) -> bool:
        """Whether no dimension exceeds the other's."""
        return (
            self.tokens <= other.tokens
            and self.usd_micro <= other.usd_micro
            and self.wall_ms <= other.wall_ms
            and self.actions <= other.actions
        )

    def at_most(self, other: Amount) -> Amount:
        """The smaller of both in every dimension."""
        return Amount(
            min(self.tokens, other.tokens),
            min(self.usd_micro, other.usd_micro),
            min(self.wall_ms, other.wall_ms),
            min(self.actions, other.actions),
        )

    @property
    def is_zero(self) -> bool:
        return not (self.tokens or self.usd_micro or self.wall_ms or self.actions)

    @property
    def budget(self) -> Budget:
        return Budget(
            thinking_tokens=self.tokens,
            cost_usd=usd_text(self.usd_micro),
            wall_ms=self.wall_ms,
            actions=self.actions,
        )


def clock_ms() -> int:
    """The machine's clock as the rest of the system takes it: ms since 1970 UTC. Passed in, never called by gates."""
    return time.time_ns() // 1_000_000


ZERO = Amount()
