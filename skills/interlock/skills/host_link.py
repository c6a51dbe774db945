"""One fork server and the line to it, seen from the executor."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import anyio
import msgspec

from interlock.bus.child import BoundChild
from interlock.skills.protocol import Order, RunOrder, RunReport, StopOrder

_LINE_BYTES = 4 << 20
_END_MS = 2_000
_LOG = "host.log"
_reports = msgspec.json.Decoder(RunReport)


class HostLink:
    """Answers every run: with the host's report, or with host_lost once the host has ended."""

    def __init__(self, process: BoundChild, writer: asyncio.StreamWriter, log: Path) -> None:
        self._process = process
        self._writer = writer
        self._log = log
        self._waiting: dict[str, asyncio.Future[RunReport]] = {}
        self._reading: asyncio.Task[None] | None = None
        self.alive = True

    @classmethod
    async def start(cls, place: Path) -> HostLink:
        """Starts a host whose runs have their scratch directories in place. Raises OSError."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-m", "interlock.skills.host", str(theirs.fileno()), str(place)]
        log = place / _LOG
        try:
            with theirs:
                process = await anyio.to_thread.run_sync(
                    lambda: BoundChild(command, env={"LANG": "C.UTF-8"}, output=log, keep_fds=[theirs.fileno()])
                )
            reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
        except BaseException:
            ours.close()
            raise
        link = cls(process, writer, log)
        link._reading = asyncio.create_task(link._read(reader))
        return link

    @property
    def pid(self) -> int:
        return self._process.pid

    async def run(self, order: RunOrder, grace_ms: int) -> RunReport:
        """Waits for the run's end. Cancelled, it asks the run to end, and ends it after grace_ms."""
        if not self.alive:
            return self._lost(order.id)
        future: asyncio.Future[RunReport] = asyncio.get_running_loop().create_future()
        self._waiting[order.id] = future
        try:
            self._say(Order(run=order))
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await self._stop(order.id, future, grace_ms)
            raise
        finally:
            self._waiting.pop(order.id, None)

    async def _stop(self, name: str, future: asyncio.Future[RunReport], grace_ms: int) -> None:
        if future.done():
            return
        self._say(Order(stop=StopOrder(id=name, grace_ms=grace_ms)))
        with anyio.move_on_after((grace_ms + _END_MS) / 1000):
            await asyncio.shield(future)
        if not future.done():  # the host itself hangs: nothing it holds may go on
            await anyio.to_thread.run_sync(self._process.kill)

    def _say(self, order: Order) -> None:
        if self.alive:
            self._writer.write(msgspec.json.encode(order) + b"\n")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                report = _reports.decode(line)
                future = self._waiting.get(report.id)
                if future is not None and not future.done():
                    future.set_result(report)
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            pass  # said below: whoever waits is told that the host is lost
        finally:
            self.alive = False
            self._writer.close()
            for name, future in self._waiting.items():
                if not future.done():
                    future.set_result(self._lost(name))

    def _lost(self, name: str) -> RunReport:
        """With the last words of the host, if it had any: a line of a traceback."""
        try:
            words = self._log.read_text(errors="replace").strip().splitlines()[-1:]
        except OSError:
            words = []
        return RunReport(id=name, outcome="host_lost", detail=": ".join(["the fork server ended", *words])[:500])

    async def end(self) -> None:
        """Ends the host and all its runs."""
        self._writer.close()
        with anyio.move_on_after(_END_MS / 1000) as late:
            await asyncio.wrap_future(self._process.ended)
        if late.cancelled_caught:
            await anyio.to_thread.run_sync(self._process.kill)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        try:
            await self._writer.wait_closed()
        except OSError:
            return  # the host ended first
