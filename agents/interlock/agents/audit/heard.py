"""What an auditor has heard of the goals under way, as the stream gave it: reading it all again costs more than asking
whether it is all there is. HOPS forgets nothing (deny_delete, deny_purge), so that equal numbers are equal messages.
"""

from __future__ import annotations

from collections import OrderedDict

from interlock.bus.transport import Message

MAX_BYTES = 32 << 20


class Heard:
    """Messages by goal and place in the stream. Bounded: the goal heard of first is forgotten first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._goals: OrderedDict[str, dict[int, Message]] = OrderedDict()
        self._from_its_first: set[str] = set()

    def keep(self, message: Message) -> None:
        """A message on `interlock.<workspace>.role.<role>.<goalId>.…`; anything else is let go."""
        tokens = message.subject.split(".")
        if len(tokens) < 6:
            return
        messages = self._goals.setdefault(tokens[4], {})
        if message.sequence not in messages:
            messages[message.sequence] = message
            self._bytes += len(message.data)
        while self._bytes > self._max_bytes:
            self.forget(next(iter(self._goals)))

    def of(self, goal_id: str, up_to: int) -> list[Message]:
        """In stream order, up to and with a sequence (0: all)."""
        messages = self._goals.get(goal_id, {})
        return [messages[place] for place in sorted(messages) if not up_to or place <= up_to]

    def count(self, goal_id: str) -> int:
        return len(self._goals.get(goal_id, ()))

    def is_all(self, goal_id: str, held: int) -> bool:
        """Whether as many were heard as the stream holds."""
        if held != self.count(goal_id):
            return False
        self._from_its_first.add(goal_id)
        return True

    def is_from_its_first(self, goal_id: str) -> bool:
        """Whether nothing is missing before what the stream gave last: all was there at some time, and it gives one after
        another.
        """
        return goal_id in self._from_its_first

    def forget(self, goal_id: str) -> None:
        self._from_its_first.discard(goal_id)
        self._bytes -= sum(len(message.data) for message in self._goals.pop(goal_id, {}).values())
