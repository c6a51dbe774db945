"""Telling the other processes which traces are wanted whole, and hearing it from them."""

from __future__ import annotations

import logging
import time
from collections import deque

import anyio
import msgspec
from msgspec import Struct

from interlock.bus.errors import BusError
from interlock.bus.telemetry.sampling import Export, SamplingSettings, TailSampler
from interlock.bus.transport import Message, Transport
from interlock.envelope.ids import TraceId
from interlock.envelope.subjects import workspace_subject

log = logging.getLogger("interlock.telemetry")
MAX_UNTOLD = 256


class Keep(Struct, frozen=True, rename="camel"):
    """Said by the first process that wants a trace. Unsigned: it only makes others export what they have seen."""

    trace_id: TraceId
    why: str = ""


def keep_subject(workspace: str) -> str:
    return workspace_subject(workspace, "telemetry", "keep")


class Keeping:
    """A sampler that tells and hears."""

    def __init__(self, settings: SamplingSettings, export: Export, workspace: str) -> None:
        self.sampler = TailSampler(settings, export, self._want)
        self._subject = keep_subject(workspace)
        self._untold: deque[Keep] = deque(maxlen=MAX_UNTOLD)
        self._wake = anyio.Event()

    def keep(self, trace_id: str, why: str) -> None:
        self.sampler.keep(trace_id, why, int(time.monotonic()))

    def _want(self, trace_id: str, why: str) -> None:
        self._untold.append(Keep(trace_id, why))
        self._wake.set()

    async def exchange(self, transport: Transport) -> None:
        """Runs for ever."""
        async with transport.subscribe(self._subject, self._on_keep):
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                while self._untold:
                    await self._say(transport, self._untold.popleft())

    async def _say(self, transport: Transport, keep: Keep) -> None:
        try:
            await transport.send(self._subject, msgspec.json.encode(keep))
        except BusError as error:
            log.debug("the others do not hear of trace %s: %s", keep.trace_id, error)

    async def _on_keep(self, message: Message) -> None:
        try:
            keep = msgspec.json.decode(message.data, type=Keep)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        self.sampler.keep(keep.trace_id, keep.why, int(time.monotonic()), told=True)
