"""Object stores in NATS's layout (ADR-20): artefacts by digest, bundles by name; `nats object get` reads them. Read by
direct gets alone, since nats-py's own reading makes consumers.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from interlock.bus.catching_up import caught_up
from interlock.bus.errors import Conflict, NotFound
from interlock.bus.transport import ObjectInfo

if TYPE_CHECKING:
    from interlock.bus.transport import Transport


CHUNK_BYTES = 128 * 1024


class ObjectMeta(Struct):
    """An object's metadata as NATS keeps it (ADR-20)."""

    name: str
    bucket: str
    nuid: str
    size: int = 0
    chunks: int = 0
    digest: str = ""
    deleted: bool = False
    options: dict[str, int] = field(default_factory=lambda: {"max_chunk_size": CHUNK_BYTES})


async def put_object(transport: Transport, bucket: str, name: str, data: bytes, nuid: str) -> None:
    """Chunks first, then the metadata that makes them an object; nothing at all if the same content is there. nats-py's
    own `put` asks the broker six times for what takes two messages.
    """
    digest, meta_subject = _digest(data), _meta_subject(bucket, name)
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    if len(chunks) == 1:
        # Most are new and small: the place says whether this one is, and nobody need ask first.
        nuid = hashlib.sha256(f"{name}\n{digest}".encode()).hexdigest()[:22]
        try:
            await transport.publish(f"$O.{bucket}.C.{nuid}", data, expected_sequence=0)
        except Conflict:
            if await _digest_of(transport, bucket, meta_subject) == digest:
                return
    else:
        if await _digest_of(transport, bucket, meta_subject) == digest:
            return
        subject = f"$O.{bucket}.C.{nuid}"
        for first in range(0, len(chunks), 16):
            await asyncio.gather(*(transport.publish(subject, part) for part in chunks[first : first + 16]))
    meta = ObjectMeta(name=name, bucket=bucket, nuid=nuid, size=len(data), chunks=len(chunks), digest=digest)
    await transport.publish(meta_subject, msgspec.json.encode(meta))


async def _digest_of(transport: Transport, bucket: str, meta_subject: str) -> str:
    """Of the object that is there, empty if there is none."""
    known = await transport.last(f"OBJ_{bucket}", meta_subject)
    found = _Known() if known is None else msgspec.json.decode(known.data, type=_Known)
    return "" if found.deleted else found.digest


class _Known(Struct):
    digest: str = ""
    deleted: bool = False


async def get_object(transport: Transport, bucket: str, name: str) -> bytes:
    """Its content, whose digest is that of its metadata. Raises NotFound."""
    found = await caught_up(transport, lambda: _look(transport, bucket, name), lambda found: not isinstance(found, str))
    if isinstance(found, str):
        raise NotFound(found)
    return found


async def _look(transport: Transport, bucket: str, name: str) -> bytes | str:
    """The content, or why there is none."""
    stored = await transport.last(f"OBJ_{bucket}", _meta_subject(bucket, name))
    meta = None if stored is None else msgspec.json.decode(stored.data, type=ObjectMeta)
    if meta is None or meta.deleted:
        return f"no object {name} in {bucket}"
    async with aclosing(transport.read(f"OBJ_{bucket}", [f"$O.{bucket}.C.{meta.nuid}"])) as chunks:
        data = b"".join([chunk.data async for chunk in chunks])
    same = _digest(data) == meta.digest
    return data if same else f"object {name} in {bucket} is damaged: its bytes are not those of its digest"


async def list_objects(transport: Transport, bucket: str) -> list[ObjectInfo]:
    """All that are there, each once. Raises NotFound."""
    found: dict[str, ObjectMeta] = {}
    async with aclosing(transport.read(f"OBJ_{bucket}", [f"$O.{bucket}.M.>"])) as messages:
        async for message in messages:
            meta = msgspec.json.decode(message.data, type=ObjectMeta)
            found[meta.name] = meta
    return [ObjectInfo(meta.name, meta.size) for meta in found.values() if not meta.deleted]


async def purge_objects(transport: Transport, bucket: str, prefix: str, before_ms: int, *, reader: Transport) -> int:
    """Removes objects whose name begins so and that were stored before a time; answers how many. Content first: what is
    interrupted is done again. reader: a connection that may read the bucket; who may purge need not.
    """
    stream, old = f"OBJ_{bucket}", list[tuple[str, int, ObjectMeta]]()
    async with aclosing(reader.read(stream, [f"$O.{bucket}.M.>"])) as messages:
        async for message in messages:
            meta = msgspec.json.decode(message.data, type=ObjectMeta)
            if meta.name.startswith(prefix) and message.stored_ms < before_ms and not meta.deleted:
                old.append((message.subject, message.sequence, meta))
    for subject, sequence, meta in old:
        await transport.purge(stream, f"$O.{bucket}.C.{meta.nuid}", sequence)
        await transport.purge(stream, subject, sequence + 1)
    return len(old)


def _meta_subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def _digest(data: bytes) -> str:
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
