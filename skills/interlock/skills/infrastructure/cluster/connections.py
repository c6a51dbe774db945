"""Connections that are gone when their session is, whatever the peer does."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp


class Connector(aiohttp.TCPConnector):
    """aiohttp's, and at its end every connection that it made is cut.

    An answer that is not read whole closes its connection, aiohttp forgets it then, and asyncio keeps it until the peer
    says farewell in TLS too, 30 s at most (`ssl_shutdown_timeout` of loop.create_connection). A loop that ends meanwhile
    leaks the socket.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._alive: dict[asyncio.Future[None], Any] = {}

    async def connect(self, *arguments: Any, **named: Any) -> Any:
        connection = await super().connect(*arguments, **named)
        protocol = connection.protocol
        if protocol is not None and protocol.closed is not None and protocol.closed not in self._alive:
            self._alive[protocol.closed] = connection.transport
            protocol.closed.add_done_callback(self._forget)
        return connection

    async def close(self, *, abort_ssl: bool = True) -> None:
        await super().close(abort_ssl=abort_ssl)
        for transport in self._alive.values():
            transport.abort()
        if self._alive:
            await asyncio.wait(self._alive)

    def _forget(self, closed: asyncio.Future[None]) -> None:
        self._alive.pop(closed, None)
        if not closed.cancelled():
            closed.exception()  # how it ended was told to who read from it
