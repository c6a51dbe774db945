"""The memory against replay (ENV-05). The lasting part is JetStream's deduplication window, see docs/adr/0003."""

from __future__ import annotations

import heapq


class ReplayMemory:
    """Message ids seen by this process, each kept until its envelope is dead anyway (created + ttl + skew).

    The same id at the same stream sequence is a redelivery, not a replay; a sequence of 0 is none (JetStream counts from
    1), so what comes without one comes once. Bounded: when full, `admit` refuses, for a
    memory that forgets would let a replay through (fail closed).
    """

    def __init__(self, capacity: int = 1_000_000) -> None:
        self._capacity = capacity
        self._seen: dict[str, int] = {}
        self._deaths: list[tuple[int, str]] = []

    def admit(self, message_id: str, sequence: int, dead_after_ms: int, now_ms: int) -> bool:
        """True for a message never seen or redelivered; False for a replay or a full memory."""
        known = self._seen.get(message_id)
        if known is not None:
            return known == sequence > 0
        while self._deaths and self._deaths[0][0] < now_ms:
            self._seen.pop(heapq.heappop(self._deaths)[1], None)
        if len(self._seen) >= self._capacity:
            return False
        self._seen[message_id] = sequence
        heapq.heappush(self._deaths, (dead_after_ms, message_id))
        return True

    def __len__(self) -> int:
        return len(self._seen)
