"""kill -9 of a sole broker under load, again and again; it is started on the same store (fast and safe in turn)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from crew import crew
from load import SKILLS, WORKSPACE, Load, all_answer, audited, prepared
from result import Result

from interlock.agents.contract.exchange import exchange
from interlock.agents.contract.generate import ensure_contract
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import ensure_keys, load_roots
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
from interlock.agents.workspace.trust_source import publish_trust
from interlock.bus.errors import BusError
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations
from interlock.bus.transport import Transport

MUST_BE = "0 acknowledged messages lost, 0 effects twice, every goal ends, the audit log agrees"


class Written:
    """Messages published as fast as they are acknowledged, each with its own bytes; what was acknowledged is kept."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.acknowledged: dict[int, bytes] = {}
        self.longest_gap_s = 0.0

    async def run(self) -> None:
        number, last = 0, anyio.current_time()
        while True:
            number += 1
            data = f"witness {number}".encode()
            try:
                ack = await self._transport.publish(f"interlock.{WORKSPACE}.audit.witness", data)
            except BusError:
                await anyio.sleep(0.02)
                continue
            self.acknowledged[ack.sequence] = data
            now = anyio.current_time()
            self.longest_gap_s, last = max(self.longest_gap_s, now - last), now
            await anyio.sleep(0.005)

    async def lost(self) -> list[str]:
        held = {
            message.sequence: message.data
            async for message in self._transport.read("AUDIT", [f"interlock.{WORKSPACE}.audit.witness"])
        }
        return [
            f"acknowledged message {sequence} is lost or another"
            for sequence, data in self.acknowledged.items()
            if held.get(sequence) != data
        ]


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

        async def kill() -> None:
            for _ in range(kills):
                await anyio.sleep(dice.uniform(0.2, 1.2))
                server.kill()
                await server.wait_died()
                await server.restart()

        return await under_fire(root, layout, settings, server.url, kill)


async def under_fire(
    root: Path,
    layout: Layout,
    settings: Settings,
    url: str,
    strike: Callable[[], Awaitable[None]],
    *,
    replicas: int = 1,
    roles_url: str = "",
) -> tuple[list[str], dict[str, float]]:
    """Goals and acknowledged messages while `strike` does its worst: what was lost, and figures."""
    chain = ensure_contract(layout, settings, config_dir())
    async with JetStreamTransport.connect(url, name="campaign") as transport:
        await transport.declare(declarations((WORKSPACE,), replicas))
        await publish_trust(transport, WORKSPACE, layout.trust.read_bytes(), load_roots(layout))
        await exchange(transport, layout, chain)
        load, written, stop = Load(transport, root), Written(transport), anyio.Event()
        with crew(root, roles_url or url, root / "points", SKILLS):
            await all_answer(transport)
            async with anyio.create_task_group() as group:
                group.start_soon(load.keep_up, stop, 4)
                async with anyio.create_task_group() as writing:
                    writing.start_soon(written.run)
                    await strike()
                    await anyio.sleep(0.5)
                    writing.cancel_scope.cancel()
                stop.set()
            verdict = await audited(transport, layout)
        failures = await written.lost() + load.failures()
        failures += [f"audit: {finding.kind} {finding.stream} {finding.sequence}" for finding in verdict.findings]
        failures += [f"audit: {stream} has {count} unrecorded" for stream, count in verdict.pending.items()]
        acknowledged = {"acknowledged": len(written.acknowledged), "longest gap s": round(written.longest_gap_s, 2)}
        return failures, load.figures() | acknowledged
