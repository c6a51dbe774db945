"""Keys with revisions on any transport, in the layout of NATS key-value buckets (ADR-8): `nats kv` reads them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import Struct

from interlock.bus.streams import kv_stream, kv_subject
from interlock.bus.transport import Message, Transport

_OPERATION = "KV-Operation"


class Entry(Struct, frozen=True):
    """A value with its revision (stream sequence)."""

    key: str
    value: bytes
    revision: int
    stored_ms: int


async def kv_get(transport: Transport, bucket: str, key: str) -> Entry | None:
    """The current value, None if there is none or it was deleted."""
    message = await transport.last(kv_stream(bucket), kv_subject(bucket, key))
    return None if message is None else _entry(bucket, message)


async def kv_put(transport: Transport, bucket: str, key: str, value: bytes, *, revision: int | None = None) -> int:
    """Writes; with revision only if that is still the last one (0: no value yet), else Conflict. The new revision."""
    ack = await transport.publish(kv_subject(bucket, key), value, expected_sequence=revision)
    return ack.sequence


async def kv_entries(
    transport: Transport, bucket: str, prefix: str = "", *, follow: bool = False
) -> AsyncGenerator[Entry, None]:
    """The values under a prefix (`""` or `a.b`), oldest first; with follow it goes on with every change."""
    filter_key = f"{prefix}.>" if prefix else ">"
    messages = transport.read(kv_stream(bucket), [kv_subject(bucket, filter_key)], follow=follow)
    async with aclosing(messages):
        async for message in messages:
            entry = _entry(bucket, message)
            if entry is not None:
                yield entry


def _entry(bucket: str, message: Message) -> Entry | None:
    if message.headers.get(_OPERATION) in ("DEL", "PURGE"):
        return None
    key = message.subject.removeprefix(kv_subject(bucket, ""))
    return Entry(key, message.data, message.sequence, message.stored_ms)
