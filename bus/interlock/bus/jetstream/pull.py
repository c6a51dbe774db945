"""One long pull: a standing request for as many messages as there are idle workers (NATS ADR-37).

Answers and requests of one turn of the event loop travel together, so that under load a hop costs no round trip of its
own. No message is fetched ahead of a worker: its time to be acknowledged would run out in the queue behind a long
handler, using up its deliveries, while another instance of the role has nothing to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import msgspec
import nats.errors

from interlock.bus.errors import Unavailable
from interlock.bus.jetstream.work_queue import WorkQueue
from interlock.bus.transport import NO_HEADERS, Message, OnIncoming

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from interlock.bus.jetstream.hop_client import HopClient
    from interlock.bus.streams import ConsumerSpec

EXPIRES_S = 30
HEARTBEAT_S = 5
REFUSED_PAUSE_S = 0.25
GATHER_S = 0.002
CONFIRM_S = 2.0
_ENDED = ("404", "408")  # the request is answered or has run its time; any other status says that it was not taken


class Delivery:
    """A message of a consumer with its answers (the Incoming of the transport contract)."""

    __slots__ = ("_client", "_reply", "message")

    def __init__(self, client: Client, raw: Msg) -> None:
        self._client = client
        self._reply = raw.reply
        self.message = parse_delivery(raw)

    async def ack(self) -> None:
        await self._answer(b"+ACK")

    async def ack_confirmed(self) -> None:
        try:
            await self._client.request(self._reply, b"+ACK", timeout=CONFIRM_S)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("the broker did not confirm an acknowledgement in time") from error

    async def retry(self, delay_ms: int) -> None:
        await self._answer(b'-NAK {"delay": %d}' % (delay_ms * 1_000_000) if delay_ms else b"-NAK")

    async def terminate(self, reason: str) -> None:
        await self._answer(b"+TERM " + reason.encode())

    async def progress(self) -> None:
        await self._answer(b"+WPI")

    async def _answer(self, word: bytes) -> None:
        try:
            await self._client.publish(self._reply, word)
        except nats.errors.Error:
            return  # no broker to hear it: the message will be delivered again


class Pull:
    """Asks one consumer for messages on a private inbox."""

    def __init__(self, client: HopClient, consumer: ConsumerSpec, inbox: str, *, batch: int) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.name}"
        self._inbox = inbox
        self._batch = batch
        self._asked = 0
        self._running = 0
        self._refused = False
        self._heard = 0.0
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._queue: WorkQueue[Msg | None] = WorkQueue()

    def forget(self) -> None:
        """The connection was lost and is back: what was asked for or under way on the old one will not come."""
        self._asked = 0
        self._refused = True
        self._queue.put(None)
        self._wake.set()

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        self._heard = self._loop.time()
        subscription = await self._client.subscribe_raw(self._inbox, self._on_message)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await subscription.unsubscribe()
                except nats.errors.Error:
                    pass  # the connection is gone, and the subscription with it

    async def work(self, on_incoming: OnIncoming) -> None:
        """One worker: takes messages for ever."""
        while True:
            raw = await self._queue.get()
            if raw is not None:
                self._running += 1
                try:
                    await on_incoming(Delivery(self._client, raw))
                finally:
                    self._running -= 1
            self._wake.set()

    async def keep_asking(self) -> None:
        """Asks for idle workers, never for more than there are; after two missed heartbeats asks anew, for the broker may
        have forgotten us.
        """
        loop = self._loop
        while True:
            if self._refused:  # no such consumer, no leader, too many requests: it may pass
                await anyio.sleep(REFUSED_PAUSE_S)
                self._refused = False
            if loop.time() - self._heard > 2 * HEARTBEAT_S:
                self._asked = 0
            if self._is_low and not self._asked and 0 < self._idle < self._batch // 2:
                await anyio.sleep(GATHER_S)  # while there is much to do, one request for some workers
            if self._is_low and self._idle > 0:
                await self._ask(self._idle)
            self._wake.clear()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    @property
    def _idle(self) -> int:
        """Workers that nothing is asked for."""
        return self._batch - self._asked - self._running - len(self._queue)

    @property
    def _is_low(self) -> bool:
        """Whether less is asked for than half of what may be: a request for each message would cost as much as the message."""
        return 2 * self._asked < self._batch

    async def _ask(self, count: int) -> None:
        if self._asked == 0:
            self._heard = self._loop.time()  # without a request there are no heartbeats
        request = {"batch": count, "expires": int(EXPIRES_S * 1e9), "idle_heartbeat": int(HEARTBEAT_S * 1e9)}
        try:
            await self._client.publish(self._subject, msgspec.json.encode(request), self._inbox)
        except nats.errors.Error:
            return  # asked again after the next heartbeat
        self._asked += count

    def _on_message(self, raw: Msg) -> None:
        self._heard = self._loop.time()
        if raw.reply:  # a status has nobody to acknowledge it to
            self._asked -= 1
            self._queue.put(raw)
            if self._is_low:
                self._wake.set()
            return
        headers = raw.headers or {}
        status = headers.get("Status")
        if status != "100":
            left = int(headers.get("Nats-Pending-Messages") or 0)
            self._asked = max(0, self._asked - left) if left else 0
            self._refused = status not in _ENDED
            self._queue.put(None)
            self._wake.set()


def parse_delivery(raw: Msg) -> Message:
    """The stored message inside a delivery; sequence, time and count come from its reply subject (NATS ADR-15)."""
    tokens = raw.reply.split(".")
    delivered, sequence, _, stamp = tokens[-5:-1] if len(tokens) == 9 else tokens[6:10]
    return Message(
        subject=raw.subject,
        data=raw.data,
        headers=raw.headers or NO_HEADERS,
        sequence=int(sequence),
        stored_ms=int(stamp) // 1_000_000,
        delivered=int(delivered),
    )
