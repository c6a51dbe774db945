"""The recorder: follows every stream of a workspace and writes the audit log and its checkpoints (AUD-01).

One writer wins: a message of the log is stored only after the one that the writer saw last. A recorder that loses reads
what the other wrote, drops what that covers, and stands by for a while. What was told once in a checkpoint and is gone
from the log is never signed over: the recorder stops and says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct

from interlock.agents.audit.log.memory import CheckpointMemory
from interlock.agents.audit.log.records import Chain, ChainBroken, body_of, lines_of
from interlock.agents.audit.log.sources import Source, checkpoint_subject, log_subject, origin_of, sources
from interlock.bus.catching_up import caught_up
from interlock.bus.errors import BusError, Conflict
from interlock.bus.failpoints import failpoint
from interlock.bus.streams import AUDIT, HOPS
from interlock.bus.transport import Message, Pace, Transport
from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint
from interlock.envelope.keys import SigningKey

log = logging.getLogger("interlock.recorder")
Observe = Callable[[Message], Awaitable[str]]
Hear = Callable[[Message], None]
Notice = Callable[[str, Message], Awaitable[None]]
Seen = tuple[str, Message]
Take = Callable[[list[Seen], bool], Awaitable[None]]
Told = Callable[[Checkpoint, bytes, int], None]


class RecorderSettings(Struct, frozen=True, kw_only=True):
    """batch: records a message of the log at most; window_ms: how long a batch may gather; gather_ms: how long what a
    stream holds may gather before it is asked for; checkpoint_ms: how old news may get without a checkpoint; standby_ms:
    how long whoever lost the race leaves the log to the winner; farewell_ms: what a recorder that is ended may take to
    write down what it has heard.
    """

    batch: int = 512
    window_ms: int = 100
    gather_ms: int = 50
    checkpoint_ms: int = 1_000
    standby_ms: int = 2_000
    pause_ms: int = 500
    farewell_ms: int = 2_000


class LogBroken(Exception):
    """The stored log contradicts itself or what was signed before. reason: of ChainBroken, or truncated, forked."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason


class Recorder:
    """observe: looks at a hop before it is recorded and gives its verdict; hear: is told of it as it comes; hurry: set by who
    waits to hear of one;
    notice: is told of what other streams hold, before it is recorded, so at least once. memory: the last checkpoint, kept
    outside the broker. told: hears of each checkpoint that is stored (itself, its note, its sequence in AUDIT), the first
    time soon after the start. known: is set when the stored log was read and follows from what was signed.
    Run `await recorder.run()` in a task group.
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        key: SigningKey,
        *,
        observe: Observe,
        hear: Hear | None = None,
        hurry: asyncio.Event | None = None,
        notice: Notice | None = None,
        memory: Path | None = None,
        told: Told | None = None,
        known: anyio.Event | None = None,
        settings: RecorderSettings | None = None,
    ) -> None:
        self._transport = transport
        self._workspace = workspace
        self._key = key
        self._observe = observe
        self._hear = hear
        self._hurry = hurry
        self._notice = notice
        self._memory = CheckpointMemory(memory, origin_of(workspace))
        self._on_told = told
        self._known = known
        self._settings = settings or RecorderSettings()
        self._chain = Chain()
        self._last = 0  # sequence of the last message of the log
        self._told = 0  # size at the last checkpoint
        self._told_ms = 0

    async def run(self) -> None:
        """Records for ever, from when the log could be read: what goes on from a log unseen may go on from one that was cut.
        Raises LogBroken.
        """
        while not await self._catch_up():
            await anyio.sleep(self._settings.pause_ms / 1000)
        await self._run(self._write)

    async def note(self, facts: dict[str, str], covered: tuple[str, int] | None = None) -> bool:
        """Appends one record of something that no stream holds, beside a recorder that runs. covered: the log must have
        recorded this stream up to this sequence. False if it has not, or another writer was first. Raises LogBroken, BusError.
        """
        await self._catch_up()
        if covered is not None and self._chain.positions.get(covered[0], 0) < covered[1]:
            return False
        chain = self._chain.copy()
        line = chain.noted(self._transport.clock.now_ms(), facts)
        try:
            ack = await self._transport.publish(log_subject(self._workspace), line, expected_sequence=self._last)
        except Conflict:
            return False
        self._chain, self._last = chain, ack.sequence
        return True

    async def watch(self) -> None:
        """Looks at every hop for ever and records nothing: for a log that is broken."""
        await self._run(self._only_look)

    async def _run(self, take: Take) -> None:
        send, receive = anyio.create_memory_object_stream[Seen](2 * self._settings.batch)
        async with anyio.create_task_group() as group, send, receive:
            for source in sources(self._workspace):
                group.start_soon(self._follow, source, send)
            await self._work(receive, take)

    async def _follow(self, source: Source, send: MemoryObjectSendStream[Seen]) -> None:
        position = self._chain.positions.get(source.stream, 0)
        pace = Pace(self._settings.gather_ms, self._hurry if source.stream == HOPS.name else None)
        while True:
            try:
                messages = self._transport.read(
                    source.stream, source.subjects, from_sequence=position + 1, follow=True, pace=pace
                )
                async with aclosing(messages):
                    async for message in messages:
                        if self._hear is not None and source.stream == HOPS.name:
                            self._hear(message)
                        await _put(send, (source.stream, message))
                        position = message.sequence
            except BusError as error:
                log.warning("reading %s: %s", source.stream, error)
            await anyio.sleep(self._settings.pause_ms / 1000)

    async def _work(self, receive: MemoryObjectReceiveStream[Seen], take: Take) -> None:
        heard: list[Seen] = []
        try:
            while True:
                with anyio.move_on_after(self._settings.checkpoint_ms / 1000):
                    heard.append(await receive.receive())
                    await anyio.sleep(self._settings.window_ms / 1000)
                self._take_over(receive, heard)
                await take(heard, False)
                heard.clear()
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(self._settings.farewell_ms / 1000, shield=True):
                self._take_over(receive, heard)
                await take(heard, True)
            raise

    def _take_over(self, receive: MemoryObjectReceiveStream[Seen], heard: list[Seen]) -> None:
        with suppress(anyio.WouldBlock):
            while len(heard) < self._settings.batch:
                heard.append(receive.receive_nowait())

    async def _write(self, batch: list[Seen], last: bool) -> None:
        verdicts = await self._verdicts(batch)
        failpoint("batch_judged")
        while batch and not await self._record(batch, verdicts, last):
            await anyio.sleep(0 if last else self._settings.pause_ms / 1000)
        failpoint("batch_recorded")
        await self._tell(at_once=last)

    async def _only_look(self, batch: list[Seen], last: bool) -> None:
        await self._verdicts(batch)

    async def _verdicts(self, batch: list[Seen]) -> dict[int, str]:
        """Of hops, by sequence. An observer that fails leaves a word that says so; the hop is recorded all the same."""
        verdicts: dict[int, str] = {}
        for stream, message in batch:
            if stream == HOPS.name:
                try:
                    verdicts[message.sequence] = await self._observe(message)
                except BusError as error:
                    log.warning("hop %s could not be judged: %s", message.sequence, error)
                    verdicts[message.sequence] = "not_judged"
            elif self._notice is not None:
                await self._notice(stream, message)
        return verdicts

    async def _record(self, batch: list[Seen], verdicts: dict[int, str], last: bool) -> bool:
        """Whether all of the batch is in the log now, by this recorder or another. last: there is no time to stand by, and who
        was first may be this recorder itself, ended before it heard so.
        """
        chain = self._chain.copy()
        lines = [
            chain.stored(stream, message, verdicts.get(message.sequence, "") if stream == HOPS.name else "")
            for stream, message in batch
            if message.sequence > chain.positions.get(stream, 0)
        ]
        if not lines:
            return True
        try:
            ack = await self._transport.publish(
                log_subject(self._workspace), body_of(lines), expected_sequence=self._last
            )
        except Conflict:
            await anyio.sleep(0 if last else self._settings.standby_ms / 1000)
            await self._catch_up()
            return False
        except BusError as error:
            log.warning("the log could not be written: %s", error)
            await self._catch_up()
            return False
        self._chain, self._last = chain, ack.sequence
        return True

    async def _catch_up(self) -> bool:
        """Follows what is stored beyond what is known, and holds it against the last checkpoint. Whether the log could be
        read. Raises LogBroken.
        """
        remembered = self._memory.load(self._key.key_id)
        signed = remembered.size if remembered else 0
        read = await caught_up(
            self._transport, lambda: self._read_on(remembered), lambda read: not read or self._chain.size >= signed
        )
        if read and self._chain.size < signed:
            raise LogBroken("truncated", f"the log has {self._chain.size} records, {signed} were signed")
        if read and self._known is not None:
            self._known.set()
        return read

    async def _read_on(self, remembered: Checkpoint | None) -> bool:
        """Whether the log could be read. Raises LogBroken."""
        try:
            messages = self._transport.read(AUDIT.name, [log_subject(self._workspace)], from_sequence=self._last + 1)
            async with aclosing(messages):
                async for message in messages:
                    for line in lines_of(message.data):
                        self._chain.follow(line)
                        if remembered and self._chain.size == remembered.size and self._chain.root != remembered.root:
                            raise LogBroken("forked", f"record {self._chain.size - 1} is not the one that was signed")
                    self._last = message.sequence
        except ChainBroken as error:
            raise LogBroken(error.reason, str(error)) from error
        except BusError as error:
            log.warning("the log could not be read: %s", error)
            return False
        return True

    async def _tell(self, *, at_once: bool) -> None:
        """A checkpoint, if there is news and the last one is old enough."""
        now_ms = self._transport.clock.now_ms()
        young = abs(now_ms - self._told_ms) < self._settings.checkpoint_ms
        if self._chain.size == self._told or (young and not at_once):
            return
        checkpoint = Checkpoint(origin_of(self._workspace), self._chain.size, self._chain.root)
        note = sign_checkpoint(checkpoint, self._key, self._key.key_id).encode()
        try:
            ack = await self._transport.publish(
                checkpoint_subject(self._workspace), note, message_id=f"checkpoint-{self._workspace}-{checkpoint.size}"
            )
        except BusError as error:
            log.warning("a checkpoint could not be published: %s", error)
            return
        failpoint("checkpoint_stored")
        self._memory.save(note)
        self._told, self._told_ms = checkpoint.size, now_ms
        if self._on_told is not None:
            self._on_told(checkpoint, note, ack.sequence)


async def _put(send: MemoryObjectSendStream[Seen], seen: Seen) -> None:
    """Waits only where there is no room: else each message would cost a turn of the event loop."""
    try:
        send.send_nowait(seen)
    except anyio.WouldBlock:
        await send.send(seen)
