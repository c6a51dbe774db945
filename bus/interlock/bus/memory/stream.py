"""One stream in memory, as JetStream keeps it: a pure core. The time is an argument, nothing waits, nothing is sent."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence

from interlock.bus.errors import Conflict, Refused, StoreFull
from interlock.bus.streams import StreamSpec
from interlock.bus.subject_filter import any_of, is_wildcard
from interlock.bus.transport import EXPECTED_SEQUENCE, MESSAGE_ID, Message, PubAck

_RECORD_BYTES = 30  # what nats-server's file store adds to each message


class MemoryStream:
    """Messages in one total order, with the limits of its spec. All times in ms."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.last_sequence = 0
        self.bytes = 0
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._by_subject: dict[str, deque[int]] = {}
        self._ids: OrderedDict[str, tuple[int, int]] = OrderedDict()  # message id -> sequence, time

    def __len__(self) -> int:
        return len(self._messages)

    def store(self, subject: str, data: bytes, headers: Mapping[str, str], now_ms: int) -> PubAck:
        """Raises Refused (too large), Conflict (expected sequence), StoreFull. As on a single nats-server, the expected
        sequence is looked at before the message id.
        """
        self.expire(now_ms)
        size = size_of(subject, data, headers)
        if size - _RECORD_BYTES - len(subject) > self.spec.max_message_bytes > 0:
            raise Refused(f"publish to {subject}: message size exceeds maximum allowed by stream {self.spec.name}")
        if headers:
            expected = headers.get(EXPECTED_SEQUENCE)
            if expected is not None and int(expected) != self.last_sequence_of(subject):
                raise Conflict(
                    f"publish to {subject}: wrong last sequence: {self.last_sequence_of(subject)}, expected {expected}"
                )
            message_id = headers.get(MESSAGE_ID, "")
            if message_id in self._ids:
                return PubAck(self.spec.name, self._ids[message_id][0], duplicate=True)
        else:
            message_id = ""
        self._make_room(subject, size)
        self.last_sequence += 1
        message = Message(subject, data, headers, self.last_sequence, now_ms)
        self._messages[self.last_sequence] = message
        self._by_subject.setdefault(subject, deque()).append(self.last_sequence)
        self.bytes += size
        if message_id:
            self._ids[message_id] = (self.last_sequence, now_ms)
        return PubAck(self.spec.name, self.last_sequence)

    def expire(self, now_ms: int) -> None:
        """Forgets messages beyond max_age_ms and message ids beyond dedupe_ms."""
        while self._ids:
            message_id, (_, stored_ms) = next(iter(self._ids.items()))
            if now_ms - stored_ms < self.spec.dedupe_ms:
                break
            del self._ids[message_id]
        while self.spec.max_age_ms and self._messages:
            first = next(iter(self._messages.values()))
            if now_ms - first.stored_ms < self.spec.max_age_ms:
                break
            self._remove(first.sequence)

    def purge(self, subject: str, before: int) -> int:
        """Removes what is on the subject below a sequence. Raises Refused."""
        if self.spec.deny_purge:
            raise Refused(f"stream {self.spec.name} denies purges")
        gone = [message.sequence for message in self.scan([subject], 1, before - 1)]
        for sequence in gone:
            self._remove(sequence)
        return len(gone)

    def get(self, sequence: int) -> Message | None:
        return self._messages.get(sequence)

    def last(self, subject: str) -> Message | None:
        sequences = self._by_subject.get(subject)
        return self._messages[sequences[-1]] if sequences else None

    def last_sequence_of(self, subject: str) -> int:
        """0 when the subject has no message."""
        sequences = self._by_subject.get(subject)
        return sequences[-1] if sequences else 0

    def first_since(self, stored_ms: int) -> int:
        """The sequence of the first message stored at or after a time, one beyond the last if there is none."""
        later = (sequence for sequence, message in self._messages.items() if message.stored_ms >= stored_ms)
        return next(later, self.last_sequence + 1)

    def scan(self, subjects: Sequence[str], start: int, end: int) -> Iterator[Message]:
        """The messages from sequence start to end, both included, that one of the filters takes. The stream may change
        between two steps: what was removed meanwhile is left out.
        """
        takes = any_of(subjects)
        places: Sequence[int] = range(max(start, 1), min(end, self.last_sequence) + 1)
        if len(subjects) == 1 and not is_wildcard(subjects[0]):
            own = self._by_subject.get(subjects[0], ())
            places = [sequence for sequence in own if start <= sequence <= end]
        for sequence in places:
            message = self._messages.get(sequence)
            if message is not None and takes(message.subject):
                yield message

    def keep_only(self, subject: str, sequence: int) -> None:
        """Forgets the other messages of this subject (0: all of them)."""
        for other in list(self._by_subject.get(subject, ())):
            if other != sequence:
                self._remove(other)

    def _make_room(self, subject: str, size: int) -> None:
        spec = self.spec
        own = self._by_subject.get(subject)
        replaces = own[0] if own and 0 < spec.max_per_subject <= len(own) else 0
        freed = _size(self._messages[replaces]) if replaces else 0
        if spec.discard == "new" and 0 < spec.max_bytes < self.bytes - freed + size:
            raise StoreFull(
                f"publish to {subject}: stream {spec.name} holds its maximum of {spec.max_bytes} bytes",
                "Raise its max_bytes",
            )
        if replaces:
            self._remove(replaces)
        while self._messages and 0 < spec.max_bytes < self.bytes + size:
            self._remove(next(iter(self._messages)))

    def _remove(self, sequence: int) -> None:
        message = self._messages.pop(sequence)
        self.bytes -= _size(message)
        own = self._by_subject[message.subject]
        own.remove(sequence)  # near its left end: what goes is the oldest of its subject
        if not own:
            del self._by_subject[message.subject]


def size_of(subject: str, data: bytes, headers: Mapping[str, str]) -> int:
    """Bytes a message takes in the store: headers in NATS's text form (`NATS/1.0`, one line each)."""
    head = 12 + sum(len(name) + len(value) + 4 for name, value in headers.items()) if headers else 0
    return _RECORD_BYTES + len(subject) + head + len(data)


def _size(message: Message) -> int:
    return size_of(message.subject, message.data, message.headers)
