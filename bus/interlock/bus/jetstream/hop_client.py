"""nats-py's client with a short way for what happens at every hop: a publish, a delivery, an acknowledgement, a question.

The wire, the checks and the errors are nats-py's own; what is left out is a queue, a task switch and a coroutine per
message, and the general header code: about 6 us of CPU of a hop. What it leans on inside nats-py is held by
tests/bus/jetstream/test_hop_client.py.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.aio.client import Client, _validate_subject
from nats.aio.msg import Msg

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

OnRaw = Callable[[Msg], None]

NO_RESPONDERS = "503"
_HEAD = b"NATS/1.0\r\n"
_PLAIN_LINES = rb"(?:[!-9;-~]+: [!-~](?:[ -~]*[!-~])?\r\n)"
_PLAIN_LINE = re.compile(r"([^:]+): ([^\r]*)\r\n")
_PLAIN_BLOCK = re.compile(rb"NATS/1\.0\r\n%b+\r\n" % _PLAIN_LINES)
# What the broker says by itself: a number, some words, and perhaps headers of the plain form.
_STATUS_BLOCK = re.compile(rb"NATS/1\.0 (\d{3})(?: ([ -~]*))?\r\n(%b*)\r\n" % _PLAIN_LINES)
_SAFE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# A value that nats-py would neither trim nor clean: everything else goes its way.
_SAFE_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class HopClient(Client):
    """A nats-py client; `subscribe_raw` besides."""

    def __init__(self) -> None:
        super().__init__()
        self._raw: dict[int, OnRaw] = {}
        self._headless: set[int] = set()
        self._questions = itertools.count(1)

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
        on_raw = self._raw.get(sid)
        if on_raw is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        found = None
        if headers and sid not in self._headless:
            found = plain_headers(headers) or status_headers(headers) or await self._process_headers(headers)
        on_raw(Msg(self, subject.decode(), reply.decode(), data, found, _sid=sid))

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        block = b"" if headers is None else header_block(headers)
        if block is None or self._pending_data_size + payload_size > self._max_pending_size // 2:
            await super()._send_publish(subject, reply, payload, payload_size, headers)
            return
        if block:
            sizes = f"{len(block)} {len(block) + payload_size}"
            command = b"HPUB %b %b %b\r\n%b%b\r\n" % (subject.encode(), reply.encode(), sizes.encode(), block, payload)
        else:
            command = b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), payload_size, payload)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()


def plain_headers(block: bytes) -> dict[str, str] | None:
    """The headers of a block in the plain form that header_block writes; None for any other, a status line included."""
    if _PLAIN_BLOCK.fullmatch(block) is None:
        return None
    return dict(_PLAIN_LINE.findall(block[len(_HEAD) : -2].decode()))


def status_headers(block: bytes) -> dict[str, str] | None:
    """As nats-py puts a status into headers; None for what is no status, or not in that form."""
    found = _STATUS_BLOCK.fullmatch(block)
    if found is None:
        return None
    number, words, rest = found.groups()
    headers = {"Status": number.decode()}
    if words:
        headers["Description"] = words.decode()
    lines = rest[:-2].decode().split("\r\n") if rest else ()
    return headers | dict(line.split(": ", 1) for line in lines)


def header_block(headers: dict[str, Any]) -> bytes | None:
    """The block as nats-py would write it, or None where it would change or refuse something."""
    lines = [
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if _SAFE_NAME.fullmatch(name) and _SAFE_VALUE.fullmatch(value)
    ]
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode() if len(lines) == len(headers) else None


def _too_late(future: asyncio.Future[Msg]) -> None:
    if not future.done():
        future.set_exception(nats.errors.TimeoutError())


async def _unheard(_: Msg) -> None:
    """Never called: the messages of a raw subscription do not pass nats-py's queue."""
