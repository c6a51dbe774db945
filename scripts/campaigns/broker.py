"""kill -9 of a sole broker under load, again and again; it is started on the same store (fast and safe in turn)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import anyio

from interlock.agents.contract.exchange import exchange
from interlock.agents.contract.generate import ensure_contract
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import ensure_keys, load_roots
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
from interlock.agents.workspace.trust_source import publish_trust
from interlock.bus.errors import BusError, NoStream
from interlock.bus.jetstream.connection import JetStreamSettings
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations
from interlock.bus.transport import Transport
from scripts.campaigns.crew import crew
from scripts.campaigns.lines import SKILLS
from scripts.campaigns.load import WORKSPACE, Load, all_answer, audited, prepared
from scripts.campaigns.result import Result

MUST_BE = "0 acknowledged messages lost, 0 effects twice, every goal ends, the audit log agrees"


class Written:
    """Messages published to AUDIT and LEDGER in turn, each with its own bytes; what was acknowledged is kept. A publish
    that is not answered within a second is given up for the next, so that a gap is the broker's and not this writer's.
    """

    SUBJECTS = (f"interlock.{WORKSPACE}.audit.witness", f"interlock.{WORKSPACE}.ledger.witness")
    SETTINGS = JetStreamSettings(publish_timeout_ms=1_000, no_stream_retry_ms=0, reconnect_wait_ms=50)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._number = 0
        self._acknowledged = anyio.Event()
        self.acknowledged: dict[tuple[str, int], bytes] = {}
        self.longest_gap_s = 0.0

    async def run(self) -> None:
        last = anyio.current_time()
        while True:
            self._number += 1
            data = f"witness {self._number}".encode()
            try:
                ack = await self._transport.publish(self.SUBJECTS[self._number % 2], data)
            except BusError:
                await anyio.sleep(0.02)
                continue
            self.acknowledged[ack.stream, ack.sequence] = data
            now = anyio.current_time()
            self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
            acknowledged, self._acknowledged = self._acknowledged, anyio.Event()
            acknowledged.set()
            await anyio.sleep(0.005)

    async def another(self, within_s: float = 60) -> None:
        """Returns when a message was acknowledged that was published after this call."""
        number = self._number
        with anyio.move_on_after(within_s):
            while not self.acknowledged or int(next(reversed(self.acknowledged.values())).split()[1]) <= number:
                await self._acknowledged.wait()

    async def lost(self, transport: Transport, until: int = 0) -> list[str]:
        """until: how many of what was acknowledged first must be there; all of it, if none is given."""
        held: dict[tuple[str, int], bytes] = {}
        for stream, subject in zip(("AUDIT", "LEDGER"), self.SUBJECTS, strict=True):
            with suppress(NoStream):  # it is lost as a whole
                async for message in transport.read(stream, [subject]):
                    held[stream, message.sequence] = message.data
        return [
            f"acknowledged message {sequence} of {stream} is lost or another"
            for (stream, sequence), data in islice(self.acknowledged.items(), until or None)
            if held.get((stream, sequence)) != data
        ]


Strike = Callable[[Written], Awaitable[None]]


async def campaign(root: Path, kills: int, seed: int) -> Result:
    dice = random.Random(seed)
    failures: list[str] = []
    figures: dict[str, float] = {}
    for durability, share in (("safe", kills - kills // 2), ("fast", kills // 2)):
        if share:
            place = root / durability
            place.mkdir()
            found, counted = await rounds(place, durability, share, dice)
            failures += [f"{durability}: {failure}" for failure in found]
            figures |= {f"{durability} {name}": value for name, value in counted.items()}
    return Result(campaign="broker", amount=kills, must_be=MUST_BE, figures=figures, failures=failures[:20])


async def rounds(root: Path, durability: str, kills: int, dice: random.Random) -> tuple[list[str], dict[str, float]]:
    layout, settings = prepared(root, durability)
    ensure_keys(layout, settings.workspace)
    async with EmbeddedServer(layout.store, settings.durability) as server:

        async def kill(written: Written) -> None:
            for _ in range(kills):
                await written.another()
                await anyio.sleep(dice.uniform(0.1, 1.0))
                server.kill()
                await server.wait_died()
                await server.restart()

        return await under_fire(root, layout, settings, server.url, kill)


async def under_fire(
    root: Path,
    layout: Layout,
    settings: Settings,
    url: str,
    strike: Strike,
    *,
    replicas: int = 1,
    roles_url: str = "",
) -> tuple[list[str], dict[str, float]]:
    """Goals and acknowledged messages while `strike` does its worst: what was lost, and figures."""
    chain = ensure_contract(layout, settings, config_dir())
    async with (
        JetStreamTransport.connect(url, name="campaign") as transport,
        JetStreamTransport.connect(url, name="witness", settings=Written.SETTINGS) as writing,
    ):
        await transport.declare(declarations((WORKSPACE,), replicas))
        await publish_trust(transport, WORKSPACE, layout.trust.read_bytes(), load_roots(layout))
        await exchange(transport, layout, chain)
        load, written, stop = Load(transport, root), Written(writing), anyio.Event()
        with crew(root, roles_url or url, root / "points", SKILLS):
            await all_answer(transport)
            async with anyio.create_task_group() as group:
                group.start_soon(load.keep_up, stop, 4)
                async with anyio.create_task_group() as witness:
                    witness.start_soon(written.run)
                    await strike(written)
                    await written.another()
                    witness.cancel_scope.cancel()
                stop.set()
            verdict = await audited(transport, layout)
        failures = await written.lost(transport) + load.failures()
        failures += [f"audit: {finding.kind} {finding.stream} {finding.sequence}" for finding in verdict.findings]
        failures += [f"audit: {stream} has {count} unrecorded" for stream, count in verdict.pending.items()]
        acknowledged = {"acknowledged": len(written.acknowledged), "longest gap s": round(written.longest_gap_s, 2)}
        return failures, load.figures() | acknowledged
