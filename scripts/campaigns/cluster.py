"""kill -9 and SIGSTOP of one of three brokers under load, streams with three replicas."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import anyio
from broker import under_fire
from load import prepared
from result import Result

from interlock.agents.workspace.keys import ensure_keys
from interlock.bus.server.cluster import embedded_cluster, urls_of
from interlock.bus.server.embedded import EmbeddedServer

MUST_BE = "0 acknowledged messages lost, publishing back <= 10 s, 0 effects twice, every goal ends"
BACK_S = 10.0


async def campaign(root: Path, strikes: int, seed: int) -> Result:
    """Half of them kills, half stops of some seconds; the one that is struck is drawn."""
    dice = random.Random(seed)
    layout, settings = prepared(root, "fast")
    ensure_keys(layout, settings.workspace)
    async with embedded_cluster(layout.cluster, 3) as servers:

        async def strike() -> None:
            for number in range(strikes):
                await anyio.sleep(dice.uniform(0.5, 1.5))
                await (stopped if number % 2 else killed)(dice.choice(servers), dice)

        failures, figures = await under_fire(root, layout, settings, urls_of(servers), strike, replicas=3)
    if figures["longest gap s"] > BACK_S:
        failures.append(f"nothing was acknowledged for {figures['longest gap s']} s")
    figures |= {"kills": (strikes + 1) // 2, "stops": strikes // 2}
    return Result(campaign="cluster", amount=strikes, must_be=MUST_BE, figures=figures, failures=failures[:20])


async def killed(server: EmbeddedServer, dice: random.Random) -> None:
    server.kill()
    await server.wait_died()
    await anyio.sleep(dice.uniform(0, 3))
    await server.restart()


async def stopped(server: EmbeddedServer, dice: random.Random) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    await anyio.sleep(dice.uniform(1, 6))
    os.kill(server.pid, signal.SIGCONT)
