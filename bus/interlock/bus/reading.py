"""Reading streams of JetStream: direct gets, and ordered reads that survive the loss of their consumer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import nats.errors
from msgspec import Struct

from interlock.bus.broker_errors import ApiError
from interlock.bus.errors import NotFound, Refused, Unavailable
from interlock.bus.pull import Pull, parse_delivery
from interlock.bus.streams import ConsumerSpec
from interlock.bus.transport import Message
from interlock.envelope.amounts import time_ms, timestamp

if TYPE_CHECKING:
    from interlock.bus.jetstream import JetStreamTransport

# What a direct get adds to the headers of the stored message (NATS ADR-31).
_DIRECT_GET_HEADERS = frozenset(("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending"))
_READ_BATCH = 512
_INACTIVE_NS = 60_000_000_000  # the broker removes a reader's consumer of which it heard nothing for so long
_LOST_PAUSE_S = 0.25


class _ConsumerCreated(Struct):
    name: str = ""
    num_pending: int = 0
    error: ApiError | None = None


async def last(transport: JetStreamTransport, stream: str, subject: str) -> Message | None:
    message = await _direct_get(transport, f"$JS.API.DIRECT.GET.{stream}.{subject}", b"")
    # The broker reads a wildcard in a subject that came from data as one, and answers with another's message.
    return message if message is not None and message.subject == subject else None


async def get(transport: JetStreamTransport, stream: str, sequence: int) -> Message | None:
    return await _direct_get(transport, f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode({"seq": sequence}))


async def read(
    transport: JetStreamTransport,
    stream: str,
    subjects: Sequence[str],
    from_sequence: int,
    from_ms: int | None,
    follow: bool,
) -> AsyncGenerator[Message, None]:
    """A consumer that is lost, with its server or its connection, is made again where the last message stood. The
    first may raise NotFound and Unavailable, a later one Unavailable unless it follows.
    """
    position, start_ms, attempt = from_sequence, from_ms, 0
    while True:
        try:
            async with (
                _reader(transport, stream, subjects, position, start_ms) as pull,
                aclosing(pull.messages(follow=follow)) as messages,
            ):
                attempt += 1
                async for raw in messages:
                    message = parse_delivery(raw)
                    position, start_ms = message.sequence + 1, None
                    yield message
            if pull.complete:
                return
        except Unavailable:
            if attempt == 0 or not follow:
                raise
        await anyio.sleep(_LOST_PAUSE_S)


@asynccontextmanager
async def _reader(
    transport: JetStreamTransport, stream: str, subjects: Sequence[str], from_sequence: int, from_ms: int | None
) -> AsyncIterator[Pull]:
    name = f"read-{transport.client._nuid.next().decode()}"
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _INACTIVE_NS,
        "filter_subjects": list(subjects),
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": max(from_sequence, 1),
    }
    if from_ms is not None:
        del config["opt_start_seq"]
        config |= {"deliver_policy": "by_start_time", "opt_start_time": timestamp(from_ms)}
    created = await transport.api(
        f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config}, _ConsumerCreated
    )
    spec = ConsumerSpec(stream=stream, name=name, subjects=tuple(subjects))
    try:
        async with transport.pulling(spec, _READ_BATCH) as pull:
            pull.pending = created.num_pending
            yield pull
    finally:
        with anyio.CancelScope(shield=True):
            try:
                await transport.client.publish(f"$JS.API.CONSUMER.DELETE.{stream}.{name}")
            except nats.errors.Error:
                pass  # the broker removes it in time


async def _direct_get(transport: JetStreamTransport, subject: str, data: bytes) -> Message | None:
    try:
        answer = await transport.client.request(subject, data, timeout=transport.settings.request_timeout_ms / 1000)
    except nats.errors.NoRespondersError as error:
        raise NotFound(f"no such stream: {subject.split('.')[4]}", "Run `interlock up` first") from error
    except (nats.errors.Error, TimeoutError) as error:
        raise Unavailable("the broker did not answer a read in time") from error
    headers = answer.headers or {}
    status = headers.get("Status")
    if status == "404":
        return None
    if status is not None:
        raise Refused(f"the broker refused a read: {status} {headers.get('Description', '')}")
    return Message(
        subject=headers["Nats-Subject"],
        data=answer.data,
        headers={name: value for name, value in headers.items() if name not in _DIRECT_GET_HEADERS},
        sequence=int(headers["Nats-Sequence"]),
        stored_ms=_stamp_ms(headers["Nats-Time-Stamp"]),
    )


def _stamp_ms(text: str) -> int:
    # NATS writes nanoseconds; the part beyond microseconds is cut for fromisoformat.
    head, _, fraction = text.rstrip("Z").partition(".")
    return time_ms(f"{head}.{fraction[:6].ljust(6, '0')}+00:00")
