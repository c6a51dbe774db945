"""What wakes a follower: the plain messages of its subjects. A plain message is heard before it is stored, so what was heard
and not yet read is owed by the stream, for a while: it may have been refused. A follower that has much to read looks by
itself, and does not listen: else the broker would send it every message twice.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import takewhile
from typing import TYPE_CHECKING, Self

import nats.errors

from interlock.bus.errors import Unavailable
from interlock.bus.jetstream.contact import confirm
from interlock.bus.jetstream.endings import unsubscribe
from interlock.bus.transport import Message

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from interlock.bus.jetstream.connection import Connection

# How long what was heard is looked for.
OWED_S = 0.3
# Of a follower that does not come to read: what was heard longer ago is stored by now.
MAX_OWED = 4_096


class Wake:
    """event: something was heard, or the connection is a new one. only_last: of a subject's messages the stream may hold no
    more than the last, so that with a later one those heard before it are owed no more.
    """

    def __init__(self, *, only_last: bool = False) -> None:
        self.event = asyncio.Event()
        self._only_last = only_last
        self._now_s = asyncio.get_running_loop().time
        self._owed: dict[tuple[str, bytes], tuple[int, float]] = {}  # how often, and when last; oldest first

    def hear(self, raw: Msg) -> None:
        key = (raw.subject, raw.data)
        times, _ = self._owed.pop(key, (0, 0.0))
        self._owed[key] = (times + 1, self._now_s())
        if len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]
        self.event.set()

    def read(self, message: Message) -> None:
        """What was stored."""
        key = (message.subject, message.data)
        if self._only_last and key in self._owed:
            before = takewhile(lambda heard: heard != key, self._owed)
            for replaced in [heard for heard in before if heard[0] == message.subject]:
                del self._owed[replaced]
        times, at_s = self._owed.pop(key, (0, 0.0))
        if times > 1:
            self._owed[key] = (times - 1, at_s)

    @property
    def is_owed(self) -> bool:
        """Whether something that was heard may still come to be stored."""
        while self._owed:
            key, (_, at_s) = next(iter(self._owed.items()))
            if self._now_s() - at_s < OWED_S:
                return True
            del self._owed[key]
        return False


class Ears:
    """Plain messages on the subjects are heard from `open` to `close`; that the connection is a new one, while the context
    lasts.
    """

    def __init__(self, transport: Connection, subjects: tuple[str, ...], *, only_last: bool = False) -> None:
        self.wake = Wake(only_last=only_last)
        self._transport = transport
        self._subjects = subjects
        self._heard: AsyncExitStack | None = None

    @property
    def are_open(self) -> bool:
        return self._heard is not None

    async def __aenter__(self) -> Self:
        self._transport.followers.add(self.wake.event)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.followers.discard(self.wake.event)
        await self.close()

    async def open(self) -> None:
        """Returns when the broker knows of it. Raises Unavailable, and then they are closed."""
        async with AsyncExitStack() as stack:
            for subject in self._subjects:
                try:
                    subscription = await self._transport.client.subscribe_raw(subject, self.wake.hear, headers=False)
                except nats.errors.Error as error:
                    raise Unavailable(f"the broker does not take the subscription to {subject}") from error
                stack.push_async_callback(unsubscribe, subscription)
                await confirm(self._transport.client, subject)
            self._heard = stack.pop_all()

    async def close(self) -> None:
        heard, self._heard = self._heard, None
        if heard is not None:
            await heard.aclose()
