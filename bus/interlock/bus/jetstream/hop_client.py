"""nats-py's client with a short way for what happens at every hop: a publish, a delivery, an acknowledgement, a question.

The wire, the checks and the errors are nats-py's own; what is left out is a queue, a task switch and a coroutine per
message, and the general header code: about 6 us of CPU of a hop. What it leans on inside nats-py is held by
tests/bus/jetstream/test_hop_client.py.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.aio.client import Client, _validate_subject
from nats.aio.msg import Msg

from interlock.bus.jetstream.headers import header_block, plain_headers, status_headers
from interlock.bus.jetstream.hop_parser import HopParser

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

OnRaw = Callable[[Msg], None]

NO_RESPONDERS = "503"
_MOST_BUFFERED = 1 << 16  # asyncio's own mark, above which a writer is to wait


class HopClient(Client):
    """A nats-py client; `subscribe_raw` besides."""

    def __init__(self) -> None:
        super().__init__()
        self._raw: dict[int, OnRaw] = {}
        self._headless: set[int] = set()
        self._ps = HopParser(self)
        self._questions = itertools.count(1)
        self._is_flush_due = False

    async def subscribe_raw(self, subject: str, on_raw: OnRaw, *, headers: bool = True) -> Subscription:
        """A subscription whose messages are handed over while they are read, in order. on_raw is called from the
        reader: it must not raise, and hands on what takes time. headers: whether it looks at them.
        """
        subscription = await self.subscribe(subject, cb=_unheard, pending_msgs_limit=0, pending_bytes_limit=0)
        self._raw[subscription._id] = on_raw
        if not headers:
            self._headless.add(subscription._id)
        return subscription

    async def _init_request_sub(self) -> None:
        prefix = f"{self._inbox_prefix.decode()}.{self._nuid.next().decode()}."
        self._resp_sub_prefix = bytearray(prefix.encode())
        await self.subscribe_raw(f"{prefix}*", self._on_answer)

    def _on_answer(self, message: Msg) -> None:
        future = self._resp_map.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(message)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As nats-py's, which names nats.js for one word (lean.py)."""
        if old_style:
            return await super().request(subject, payload, timeout, old_style, headers)
        if not self._skip_subject_validation:
            _validate_subject(subject)
        answer = await self._request_new_style(subject, payload, timeout=timeout, headers=headers)
        if answer.headers and answer.headers.get("Status") == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return answer

    async def _request_new_style(
        self, subject: str, payload: bytes, timeout: float = 1, headers: dict[str, Any] | None = None
    ) -> Msg:
        if self.is_draining_pubs:
            raise nats.errors.ConnectionDrainingError
        if not self._resp_sub_prefix:
            await self._init_request_sub()
        assert self._resp_sub_prefix is not None
        loop, token = asyncio.get_running_loop(), str(next(self._questions))
        future: asyncio.Future[Msg] = loop.create_future()
        self._resp_map[token] = future
        late = loop.call_later(timeout, _too_late, future)
        try:
            await self.publish(subject, payload, reply=f"{self._resp_sub_prefix.decode()}{token}", headers=headers)
            return await future
        finally:
            late.cancel()
            del self._resp_map[token]

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._raw.pop(sid, None)
        self._headless.discard(sid)
        super()._remove_sub(sid, max_msgs)

    async def _process_pong(self) -> None:
        """A flush that was cancelled leaves its future behind, over which nats-py would end its reading for good."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """What the parser did not hand over by itself."""
        on_raw = self._raw.get(sid)
        if on_raw is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        found = None
        if headers and sid not in self._headless:
            found = plain_headers(headers) or status_headers(headers) or await self._process_headers(headers)
        self._hand_over(on_raw, subject, reply, data, found)

    def _take(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> bool:
        """Hands a message over at once, if that can be done without waiting."""
        on_raw, found = self._raw.get(sid), None
        if on_raw is None:
            return False
        if headers and sid not in self._headless:
            found = plain_headers(headers) or status_headers(headers)
            if found is None:
                return False
        self._hand_over(on_raw, subject, reply, data, found)
        return True

    def _hand_over(
        self, on_raw: OnRaw, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> None:
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        on_raw(Msg(self, subject.decode(), reply.decode(), data, headers))

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, Any] | None = None
    ) -> None:
        size, block = len(payload), b"" if headers is None else header_block(headers)
        if (
            self._status != Client.CONNECTED
            or block is None
            or size > self._max_payload
            or self._pending_data_size + size > self._max_pending_size // 2
            or not _is_safe(subject)
            or (reply and not _is_safe(reply))
        ):
            await super().publish(subject, payload, reply, headers)
            return
        if block:
            sizes = f"{len(block)} {len(block) + size}"
            command = b"HPUB %b %b %b\r\n%b%b\r\n" % (subject.encode(), reply.encode(), sizes.encode(), block, payload)
        else:
            command = b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size, payload)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_together)

    def _flush_together(self) -> None:
        """What was published in one turn of the event loop goes out in one write. What may have to wait, for room in the
        buffer or for an error to be looked at, is left to nats-py's flusher.
        """
        self._is_flush_due = False
        if not self._pending or not self.is_connected:
            return  # what is pending without a connection goes out with the next
        transport: Any = self._transport
        try:
            if transport._io_writer.transport.get_write_buffer_size() < _MOST_BUFFERED:
                transport.writelines(self._pending)
                self._pending = []
                self._pending_data_size = 0
                return
        except (OSError, RuntimeError, AttributeError):
            pass
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())


def _is_safe(subject: str) -> bool:
    """What nats-py would take for a subject, without the letters that it would take and no broker would: one or more of
    those from `!` to `~`.
    """
    return subject.isascii() and subject.isprintable() and " " not in subject and subject != ""


def _too_late(future: asyncio.Future[Msg]) -> None:
    if not future.done():
        future.set_exception(nats.errors.TimeoutError())


async def _unheard(_: Msg) -> None:
    """Never called: the messages of a raw subscription do not pass nats-py's queue."""
