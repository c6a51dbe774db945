"""What wakes a follower: the plain messages of its subjects. A plain message is heard before it is stored, so what was heard
and not yet read is owed by the stream, for a while: it may have been refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

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
    """event: something was heard, or the connection is a new one."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
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


@asynccontextmanager
async def waking(transport: Connection, subjects: tuple[str, ...]) -> AsyncIterator[Wake]:
    """While the context lasts, plain messages on the subjects are heard. Raises Unavailable."""
    wake = Wake()
    async with AsyncExitStack() as stack:
        for subject in subjects:
            try:
                subscription = await transport.client.subscribe_raw(subject, wake.hear, headers=False)
            except nats.errors.Error as error:
                raise Unavailable(f"the broker does not take the subscription to {subject}") from error
            stack.push_async_callback(unsubscribe, subscription)
            await confirm(transport.client, subject)
        transport.followers.add(wake.event)
        stack.callback(transport.followers.discard, wake.event)
        yield wake
