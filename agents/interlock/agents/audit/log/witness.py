"""A witness outside: each checkpoint of the audit log is posted to it, so that a log cut short is noticed even where the
auditor's own memory went with the broker's disk (AUD-01).

A checkpoint covers all before it, so what waits is the newest alone. What could not be delivered is in the log itself: an
auditor that starts signs the log as it stands, and that is posted. The witness is an observer: its silence stops nothing
and is shown; its contradiction is told as a deviation, and halts nothing either.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import anyio
from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.audit.log.check import auditors
from interlock.agents.audit.log.sources import checkpoint_subject, origin_of
from interlock.agents.deviations.detect import of_witness
from interlock.agents.deviations.fold import Detection
from interlock.agents.posting import NotTaken, Webhook, post
from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.catching_up import caught_up
from interlock.bus.errors import BusError
from interlock.bus.gates import TrustSource
from interlock.bus.streams import AUDIT
from interlock.bus.tasks import background
from interlock.bus.transport import Transport
from interlock.envelope.checkpoint import Checkpoint, CheckpointError, open_checkpoint

log = logging.getLogger("interlock.witness")
TEXT = "text/plain; charset=utf-8"
CONFLICT = 409
LOOK_BACK = 10_000  # messages of AUDIT, for checkpoints that another auditor stored just before


class WitnessSettings(Struct, frozen=True, kw_only=True):
    """timeout_s: for all of an answer; farewell_s: the same, of the last checkpoint of an auditor that ends."""

    retry: Backoff = Backoff(first_ms=1_000, cap_ms=60_000)
    timeout_s: float = 10.0
    farewell_s: float = 0.8


class _Waiting(Struct, frozen=True):
    note: bytes
    size: int
    sequence: int
    since_ms: int  # when the oldest checkpoint was told that the witness has not taken, nor one after it


class Witness:
    """detect: is told when the witness contradicts; trust: knows who may sign checkpoints. Hand `told` to the recorder."""

    def __init__(
        self,
        hook: Webhook,
        transport: Transport,
        workspace: str,
        trust: TrustSource,
        detect: Callable[[Detection | None], Awaitable[None]],
        settings: WitnessSettings | None = None,
    ) -> None:
        self._hook = hook
        self._transport = transport
        self._workspace = workspace
        self._trust = trust
        self._clock = transport.clock
        self._detect = detect
        self._settings = settings or WitnessSettings()
        self._waiting: _Waiting | None = None
        self._news = anyio.Event()

    @property
    def behind_ms(self) -> int:
        """For how long the witness has lacked what was signed; 0: it lacks nothing."""
        return 0 if self._waiting is None else max(0, self._clock.now_ms() - self._waiting.since_ms)

    def told(self, checkpoint: Checkpoint, note: bytes, sequence: int) -> None:
        """A checkpoint is in the log."""
        since_ms = self._clock.now_ms() if self._waiting is None else self._waiting.since_ms
        self._waiting = _Waiting(note, checkpoint.size, sequence, since_ms)
        self._news.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it lasts, what is told is posted; at its end, what is left is tried once more."""
        try:
            async with background() as group:
                group.start_soon(self._run)
                yield
        finally:
            if self._waiting is not None:
                with anyio.move_on_after(self._settings.farewell_s, shield=True):
                    await self._hand_over(self._waiting, self._settings.farewell_s)

    async def _run(self) -> None:
        failed = 0
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while (waiting := self._waiting) is not None:
                if await self._hand_over(waiting, self._settings.timeout_s):
                    failed = 0
                else:
                    failed += 1
                    await anyio.sleep(delay_ms(self._settings.retry, failed, f"{waiting.size}") / 1000)

    async def _hand_over(self, waiting: _Waiting, timeout_s: float) -> bool:
        """Whether the witness has it now."""
        now_ms = self._clock.now_ms()
        try:
            await post(self._hook, waiting.note, now_ms, content_type=TEXT, timeout_s=timeout_s)
        except NotTaken as error:
            log.warning("the witness has not taken the checkpoint of %s records: %s", waiting.size, error)
            if error.status != CONFLICT or not await self._is_overtaken(waiting):
                return False
        if self._waiting is waiting:
            self._waiting = None
        elif self._waiting is not None:
            self._waiting = replace(self._waiting, since_ms=now_ms)
        return True

    async def _is_overtaken(self, waiting: _Waiting) -> bool:
        """Whether the log holds a larger checkpoint, so that the witness may have that from another auditor, who stores it
        before posting it. If not, the witness contradicts.
        """
        try:
            overtaken = await caught_up(self._transport, lambda: self._holds_larger(waiting), bool)
        except BusError as error:
            log.warning("whether the witness contradicts is not known: %s", error)
            return False
        if not overtaken:
            await self._detect(of_witness(waiting.size, waiting.sequence, self._clock.now_ms()))
        return overtaken

    async def _holds_larger(self, waiting: _Waiting) -> bool:
        keys, origin = auditors(self._trust.trust), origin_of(self._workspace)
        first = max(1, waiting.sequence - LOOK_BACK)
        messages = self._transport.read(AUDIT.name, [checkpoint_subject(self._workspace)], from_sequence=first)
        async with aclosing(messages):
            async for message in messages:
                with suppress(CheckpointError):
                    if open_checkpoint(message.data, keys, origin).size > waiting.size:
                        return True
        return False
