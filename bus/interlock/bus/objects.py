"""Object stores through nats-py: artefacts by digest, bundles by name; `nats object get` reads them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import nats.errors
import nats.js.errors
from msgspec import Struct, field
from nats.aio.client import Client

from interlock.bus.broker_errors import client_error
from interlock.bus.errors import NotFound
from interlock.bus.transport import ObjectInfo

if TYPE_CHECKING:
    from interlock.bus.transport import Transport


CHUNK_BYTES = 128 * 1024


class ObjectMeta(Struct):
    """An object's metadata as NATS keeps it (ADR-20)."""

    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    digest: str
    options: dict[str, int] = field(default_factory=lambda: {"max_chunk_size": CHUNK_BYTES})


async def put_object(transport: Transport, bucket: str, name: str, data: bytes, nuid: str) -> None:
    """Chunks first, then the metadata that makes them an object; nothing at all if the same content is there. nats-py's
    own `put` asks the broker six times for what takes two messages.
    """
    digest = "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
    meta_subject = f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    known = await transport.last(f"OBJ_{bucket}", meta_subject)
    if known is not None and msgspec.json.decode(known.data, type=_Known).digest == digest:
        return
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    for first in range(0, len(chunks), 16):
        await asyncio.gather(*(transport.publish(f"$O.{bucket}.C.{nuid}", part) for part in chunks[first : first + 16]))
    meta = ObjectMeta(name=name, bucket=bucket, nuid=nuid, size=len(data), chunks=len(chunks), digest=digest)
    await transport.publish(meta_subject, msgspec.json.encode(meta), headers={"Nats-Rollup": "sub"})


class _Known(Struct):
    digest: str = ""


async def get_object(client: Client, bucket: str, name: str, timeout_s: float) -> bytes:
    """Raises NotFound."""
    store = await _store(client, bucket, timeout_s)
    try:
        result = await store.get(name)
    except nats.js.errors.NotFoundError as error:
        raise NotFound(f"no object {name} in {bucket}") from error
    except (nats.errors.Error, TimeoutError) as error:
        raise client_error(error, f"object {bucket}/{name}") from error
    return bytes(result.data or b"")


async def list_objects(client: Client, bucket: str, timeout_s: float) -> list[ObjectInfo]:
    store = await _store(client, bucket, timeout_s)
    try:
        return [ObjectInfo(info.name, info.size or 0) for info in await store.list()]
    except nats.js.errors.NotFoundError:
        return []
    except (nats.errors.Error, TimeoutError) as error:
        raise client_error(error, f"objects of {bucket}") from error


async def _store(client: Client, bucket: str, timeout_s: float) -> Any:
    try:
        return await client.jetstream(timeout=timeout_s).object_store(bucket)
    except nats.js.errors.NotFoundError as error:
        raise NotFound(f"no object store {bucket}", "Run `interlock up` first") from error
    except (nats.errors.Error, TimeoutError) as error:
        raise client_error(error, f"object store {bucket}") from error
