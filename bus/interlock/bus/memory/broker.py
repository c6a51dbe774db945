"""The broker behind memory transports: streams by subject, durables, plain subscriptions, objects."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.bus.clock import Clock
from interlock.bus.errors import BusError, NobodyListens, NoStream, NotFound, Refused, Unavailable
from interlock.bus.memory.consumer import Exhausted, MemoryConsumer
from interlock.bus.memory.delivery import Durable, Subscription
from interlock.bus.memory.objects import MemoryObjects
from interlock.bus.memory.refusals import check_consumer, check_stream, check_subject
from interlock.bus.memory.schedules import Planned, planned
from interlock.bus.memory.stream import MemoryStream
from interlock.bus.streams import (
    BucketSpec,
    ConsumerSpec,
    Declarations,
    StreamSpec,
    kv_stream,
    kv_subject,
    taken,
    unheard,
)
from interlock.bus.subject_filter import any_of, matches, overlap
from interlock.bus.timers import Timers
from interlock.bus.transport import NO_HEADERS, Message, OnMessage, PubAck

MAX_PAYLOAD_BYTES = 1 << 20
ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"
_DEDUPE_MS = 120_000  # NATS's default, never beyond the age of what is kept
_SUBJECTS_REMEMBERED = 4096


class _Hosted(Struct):
    """A stream with those who wait for its messages."""

    core: MemoryStream
    durables: dict[str, Durable]
    readers: set[asyncio.Future[None]]


class MemoryBroker:
    """Shared by the transports of one test. Everything happens on one event loop; times come from `clock`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.timers = Timers(clock)
        self.objects = MemoryObjects()
        self._streams: dict[str, _Hosted] = {}
        self._by_subject: dict[str, _Hosted | None] = {}
        self._subscriptions: list[Subscription] = []
        self._inboxes: dict[str, asyncio.Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._activity = 0
        self._declared = asyncio.Event()  # of the next declaration

    @property
    def activity(self) -> int:
        """Grows whenever anything is stored, sent, delivered or answered."""
        durables = (durable.activity for hosted in self._streams.values() for durable in hosted.durables.values())
        return self._activity + sum(durables) + sum(one.activity for one in self._subscriptions)

    # Declaring

    def declare(self, declarations: Declarations) -> None:
        kv = [_kv_spec(spec) for spec in declarations.buckets if spec.kind == "kv"]
        for stream in (*declarations.streams, *kv):
            self._declare_stream(stream)
        for bucket in declarations.buckets:
            if bucket.kind == "objects":
                self.objects.declare(bucket)
        for consumer in declarations.consumers:
            self._declare_consumer(consumer)
        for stream in declarations.streams:
            if stream.heard_by:
                subjects = taken(stream, self._hosted(stream.name).durables)
                self._declare_stream(replace(stream, subjects=subjects))
        self._declared.set()
        self._declared = asyncio.Event()

    def check(self, declarations: Declarations) -> None:
        """Raises NotFound for what was not declared."""
        for stream in declarations.streams:
            self._hosted(stream.name)
        for bucket in declarations.buckets:
            if bucket.kind == "kv":
                self._hosted(kv_stream(bucket.name))
            else:
                self.objects.list(bucket.name)
        for consumer in declarations.consumers:
            self.durable(consumer)
        if wrong := unheard(
            declarations.consumers, {spec.name: self.stream(spec.name).spec.subjects for spec in declarations.streams}
        ):
            raise NotFound(wrong, "Run `interlock up` first")

    def stream(self, name: str) -> MemoryStream:
        """Raises NotFound."""
        core = self._hosted(name).core
        core.expire(self.clock.now_ms())
        return core

    def is_declared(self, spec: ConsumerSpec) -> bool:
        hosted = self._streams.get(spec.stream)
        return hosted is not None and spec.name in hosted.durables

    async def declared(self, spec: ConsumerSpec) -> Durable:
        """Waits until somebody declares it: roles may start before their streams are there."""
        while not self.is_declared(spec):
            await self._declared.wait()
        return self.durable(spec)

    def durable(self, spec: ConsumerSpec) -> Durable:
        """Raises NotFound."""
        durable = self._hosted(spec.stream).durables.get(spec.name)
        if durable is None:
            raise NotFound(f"no consumer {spec.name} on stream {spec.stream}", "Run `interlock up` first")
        return durable

    # Messages

    def publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> PubAck:
        """Stores; whoever listens to the subject hears it as well. Raises Unavailable when no stream takes it."""
        _check(subject, data)
        self._activity += 1
        if self._subscriptions:
            self._hand_out(Message(subject, data, headers))
        hosted = self._taker(subject)
        if hosted is None:
            raise Unavailable(f"no stream takes {subject}", "Run `interlock up` or `interlock doctor`")
        ack = self._store(hosted, subject, data, headers)
        if hosted.core.spec.no_ack:
            raise Unavailable(f"stream {hosted.core.spec.name} acknowledges nothing: send to it instead")
        return ack

    def send(self, subject: str, data: bytes, headers: Mapping[str, str], reply: str = "") -> bool:
        """Whether anybody, a listener or a stream, took it. A stream answers to reply, as JetStream does."""
        _check(subject, data)
        self._activity += 1
        waiting = self._inboxes.get(subject)
        if waiting is not None and not waiting.done():
            waiting.set_result(Message(subject, data, headers, reply=reply))
            return True
        heard = self._hand_out(Message(subject, data, headers, reply=reply))
        hosted = self._taker(subject)
        if hosted is None:
            return heard
        answer: Mapping[str, object]
        try:
            ack = self._store(hosted, subject, data, headers)
            answer = {"stream": ack.stream, "seq": ack.sequence} | ({"duplicate": True} if ack.duplicate else {})
        except BusError as error:  # told to who asked, as JetStream does; a plain sender never hears
            answer = {"error": {"code": 400, "description": str(error)}, "stream": hosted.core.spec.name, "seq": 0}
        if reply and not hosted.core.spec.no_ack:
            self.send(reply, msgspec.json.encode(answer), NO_HEADERS)
        return True

    async def request(self, subject: str, data: bytes, timeout_ms: int, headers: Mapping[str, str]) -> Message:
        """Raises Unavailable."""
        inbox = f"_INBOX.memory.{next(self._numbers)}"
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._inboxes[inbox] = answer
        try:
            if not self.send(subject, data, headers, inbox):
                raise NobodyListens(f"nobody listens on {subject}")
            late = Unavailable(f"no answer on {subject} within {timeout_ms} ms")
            self.timers.at(self.clock.now_ms() + timeout_ms, lambda: _fail(answer, late))
            return await answer
        finally:
            del self._inboxes[inbox]

    @asynccontextmanager
    async def subscribe(self, subject: str, on_message: OnMessage, group: str) -> AsyncIterator[None]:
        check_subject(subject)
        subscription = Subscription(subject, on_message, group)
        self._subscriptions.append(subscription)
        try:
            async with subscription.listening():
                yield
        finally:
            self._subscriptions.remove(subscription)
            self._activity += subscription.activity + 1

    async def read(
        self, name: str, subjects: Sequence[str], start: int, from_ms: int | None, end: int | None
    ) -> AsyncGenerator[Message, None]:
        """end: the last sequence to give, None to go on for ever. Raises NotFound."""
        stream = self.stream(name)
        position = start if from_ms is None else stream.first_since(from_ms)
        while True:
            last = stream.last_sequence if end is None else end
            for message in stream.scan(subjects, position, last):
                position = message.sequence + 1
                yield message
            if end is not None:
                return
            position = max(position, last + 1)
            if stream.last_sequence < position:
                await self._next_message(name)

    async def _next_message(self, stream: str) -> None:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        readers = self._hosted(stream).readers
        readers.add(stored)
        try:
            await stored
        finally:
            readers.discard(stored)

    def _store(self, hosted: _Hosted, subject: str, data: bytes, headers: Mapping[str, str]) -> PubAck:
        later = planned(hosted.core.spec, subject, headers) if headers else None
        ack = hosted.core.store(subject, data, headers, self.clock.now_ms())
        if not ack.duplicate:
            if later is not None:
                hosted.core.keep_only(subject, ack.sequence)
                self.timers.at(later.due_ms, lambda: self._fire(hosted, ack.sequence, later))
            for durable in hosted.durables.values():
                durable.wake()
            for reader in hosted.readers:
                if not reader.done():
                    reader.set_result(None)
        return ack

    def _fire(self, hosted: _Hosted, sequence: int, later: Planned) -> None:
        schedule = hosted.core.get(sequence)
        if schedule is None:
            return  # replaced or purged meanwhile
        hosted.core.keep_only(schedule.subject, 0)
        self._activity += 1
        try:
            self._store(hosted, later.target, schedule.data, later.headers)
        except BusError:
            return  # as nats-server: what cannot be stored then is lost

    def _hand_out(self, message: Message) -> bool:
        """To every subscription without a group, and to one of each group."""
        groups: dict[str, list[Subscription]] = {}
        heard = False
        for subscription in self._subscriptions:
            if not matches(subscription.subject, message.subject):
                continue
            heard = True
            if subscription.group:
                groups.setdefault(subscription.group, []).append(subscription)
            else:
                subscription.put(message)
        for members in groups.values():
            min(members, key=lambda one: one.activity).put(message)
        return heard

    def _taker(self, subject: str) -> _Hosted | None:
        if subject not in self._by_subject:
            if len(self._by_subject) >= _SUBJECTS_REMEMBERED:
                self._by_subject.clear()
            takers = (hosted for hosted in self._streams.values() if any_of(hosted.core.spec.subjects)(subject))
            self._by_subject[subject] = next(takers, None)
        return self._by_subject[subject]

    def _hosted(self, name: str) -> _Hosted:
        if name not in self._streams:
            raise NoStream(f"no such stream: {name}", "Run `interlock up` first")
        return self._streams[name]

    def _declare_stream(self, spec: StreamSpec) -> None:
        check_stream(spec)
        for name, other in self._streams.items():
            if name != spec.name and any(overlap(a, b) for a in spec.subjects for b in other.core.spec.subjects):
                raise Refused(f"stream {spec.name}: its subjects overlap with those of stream {name}")
        if spec.name in self._streams:
            self._streams[spec.name].core.spec = spec
        else:
            self._streams[spec.name] = _Hosted(MemoryStream(spec), {}, set())
        self._by_subject.clear()

    def _declare_consumer(self, spec: ConsumerSpec) -> None:
        check_consumer(spec)
        hosted = self._hosted(spec.stream)
        if spec.name in hosted.durables:
            hosted.durables[spec.name].configure(spec)
            return
        hosted.durables[spec.name] = Durable(
            MemoryConsumer(spec, hosted.core), self.clock, self.timers, lambda exhausted: self._advise(spec, exhausted)
        )

    def _advise(self, spec: ConsumerSpec, exhausted: Exhausted) -> None:
        advisory = {
            "type": "io.nats.jetstream.advisory.v1.max_deliver",
            "id": f"memory{next(self._numbers)}",
            "timestamp": datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC).isoformat().replace("+00:00", "Z"),
            "stream": spec.stream,
            "consumer": spec.name,
            "stream_seq": exhausted.sequence,
            "deliveries": exhausted.delivered,
        }
        self.send(f"{ADVISORY}.{spec.stream}.{spec.name}", msgspec.json.encode(advisory), NO_HEADERS)


def _kv_spec(spec: BucketSpec) -> StreamSpec:
    return StreamSpec(
        name=kv_stream(spec.name),
        subjects=(kv_subject(spec.name, ">"),),
        max_bytes=spec.max_bytes,
        max_age_ms=spec.max_age_ms,
        max_per_subject=spec.history,
        dedupe_ms=min(_DEDUPE_MS, spec.max_age_ms or _DEDUPE_MS),
    )


def _check(subject: str, data: bytes) -> None:
    check_subject(subject)
    if len(data) > MAX_PAYLOAD_BYTES:
        raise Refused(f"{subject}: larger than the broker's max_payload", "Put large content into an artefact")


def _fail(answer: asyncio.Future[Message], error: BusError) -> None:
    if not answer.done():
        answer.set_exception(error)
