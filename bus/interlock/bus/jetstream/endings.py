"""Ending what nats-py has begun, whatever state its connection is in."""

from __future__ import annotations

from typing import Any

import anyio
import nats.errors
from nats.aio.client import Client


async def unsubscribe(subscription: Any) -> None:
    with anyio.CancelScope(shield=True):
        try:
            await subscription.unsubscribe()
        except nats.errors.Error:
            return  # the connection is gone, and the subscription with it


async def close(client: Client) -> None:
    with anyio.move_on_after(2, shield=True):
        if client.is_connected:
            try:
                await client.flush(timeout=1)
            except (nats.errors.Error, TimeoutError, OSError):
                pass  # the server has gone
        # nats-py would write the rest to a dead socket, fail, and stop half way through closing.
        client._pending, client._pending_data_size = [], 0
        await client.close()
