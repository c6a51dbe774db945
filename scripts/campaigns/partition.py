"""The way between roles and broker cut and silenced, by a proxy: they stop by themselves, come back, do nothing twice."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import SocketStream

from interlock.agents.workspace.keys import ensure_keys
from interlock.bus.server.embedded import EmbeddedServer
from scripts.campaigns.broker import Written, under_fire
from scripts.campaigns.load import prepared
from scripts.campaigns.result import Result

MUST_BE = "no effect begins once the control lease ran out, recovery, 0 lost, 0 effects twice"
# The control lease, and the grace that a run has which a halt finds at work.
LEASE_S = 0.9 + 2.0 + 0.6


class Proxy:
    """Loopback TCP in front of the broker. cut: connections are closed and none is let in; silent: nothing passes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = anyio.Event()
        self._open.set()
        self._refuses = False
        self._connections: set[SocketStream] = set()
        self.url = ""

    async def close(self, *, silent: bool) -> None:
        self._open, self._refuses = anyio.Event(), not silent
        if not silent:
            for connection in list(self._connections):
                await connection.aclose()

    def open(self) -> None:
        self._refuses = False
        self._open.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.url = f"nats://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._serve)
            yield
            group.cancel_scope.cancel()

    async def _serve(self, near: SocketStream) -> None:
        if self._refuses:
            await near.aclose()
            return
        async with near, await anyio.connect_tcp("127.0.0.1", self._port) as far:
            self._connections.add(near)
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._pass, near, far, group.cancel_scope)
                    group.start_soon(self._pass, far, near, group.cancel_scope)
            finally:
                self._connections.discard(near)

    async def _pass(self, source: SocketStream, sink: SocketStream, scope: anyio.CancelScope) -> None:
        try:
            while True:
                data = await source.receive()
                await self._open.wait()
                await sink.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()


async def campaign(root: Path, times: int, seed: int) -> Result:
    """Cut and silenced in turn, for some seconds each."""
    dice, late = random.Random(seed), 0
    layout, settings = prepared(root, "fast")
    ensure_keys(layout, settings.workspace)
    lines = root / "lines.txt"

    def effects() -> int:
        return len(lines.read_text().splitlines()) if lines.exists() else 0

    async with EmbeddedServer(layout.store, "fast") as server:
        proxy = Proxy(int(server.url.rpartition(":")[2]))
        async with proxy.running():

            async def strike(written: Written) -> None:
                nonlocal late
                for number in range(times):
                    await written.another()
                    await anyio.sleep(dice.uniform(0.5, 1.5))
                    await proxy.close(silent=bool(number % 2))
                    await anyio.sleep(LEASE_S)
                    before = effects()
                    await anyio.sleep(dice.uniform(0.5, 2))
                    late += effects() - before
                    proxy.open()

            failures, figures = await under_fire(root, layout, settings, server.url, strike, roles_url=proxy.url)
    if late:
        failures.append(f"{late} effects began behind the partition after the lease")
    figures |= {"effects after the lease": late}
    return Result(campaign="partition", amount=times, must_be=MUST_BE, figures=figures, failures=failures[:20])
