"""Object stores through nats-py: artefacts by digest, bundles by name; `nats object get` reads them."""

from __future__ import annotations

from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from interlock.bus.broker_errors import client_error
from interlock.bus.errors import NotFound
from interlock.bus.transport import ObjectInfo


async def put_object(client: Client, bucket: str, name: str, data: bytes, timeout_s: float) -> None:
    store = await _store(client, bucket, timeout_s)
    try:
        await store.put(name, data)
    except (nats.errors.Error, TimeoutError) as error:
        raise client_error(error, f"object {bucket}/{name}") from error


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
