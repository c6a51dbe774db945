"""The memory stream against a model so naive that it is plainly right: a list of everything, searched from the front."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interlock.bus.clock import ManualClock
from interlock.bus.errors import Conflict, Refused, StoreFull
from interlock.bus.memory.stream import MemoryStream, size_of
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import Declarations, StreamSpec
from interlock.bus.subject_filter import matches
from interlock.bus.transport import EXPECTED_SEQUENCE, MESSAGE_ID

SUBJECTS = st.sampled_from(["s.a", "s.b", "s.a.x"])
FILTERS = st.lists(st.sampled_from(["s.a", "s.b", "s.*", "s.>", "s.a.*"]), min_size=1, max_size=2)


@dataclass(frozen=True)
class Kept:
    sequence: int
    subject: str
    data: bytes
    stored_ms: int
    size: int


class StreamAgainstModel(RuleBasedStateMachine):
    @initialize(
        max_bytes=st.sampled_from([0, 400, 400, 2000]),
        max_age_ms=st.sampled_from([0, 1000]),
        max_per_subject=st.sampled_from([-1, 1, 3]),
        discard=st.sampled_from(["new", "old"]),
    )
    def declare(self, **limits: Any) -> None:
        self.clock = ManualClock(0)
        self.transport = MemoryTransport(self.clock)
        self.spec = StreamSpec(name="S", subjects=("s.>",), max_message_bytes=300, dedupe_ms=500, **limits)
        asyncio.run(self.transport.declare(Declarations(streams=(self.spec,))))
        self.everything: list[Kept] = []
        self.gone: set[int] = set()
        self.ids: dict[str, tuple[int, int]] = {}

    @property
    def kept(self) -> list[Kept]:
        now_ms, age_ms = self.clock.now_ms(), self.spec.max_age_ms
        return [
            one
            for one in self.everything
            if one.sequence not in self.gone and (age_ms == 0 or now_ms - one.stored_ms < age_ms)
        ]

    @rule(
        subject=SUBJECTS,
        data=st.sampled_from([0, 70, 70, 140, 301]).map(lambda size: b"x" * size),
        message_id=st.sampled_from(["", "m1", "m2"]),
        expected=st.sampled_from([None, None, None, -1, 0, 3]),
    )
    def publish(self, subject: str, data: bytes, message_id: str, expected: int | None) -> None:
        own = [one.sequence for one in self.kept if one.subject == subject]
        last = own[-1] if own else 0
        expected = last if expected == -1 else expected  # so that it is often right
        try:
            ack = asyncio.run(self.transport.publish(subject, data, message_id=message_id, expected_sequence=expected))
            outcome: object = (ack.sequence, ack.duplicate)
        except (Conflict, StoreFull, Refused) as error:
            outcome = type(error)
        assert outcome == self.expect(subject, data, message_id, expected, own)

    def expect(self, subject: str, data: bytes, message_id: str, expected: int | None, own: list[int]) -> object:
        headers = {MESSAGE_ID: message_id} if message_id else {}
        if expected is not None:
            headers[EXPECTED_SEQUENCE] = str(expected)
        size = size_of(subject, data, headers)
        if size - size_of(subject, b"", {}) > 300:
            return Refused
        if expected is not None and expected != (own[-1] if own else 0):
            return Conflict
        if message_id in self.ids and self.clock.now_ms() - self.ids[message_id][1] < 500:
            return (self.ids[message_id][0], True)
        replaced = own[:1] if 0 < self.spec.max_per_subject <= len(own) else []
        left = [one for one in self.kept if one.sequence not in replaced]
        limit = self.spec.max_bytes or 1 << 60
        if self.spec.discard == "new" and sum(one.size for one in left) + size > limit:
            return StoreFull
        while left and sum(one.size for one in left) + size > limit:
            self.gone.add(left.pop(0).sequence)
        self.gone.update(replaced)
        sequence = len(self.everything) + 1
        self.everything.append(Kept(sequence, subject, data, self.clock.now_ms(), size))
        if message_id:
            self.ids[message_id] = (sequence, self.clock.now_ms())
        return (sequence, False)

    @rule(ms=st.sampled_from([1, 499, 500, 1000]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @precondition(lambda self: self.everything)
    @rule(filters=FILTERS, start=st.integers(0, 40), since=st.one_of(st.none(), st.integers(0, 40)))
    def read(self, filters: list[str], start: int, since: int | None) -> None:
        """since: the time of the message that was stored so-and-so-manieth."""
        since_ms = None if since is None else self.everything[since % len(self.everything)].stored_ms

        async def collect() -> list[int]:
            messages = self.transport.read("S", filters, from_sequence=start, from_ms=since_ms)
            return [message.sequence async for message in messages]

        assert asyncio.run(collect()) == [
            one.sequence
            for one in self.kept
            if any(matches(wanted, one.subject) for wanted in filters)
            and (one.sequence >= start if since_ms is None else one.stored_ms >= since_ms)
        ]

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "transport"):
            return
        stream = self.transport.broker.stream("S")
        kept = self.kept
        assert len(stream) == len(kept)
        assert stream.bytes == sum(one.size for one in kept)
        for subject in ("s.a", "s.b", "s.a.x"):
            own = [one for one in kept if one.subject == subject]
            last = stream.last(subject)
            held = (last.sequence, last.data) if last is not None else None
            assert held == ((own[-1].sequence, own[-1].data) if own else None)
        for one in self.everything:
            found = stream.get(one.sequence)
            assert (found is not None) == (one in kept)


TestStreamAgainstModel = StreamAgainstModel.TestCase
TestStreamAgainstModel.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)


def store(stream: MemoryStream, now_ms: int, size: int = 0, message_id: str = "") -> int:
    return stream.store("s.a", b"x" * size, {MESSAGE_ID: message_id} if message_id else {}, now_ms).sequence


def test_a_message_id_is_remembered_for_exactly_the_window() -> None:
    stream = MemoryStream(StreamSpec(name="S", subjects=("s.>",), max_bytes=0, dedupe_ms=500))
    assert [store(stream, now_ms, message_id="m") for now_ms in (0, 499, 500, 999, 1000)] == [1, 1, 2, 2, 3]


def test_what_a_message_replaces_makes_room_for_it() -> None:
    full = size_of("s.a", b"x" * 100, {})
    stream = MemoryStream(StreamSpec(name="S", subjects=("s.>",), max_bytes=full, max_per_subject=1))
    assert [store(stream, 0, size=size) for size in (100, 100, 50, 100)] == [1, 2, 3, 4]
    with pytest.raises(StoreFull):
        store(stream, 0, size=101)
    assert (stream.bytes, stream.last_sequence_of("s.a")) == (full, 4)
