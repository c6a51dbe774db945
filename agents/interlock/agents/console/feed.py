"""What changes, told to every open browser: one reader of the bus for all of them.

A browser that listens holds a set of topics that have changed since it was told, never a queue: what nobody fetches does
not pile up, however slow a browser is and however fast the bus.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress

import anyio
from msgspec import Struct

from interlock.agents.approvals import view
from interlock.agents.console.board import Board
from interlock.agents.deviations.book import deviation_subject, statement_subject
from interlock.agents.status import BUCKET as GOALS_BUCKET
from interlock.bus.control import holder
from interlock.bus.control.orders import ALL
from interlock.bus.errors import BusError
from interlock.bus.streams import AUDIT, DEAD, HOPS, kv_stream, kv_subject
from interlock.bus.tasks import background
from interlock.bus.transport import Message, Transport
from interlock.envelope.ids import is_uuid7
from interlock.envelope.subjects import workspace_subject

log = logging.getLogger("interlock.console")

TOPICS = ("goals", "approvals", "halts", "deviations", "dead", "broker")
CALM_S = 0.2
LOOK_S = 1.0
LOST_S = 2.5
MAX_TOPICS = 8


class TooMany(Exception):
    """No more browsers can listen."""


def is_topic(name: str) -> bool:
    kind, _, goal_id = name.partition(".")
    return name in TOPICS or (kind == "goal" and is_uuid7(goal_id))


class _Followed(Struct, frozen=True):
    stream: str
    subjects: list[str]
    take: Callable[[Message], None]
    from_now: bool


class Listener:
    """One browser: what it listens to and what has changed."""

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self.changed = set(topics)  # what it shows may be older than its connection
        self._wake = anyio.Event()

    def mark(self, topic: str) -> None:
        self.changed.add(topic)
        self._wake.set()

    async def wait(self, at_most_s: float) -> set[str]:
        """What has changed, sorted out to once in CALM_S; empty when the time is up."""
        if not self.changed:
            with anyio.move_on_after(at_most_s):
                await self._wake.wait()
        if self.changed:
            await anyio.sleep(CALM_S)
        self._wake = anyio.Event()
        changed, self.changed = self.changed, set()
        return changed


class Feed:
    """broker_ok: whether the broker answered a moment ago."""

    def __init__(self, transport: Transport, workspace: str, most: int) -> None:
        self.board = Board()
        self.broker_ok = True
        self.closed = False
        self._transport = transport
        self._workspace = workspace
        self._most = most
        self._listeners: set[Listener] = set()
        self._numbers = itertools.count(1)
        self._versions = {topic: next(self._numbers) for topic in TOPICS}

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def version(self, topic: str) -> int:
        """Another one after every change of the topic; 0 for a goal that nobody listens to, of which nothing is kept."""
        return self._versions.get(topic, 0)

    @contextmanager
    def listening(self, topics: frozenset[str]) -> Iterator[Listener]:
        """Raises TooMany."""
        if len(self._listeners) >= self._most:
            raise TooMany(f"{self._most} browsers listen already")
        listener = Listener(topics)
        self._listeners.add(listener)
        for topic in topics:
            self._versions.setdefault(topic, next(self._numbers))
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            heard = {topic for one in self._listeners for topic in one.topics}
            for topic in topics - heard - set(TOPICS):
                del self._versions[topic]

    def mark(self, topic: str) -> None:
        if topic in self._versions:
            self._versions[topic] = next(self._numbers)
        for listener in self._listeners:
            if topic in listener.topics:
                listener.mark(topic)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Returns once the board shows what is stored now."""
        async with background() as group:
            for followed in self._followed():
                await self._catch_up(followed)
                group.start_soon(self._follow, followed)
            group.start_soon(self._look_after_broker)
            try:
                yield
            finally:
                self.close()

    def close(self) -> None:
        """Ends every stream."""
        self.closed = True
        for listener in self._listeners:
            listener.mark("broker")

    def _followed(self) -> list[_Followed]:
        workspace = self._workspace
        control = [kv_subject(holder.BUCKET, f"{place}.>") for place in (workspace, ALL)]
        return [
            _Followed(kv_stream(GOALS_BUCKET), [kv_subject(GOALS_BUCKET, f"{workspace}.>")], self._on_status, False),
            _Followed(kv_stream(view.BUCKET), [kv_subject(view.BUCKET, f"{workspace}.>")], self._on_approval, True),
            _Followed(kv_stream(holder.BUCKET), control, lambda _: self.mark("halts"), True),
            _Followed(DEAD.name, [workspace_subject(workspace, "dead", ">")], lambda _: self.mark("dead"), True),
            _Followed(
                AUDIT.name,
                [deviation_subject(workspace), statement_subject(workspace)],
                lambda _: self.mark("deviations"),
                True,
            ),
            _Followed(HOPS.name, [workspace_subject(workspace, "role", ">")], self._on_hop, True),
        ]

    async def _catch_up(self, followed: _Followed) -> None:
        """Raises BusError: where it cannot be read now, nothing is shown at all."""
        if followed.from_now:
            return
        async with aclosing(self._transport.read(followed.stream, followed.subjects)) as messages:
            async for message in messages:
                followed.take(message)

    async def _follow(self, followed: _Followed) -> None:
        """For ever; what is lost with the broker is read anew."""
        while True:
            from_ms = self._transport.clock.now_ms() if followed.from_now else None
            with suppress(BusError):
                messages = self._transport.read(followed.stream, followed.subjects, from_ms=from_ms, follow=True)
                async with aclosing(messages):
                    async for message in messages:
                        followed.take(message)
            await anyio.sleep(LOOK_S)

    async def _look_after_broker(self) -> None:
        probe = kv_subject(GOALS_BUCKET, f"{self._workspace}.console")
        while True:
            await anyio.sleep(LOOK_S)
            ok = await _answers(lambda: self._transport.last(kv_stream(GOALS_BUCKET), probe))
            if ok != self.broker_ok:
                self.broker_ok = ok
                log.warning("the broker %s", "answers again" if ok else "does not answer")
                for topic in {"broker", *(topic for one in self._listeners for topic in one.topics if ok)}:
                    self.mark(topic)

    def _on_status(self, message: Message) -> None:
        goal_id = self.board.take(message)
        self.mark("goals")
        if goal_id:
            self.mark(f"goal.{goal_id}")

    def _on_approval(self, message: Message) -> None:
        self.mark("approvals")
        self.mark(f"goal.{message.subject.split('.')[-2]}")

    def _on_hop(self, message: Message) -> None:
        tokens = message.subject.split(".")
        if len(tokens) > 4:
            self.mark(f"goal.{tokens[4]}")


async def _answers(ask: Callable[[], Awaitable[object]]) -> bool:
    try:
        with anyio.fail_after(LOST_S):
            await ask()
    except (BusError, TimeoutError):
        return False
    return True
