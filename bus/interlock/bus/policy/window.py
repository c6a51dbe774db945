"""How many hops each sender sent in the last minute, as a fact for policies. Pure: the time is an argument."""

from __future__ import annotations

from collections import OrderedDict

_WINDOW_MS = 60_000


class Window:
    """Counts in whole minutes and weighs the minute before by what of it still counts. Bounded: whoever was quiet longest,
    to the minute, is forgotten.
    """

    def __init__(self, max_keys: int = 10_000) -> None:
        self._max_keys = max_keys
        self._counts: OrderedDict[str, list[int]] = OrderedDict()  # key → minute, hops in the minute before, hops in it

    def add(self, key: str, now_ms: int) -> int:
        """Counts one more and gives the number before it. A clock that jumps back counts into the minute it left."""
        minute, inside_ms = divmod(now_ms, _WINDOW_MS)
        counts = self._counts.get(key)
        if counts is None or minute > counts[0]:
            counts = self._begin(key, minute, counts)
        _, before, count = counts
        counts[2] = count + 1
        return count + before * (_WINDOW_MS - inside_ms) // _WINDOW_MS

    def _begin(self, key: str, minute: int, counts: list[int] | None) -> list[int]:
        before = counts[2] if counts is not None and minute == counts[0] + 1 else 0
        counts = self._counts[key] = [minute, before, 0]
        self._counts.move_to_end(key)
        if len(self._counts) > self._max_keys:
            self._counts.popitem(last=False)
        return counts
