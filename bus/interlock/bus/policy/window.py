"""How many hops each sender sent in the last minute, as a fact for policies. Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict

_WINDOW_MS = 60_000


class Window:
    """Counts in whole minutes and weighs the minute before by what of it still counts. Bounded: whoever was quiet longest
    is forgotten.
    """

    def __init__(self, max_keys: int = 10_000) -> None:
        self._max_keys = max_keys
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def add(self, key: str, now_ms: int) -> int:
        """Counts one more and gives the number before it. A clock that jumps back counts into the minute it left."""
        minute, inside_ms = divmod(now_ms, _WINDOW_MS)
        seen, before, count = self._counts.pop(key, (minute, 0, 0))
        if minute > seen:
            before, count, seen = (count if minute == seen + 1 else 0), 0, minute
        total = count + before * (_WINDOW_MS - inside_ms) // _WINDOW_MS
        self._counts[key] = (seen, before, count + 1)
        if len(self._counts) > self._max_keys:
            self._counts.popitem(last=False)
        return total
