"""A durable consumer in memory, as JetStream runs one: a pure core that says what is to be delivered when."""

from __future__ import annotations

import heapq
from collections import deque

from msgspec import Struct

from interlock.bus.memory.stream import MemoryStream
from interlock.bus.streams import ConsumerSpec
from interlock.bus.subject_filter import any_of
from interlock.bus.transport import Message


class Exhausted(Struct, frozen=True):
    """A message whose deliveries are used up."""

    sequence: int
    delivered: int


class _Pending(Struct):
    """Delivered and not answered for good. due_ms: when it is delivered again, None while it waits its turn to be."""

    delivered: int
    due_ms: int | None


class MemoryConsumer:
    """Starts at the stream's first message. All times in ms."""

    def __init__(self, spec: ConsumerSpec, stream: MemoryStream) -> None:
        self._stream = stream
        self._next_sequence = 1
        self._pending: dict[int, _Pending] = {}
        self._again: deque[int] = deque()
        self._due: list[tuple[int, int]] = []  # heap of due_ms, sequence; entries may be outdated
        self.configure(spec)

    def configure(self, spec: ConsumerSpec) -> None:
        """Changes the settings; what was delivered stays so."""
        self.spec = spec
        self._takes = any_of(spec.subjects)

    def next(self, now_ms: int) -> Message | None:
        """The next message to deliver, None if there is none or too many are unanswered. Redeliveries go first."""
        while self._again:
            sequence = self._again.popleft()
            pending = self._pending.get(sequence)
            if pending is None or pending.due_ms is not None:
                continue  # answered meanwhile
            message = self._stream.get(sequence)
            if message is None:
                del self._pending[sequence]
                continue
            return self._deliver(message, pending.delivered + 1, now_ms)
        if len(self._pending) >= self.spec.max_ack_pending:
            return None
        while self._next_sequence <= self._stream.last_sequence:
            message = self._stream.get(self._next_sequence)
            self._next_sequence += 1
            if message is not None and self._takes(message.subject):
                return self._deliver(message, 1, now_ms)
        return None

    def settle(self, sequence: int) -> None:
        """Acknowledged or terminated: never again."""
        self._pending.pop(sequence, None)

    def progress(self, sequence: int, now_ms: int) -> None:
        pending = self._pending.get(sequence)
        if pending is not None and pending.due_ms is not None:
            self._put_off(sequence, pending, now_ms + self._ack_wait_ms(pending.delivered))

    def retry(self, sequence: int, delay_ms: int, now_ms: int) -> None:
        pending = self._pending.get(sequence)
        if pending is not None and pending.due_ms is not None:
            self._put_off(sequence, pending, now_ms + delay_ms)

    def expire(self, now_ms: int) -> list[Exhausted]:
        """Makes what is due ready to be delivered again; returns what may not be any more."""
        exhausted = []
        while self._due and self._due[0][0] <= now_ms:
            due_ms, sequence = heapq.heappop(self._due)
            pending = self._pending.get(sequence)
            if pending is None or pending.due_ms != due_ms:
                continue
            if 0 < self.spec.max_deliver <= pending.delivered:
                del self._pending[sequence]
                exhausted.append(Exhausted(sequence, pending.delivered))
            else:
                pending.due_ms = None
                self._again.append(sequence)
        return exhausted

    def next_due_ms(self) -> int | None:
        """When `expire` will next have something to do."""
        while self._due:
            due_ms, sequence = self._due[0]
            pending = self._pending.get(sequence)
            if pending is not None and pending.due_ms == due_ms:
                return due_ms
            heapq.heappop(self._due)
        return None

    def _deliver(self, message: Message, delivered: int, now_ms: int) -> Message:
        pending = self._pending[message.sequence] = _Pending(delivered, None)
        self._put_off(message.sequence, pending, now_ms + self._ack_wait_ms(delivered))
        return Message(
            message.subject,
            message.data,
            message.headers,
            message.sequence,
            message.stored_ms,
            delivered=delivered,
        )

    def _put_off(self, sequence: int, pending: _Pending, due_ms: int) -> None:
        pending.due_ms = due_ms
        heapq.heappush(self._due, (due_ms, sequence))

    def _ack_wait_ms(self, delivered: int) -> int:
        """After the n-th delivery the n-th wait of the backoff, its last one from then on; without backoff ack_wait."""
        backoff_ms = self.spec.backoff_ms
        return backoff_ms[min(delivered, len(backoff_ms)) - 1] if backoff_ms else self.spec.ack_wait_ms
