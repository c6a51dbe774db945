"""Reading streams of JetStream by direct gets alone (NATS ADR-31): one, the last on a subject, or batches in order.

No consumer is made for it. Who may make consumers may have the broker deliver whatever a stream holds to any subject it
likes, so that right is nobody's but the control plane's (docs/security.md).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import msgspec
import nats.errors
from msgspec import Struct

from interlock.bus.errors import NoMessage, NoStream, Refused, Unavailable
from interlock.bus.jetstream.broker_errors import ApiError
from interlock.bus.jetstream.connection import Connection
from interlock.bus.jetstream.hop_client import NO_RESPONDERS
from interlock.bus.jetstream.wake import Ears
from interlock.bus.streams import kv_stream
from interlock.bus.transport import Message, Pace
from interlock.envelope.amounts import time_ms, timestamp

if TYPE_CHECKING:
    from nats.aio.msg import Msg

# What a direct get adds to the headers of the stored message.
_DIRECT_GET_HEADERS = frozenset(
    ("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence")
)
_SEQUENCE = "Nats-Sequence"  # every stored message comes with it; a status of the broker has none, a message may
_BATCH = 512
_BATCH_BYTES = 8 << 20
_LOST_PAUSE_S = 0.25
# A follower looks by itself so often, should a wake-up have been lost with the connection.
FOLLOW_POLL_S = 2.0
# So many at once, and more will come anyway: it looks by itself, without listening, until there is nothing.
_MANY = 8
# Once when it has begun to listen: what was said just before may be stored just now.
_SOON_S = 0.05
# What follows a message closely is asked for with it.
_LINGER_S = 0.004
# A plain message is heard before it is stored: how long between two looks for what it announced.
_NOT_YET_STORED_S = (0.001, 0.002, 0.004, 0.008, 0.016, 0.05)


class _Lost(Exception):
    """The connection went away in the middle of a batch."""


class _Found(Struct, frozen=True):
    subject: str = ""
    seq: int = 0
    time: str = ""
    data: str = ""
    hdrs: str = ""


class _Purged(Struct):
    purged: int = 0
    error: ApiError | None = None


class _MessageFound(Struct):
    message: _Found = _Found()
    error: ApiError | None = None


async def last(transport: Connection, stream: str, subject: str) -> Message | None:
    message = await _direct_get(transport, f"$JS.API.DIRECT.GET.{stream}.{subject}", b"")
    # The broker reads a wildcard in a subject that came from data as one, and answers with another's message.
    return message if message is not None and message.subject == subject else None


async def get(transport: Connection, stream: str, sequence: int) -> Message | None:
    return await _direct_get(transport, f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode({"seq": sequence}))


async def count(transport: Connection, stream: str, subject: str) -> int:
    """By a batch of one: the broker tells with it how many of its kind are still to come (NATS ADR-31)."""
    asked = msgspec.json.encode({"seq": 1, "batch": 1, "next_by_subj": subject})
    first = await _direct_answer(transport, f"$JS.API.DIRECT.GET.{stream}", asked)
    return 0 if first is None else 1 + int((first.headers or {})["Nats-Num-Pending"])


async def after(transport: Connection, stream: str, subject: str, sequence: int) -> Message | None:
    """By the API that only the leader answers: a replica that is behind would answer a direct get as well."""
    wanted = {"seq": max(sequence, 1), "next_by_subj": subject}
    try:
        found = (await transport.api(f"STREAM.MSG.GET.{stream}", wanted, _MessageFound)).message
    except NoMessage:
        return None
    head = base64.b64decode(found.hdrs).decode("utf-8", "surrogateescape").split("\r\n")[1:]
    headers = {name: value.strip() for name, colon, value in (line.partition(":") for line in head) if colon}
    return Message(found.subject, base64.b64decode(found.data), headers, found.seq, stamp_ms(found.time))


async def purge(transport: Connection, stream: str, subject: str, before: int) -> int:
    if before <= 1:  # the broker takes these for no bound at all
        return 0
    return (await transport.api(f"STREAM.PURGE.{stream}", {"filter": subject, "seq": before}, _Purged)).purged


async def read(
    transport: Connection,
    stream: str,
    subjects: Sequence[str],
    from_sequence: int,
    from_ms: int | None,
    pace: Pace | None,
) -> AsyncGenerator[Message, None]:
    """pace: of a follower. May raise NoStream and Unavailable at once; later, when it does not follow, Unavailable."""
    reader = _Reader(transport, stream, subjects, from_sequence, from_ms)
    if pace is None:
        async with aclosing(reader.stored()) as messages:
            async for message in messages:
                yield message
        return
    await reader.ask()  # before anybody listens: a stream that is not there has no other listeners either
    now_s = asyncio.get_running_loop().time
    async with Ears(transport, tuple(subjects), only_last=stream.startswith(kv_stream(""))) as ears:
        wake, tries, patience_s = ears.wake, 0, FOLLOW_POLL_S
        while True:
            wake.event.clear()
            if pace.hurry is not None:
                pace.hurry.clear()
            asked_s, found = now_s(), 0
            try:
                async with aclosing(reader.stored()) as messages:
                    async for message in messages:
                        found, tries = found + 1, 0
                        wake.read(message)
                        yield message
                if not found and not wake.is_owed and not ears.are_open:
                    await ears.open()
                    patience_s = _SOON_S
                    continue
            except (Unavailable, NoStream) as error:
                # In a cluster nobody may answer for a stream while its leader is elected; elsewhere it is gone.
                if not reader.began or (isinstance(error, NoStream) and not transport.lag_ms):
                    raise
                await anyio.sleep(_LOST_PAUSE_S)
                continue
            if wake.is_owed:
                await anyio.sleep(_NOT_YET_STORED_S[min(tries, len(_NOT_YET_STORED_S) - 1)])
                tries += 1
                continue
            tries = 0
            if found >= _MANY:
                await ears.close()
            if ears.are_open:
                await _wait(wake.event, patience_s)
                patience_s = FOLLOW_POLL_S
            await _gather(pace, max(_LINGER_S, asked_s + pace.gather_ms / 1000 - now_s()))


async def _wait(event: asyncio.Event, patience_s: float) -> None:
    """Until something was heard, or the time to look has come."""
    try:
        async with asyncio.timeout(patience_s):
            await event.wait()
    except TimeoutError:
        return


async def _gather(pace: Pace, pause_s: float) -> None:
    """For so long, or until somebody cannot wait."""
    if pace.hurry is None:
        await anyio.sleep(pause_s)
        return
    try:
        async with asyncio.timeout(pause_s):
            await pace.hurry.wait()
    except TimeoutError:
        return


class _Reader:
    """A place in a stream: what is stored behind it, in order, by batches. began: it has been answered once."""

    def __init__(
        self,
        transport: Connection,
        stream: str,
        subjects: Sequence[str],
        from_sequence: int,
        from_ms: int | None,
    ) -> None:
        self._transport = transport
        self._stream = stream
        self._subjects = tuple(subjects)
        self._next = max(from_sequence, 1)
        self._from_ms = from_ms
        self.began = False

    async def stored(self) -> AsyncGenerator[Message, None]:
        """What is stored now, and no more: what comes later is not part of it."""
        if len(self._subjects) == 1:
            async with aclosing(self._of(self._subjects[0])) as messages:
                async for message in messages:
                    self._next, self._from_ms = message.sequence + 1, None
                    yield message
            return
        found: dict[int, Message] = {}
        for subject in self._subjects:
            async with aclosing(self._of(subject)) as messages:
                found |= {message.sequence: message async for message in messages}
        for sequence in sorted(found):
            self._next, self._from_ms = sequence + 1, None
            yield found[sequence]

    async def ask(self) -> None:
        """Whether the stream answers. Raises NoStream and Unavailable."""
        for subject in self._subjects:
            try:
                async with aclosing(self._batch(subject, self._next, self._from_ms, 1)) as answers:
                    async for _ in answers:
                        break
            except _Lost as error:
                raise Unavailable(f"the broker did not answer a read of {self._stream} in time") from error

    async def _of(self, subject: str) -> AsyncGenerator[Message, None]:
        position, from_ms = self._next, self._from_ms
        left = -1
        tries = 0
        while left:
            got = 0
            try:
                async with aclosing(self._batch(subject, position, from_ms, _BATCH)) as answers:
                    async for message, pending in answers:
                        left = pending + 1 if left < 0 else left
                        left -= 1
                        # What was counted may have been removed meanwhile: whichever ends first.
                        left = min(left, pending)
                        position, from_ms, got, tries = message.sequence + 1, None, got + 1, 0
                        yield message
                        if not left:
                            break
            except _Lost as error:
                tries += 1
                if not self.began or tries > 1:
                    raise Unavailable(f"the broker did not answer a read of {self._stream} in time") from error
                continue
            if not got:
                return

    async def _batch(
        self, subject: str, position: int, from_ms: int | None, count: int
    ) -> AsyncGenerator[tuple[Message, int], None]:
        """(message, how many match after it). Raises NoStream, Refused and _Lost."""
        request: dict[str, object] = {"batch": count, "max_bytes": _BATCH_BYTES, "next_by_subj": subject}
        request |= {"seq": position} if from_ms is None else {"start_time": timestamp(from_ms)}
        loop, timeout_s = asyncio.get_running_loop(), self._transport.settings.request_timeout_ms / 1000
        deadline = loop.time() + self._transport.lag_ms / 1000
        subject_asked, asked = f"$JS.API.DIRECT.GET.{self._stream}", msgspec.json.encode(request)
        with self._transport.answers() as (inbox, queue):
            await self._ask(subject_asked, asked, inbox)
            while True:
                raw = await _next_of(queue, timeout_s)
                if raw is None:
                    raise _Lost
                headers = raw.headers or {}
                status = headers.get("Status", "")
                if _SEQUENCE in headers:
                    self.began = True
                    yield _message(raw), int(headers.get("Nats-Num-Pending", "0"))
                elif status == NO_RESPONDERS and loop.time() < deadline:
                    await anyio.sleep(_LOST_PAUSE_S)
                    await self._ask(subject_asked, asked, inbox)
                else:
                    self._judge(status, raw)
                    return

    async def _ask(self, subject: str, request: bytes, inbox: str) -> None:
        try:
            await self._transport.client.publish(subject, request, inbox)
        except nats.errors.Error as error:
            raise _Lost from error

    def _judge(self, status: str, raw: Msg) -> None:
        """204: end of batch; 404: nothing (more) matches; 503: nobody has such a stream."""
        if status == NO_RESPONDERS:
            raise NoStream(f"no such stream: {self._stream}", "Run `interlock up` first")
        if status not in ("204", "404"):
            raise Refused(f"the broker refused a read: {status} {(raw.headers or {}).get('Description', '')}")
        self.began = True


async def _next_of(queue: asyncio.Queue[Msg | None], timeout_s: float) -> Msg | None:
    """A timer only for what is not there yet. None: the connection was lost, or nothing came."""
    if not queue.empty():
        return queue.get_nowait()
    try:
        async with asyncio.timeout(timeout_s):
            return await queue.get()
    except TimeoutError:
        return None


async def _direct_get(transport: Connection, subject: str, data: bytes) -> Message | None:
    answer = await _direct_answer(transport, subject, data)
    return None if answer is None else _message(answer)


async def _direct_answer(transport: Connection, subject: str, data: bytes) -> Msg | None:
    deadline = asyncio.get_running_loop().time() + transport.lag_ms / 1000
    while True:
        try:
            answer = await transport.client.request(subject, data, timeout=transport.settings.request_timeout_ms / 1000)
            break
        except nats.errors.NoRespondersError as error:
            if asyncio.get_running_loop().time() >= deadline:
                raise NoStream(f"no such stream: {subject.split('.')[4]}", "Run `interlock up` first") from error
            await anyio.sleep(_LOST_PAUSE_S)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("the broker did not answer a read in time") from error
    headers = answer.headers or {}
    if _SEQUENCE not in headers:
        status = headers.get("Status", "")
        if status == "404":
            return None
        raise Refused(f"the broker refused a read: {status} {headers.get('Description', '')}")
    return answer


def _message(raw: Msg) -> Message:
    headers = raw.headers or {}
    return Message(
        subject=headers["Nats-Subject"],
        data=raw.data,
        headers={name: value for name, value in headers.items() if name not in _DIRECT_GET_HEADERS},
        sequence=int(headers["Nats-Sequence"]),
        stored_ms=stamp_ms(headers["Nats-Time-Stamp"]),
    )


def stamp_ms(text: str) -> int:
    """The broker's time of a message, in ms."""
    # NATS writes RFC 3339 in UTC with as many digits of a second as are not zero, at most nine.
    return time_ms(f"{text[:19]}Z") + int(text[20:-1].ljust(3, "0")[:3])
