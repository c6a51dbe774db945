"""Rate limits as token buckets, per agent and workspace (BUS-06). Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct


class RateLimit(Struct, frozen=True, kw_only=True):
    """per_minute tokens flow in, at most burst are kept; per_minute 0: no limit."""

    per_minute: int = 0
    burst: int = 1

    @property
    def off(self) -> bool:
        return self.per_minute <= 0


class Buckets:
    """One bucket per key. Levels are kept in 1/60000 tokens, so that a millisecond adds exactly per_minute of them.
    Bounded: the key longest unused is forgotten, which can only be generous to somebody who has been quiet.
    """

    _TOKEN = 60_000

    def __init__(self, limit: RateLimit, max_keys: int = 10_000) -> None:
        self._per_minute = limit.per_minute
        self._full = limit.burst * self._TOKEN
        self._max_keys = max_keys
        self._levels: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, key: str, now_ms: int) -> int:
        """0 if a token was taken, else the ms until there is one. A clock that jumps back adds nothing."""
        per_minute, full = self._per_minute, self._full
        if per_minute <= 0:
            return 0
        level, seen_ms = self._levels.get(key, (full, now_ms))
        if now_ms > seen_ms:
            level = min(full, level + (now_ms - seen_ms) * per_minute)
            seen_ms = now_ms
        wait_ms = 0
        if level >= self._TOKEN:
            level -= self._TOKEN
        else:
            wait_ms = -(-(self._TOKEN - level) // per_minute)
        self._levels[key] = (level, seen_ms)
        self._levels.move_to_end(key)
        if len(self._levels) > self._max_keys:
            self._levels.popitem(last=False)
        return wait_ms
