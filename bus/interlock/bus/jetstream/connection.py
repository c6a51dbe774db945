"""What readers and provisioners need of a connection, and its timeouts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from interlock.bus.transport import OnMessage

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from interlock.bus.jetstream.hop_client import HopClient

T = TypeVar("T")


class JetStreamSettings(Struct, frozen=True, kw_only=True):
    """Timeouts in ms. no_stream_retry_ms: how long a publish waits for a stream leader to be elected (0: not at all);
    a cluster that lost a node needs up to 10 s (measured). ping_ms: how often a server is asked whether it is there; one
    that owes two answers is left for another, since a stopped server holds its connections open and says nothing.
    replica_lag_ms: how far the replica that answers a read may be behind its leader, or have no word of it yet.
    """

    connect_timeout_ms: int = 5_000
    publish_timeout_ms: int = 4_500
    request_timeout_ms: int = 5_000
    no_stream_retry_ms: int = 10_000
    reconnect_wait_ms: int = 250
    ping_ms: int = 1_500
    replica_lag_ms: int = 5_000


class Connection(Protocol):
    """A connection with nats-py's client, of which one may ask the JetStream API and read several answers to one question."""

    client: HopClient
    settings: JetStreamSettings
    followers: set[asyncio.Event]

    @property
    def lag_ms(self) -> int: ...

    def subscribe(self, subject: str, on_message: OnMessage) -> AbstractAsyncContextManager[None]: ...

    @contextmanager
    def answers(self) -> Iterator[tuple[str, asyncio.Queue[Msg | None]]]: ...

    async def api(self, verb: str, body: Any, answer_type: type[T]) -> T: ...
