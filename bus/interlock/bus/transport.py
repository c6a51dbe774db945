"""The contract between Interlock and whatever carries its messages. JetStream in earnest, memory in tests; one suite
(`tests/bus/conformance`) holds both to what is written here.

Guarantees of every transport
- `publish` returns only after the message is stored and numbered; messages of a stream are totally ordered.
- A message id seen within the stream's window is stored once: the second publish answers `duplicate` with the first's
  sequence.
- A repeat that also names an expected sequence may answer Conflict instead of `duplicate`: read back and compare.
- `expected_sequence` n stores only if the last message on that subject has sequence n (0: none), else Conflict.
- A consumer delivers each message at least once until it is acknowledged, terminated, or its deliveries are used up;
  after `ack_wait_ms` without an answer or a sign of progress it is delivered again, with `delivered` one higher.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from interlock.bus.clock import Clock
from interlock.bus.streams import ConsumerSpec, Declarations

if TYPE_CHECKING:
    import asyncio

MESSAGE_ID = "Nats-Msg-Id"
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
NO_HEADERS: Mapping[str, str] = {}


class Message(Struct, frozen=True):
    """A message as stored. sequence: in its stream, 0 for plain messages; stored_ms: the broker's time; reply: where
    an answer may be published, for plain messages; delivered: how many times this consumer has been given it.
    """

    subject: str
    data: bytes
    headers: Mapping[str, str] = NO_HEADERS
    sequence: int = 0
    stored_ms: int = 0
    reply: str = ""
    delivered: int = 1


class PubAck(Struct, frozen=True):
    """Stored under `sequence`; duplicate: it had been stored before, and this publish changed nothing."""

    stream: str
    sequence: int
    duplicate: bool = False


class Pace(Struct, frozen=True):
    """How soon a follower of a stream asks for what it was told of. One question costs the broker as much as several
    messages, so that what comes within gather_ms of the last one waits for the next; what comes later is asked for at once.
    hurry: set by who cannot wait, and cleared when it is asked.
    """

    gather_ms: int = 20
    hurry: asyncio.Event | None = None


PACE = Pace()


class Incoming(Protocol):
    """A message from a consumer, to be answered exactly once. Answers are sent, not awaited by the broker: a lost one
    means a redelivery.
    """

    @property
    def message(self) -> Message: ...

    async def ack(self) -> None:
        """Done; never deliver again."""

    async def ack_confirmed(self) -> None:
        """Done, and the broker has said that it knows: it will not deliver it again. Raises Unavailable."""

    async def retry(self, delay_ms: int) -> None:
        """Deliver again after the delay."""

    async def terminate(self, reason: str) -> None:
        """Never deliver again, for this reason."""

    async def progress(self) -> None:
        """Still working: the time to acknowledge starts anew."""


OnIncoming = Callable[[Incoming], Awaitable[None]]
OnMessage = Callable[[Message], Awaitable[None]]


class ObjectInfo(Struct, frozen=True):
    name: str
    size: int


class Transport(Protocol):
    """See the module's docstring for what each method guarantees. Errors are those of `interlock.bus.errors`."""

    @property
    def clock(self) -> Clock: ...

    @property
    def lag_ms(self) -> int:
        """How far a read may be behind what was acknowledged: 0 but for a cluster, whose replicas answer reads."""

    async def declare(self, declarations: Declarations, *, bind_only: bool = False) -> None:
        """Creates or updates streams, consumers and buckets; bind_only: only checks that they are there (NotFound)."""

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        expected_sequence: int | None = None,
    ) -> PubAck: ...

    async def send(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS, reply: str = ""
    ) -> None:
        """A plain message, to whoever listens now; not stored unless a stream takes the subject."""

    async def request(
        self, subject: str, data: bytes, *, timeout_ms: int, headers: Mapping[str, str] = NO_HEADERS
    ) -> Message:
        """A plain message and the first answer. Raises NobodyListens, or Unavailable when nobody answers in time."""

    def subscribe(self, subject: str, on_message: OnMessage, *, group: str = "") -> AbstractAsyncContextManager[None]:
        """Plain messages on subject (`*` and `>` allowed) while the context lasts; one of a group gets each."""

    def consume(
        self, consumer: ConsumerSpec, on_incoming: OnIncoming, *, concurrency: int
    ) -> AbstractAsyncContextManager[None]:
        """Delivers the consumer's messages to on_incoming while the context lasts, at most `concurrency` at a time.
        on_incoming must not raise; leaving the context cancels handlers that still run.
        """

    async def last(self, stream: str, subject: str) -> Message | None:
        """The last message on exactly this subject."""

    async def get(self, stream: str, sequence: int) -> Message | None:
        """The message at this place, None if there is none (any more)."""

    async def count(self, stream: str, subject: str) -> int:
        """How many messages the stream holds on a subject (wildcards allowed)."""

    async def after(self, stream: str, subject: str, sequence: int) -> Message | None:
        """The first message from this sequence on whose subject the filter takes (wildcards allowed). The stream's
        leader answers: whatever was stored before the call is seen.
        """

    async def purge(self, stream: str, subject: str, before: int) -> int:
        """Removes the messages on a subject (wildcards allowed) below a sequence, and answers how many. Raises Refused
        where the stream denies it.
        """

    def read(
        self,
        stream: str,
        subjects: Sequence[str],
        *,
        from_sequence: int = 1,
        from_ms: int | None = None,
        follow: bool = False,
        pace: Pace = PACE,
    ) -> AsyncGenerator[Message, None]:
        """Messages in order, filtered by subjects (wildcards allowed), from a sequence or a time. Without follow it
        ends with the last message stored when the call was made; with it, it waits for more, at its pace or sooner. Close
        it (aclose) when leaving early.
        """

    async def put_object(self, bucket: str, name: str, data: bytes) -> None:
        """Stores an object; the same name with the same content may be stored twice."""

    async def get_object(self, bucket: str, name: str) -> bytes:
        """Its content. Raises NotFound."""

    async def list_objects(self, bucket: str) -> list[ObjectInfo]: ...
