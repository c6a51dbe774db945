"""kill -9 and SIGSTOP of one of three brokers under load, streams with three replicas.

Each strike begins with all three whole and publishing, and ends when publishing is back and the one that was struck has
caught up: a strike at one while another is still away would be two of three gone, of which nothing is promised.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from pathlib import Path

import anyio

from interlock.agents.workspace.keys import ensure_keys
from interlock.bus.server.cluster import embedded_cluster, urls_of
from interlock.bus.server.embedded import EmbeddedServer, health_problem
from scripts.campaigns.broker import Written, under_fire
from scripts.campaigns.load import prepared
from scripts.campaigns.result import Result

MUST_BE = "0 acknowledged messages lost, publishing back <= 10 s, 0 effects twice, every goal ends"
BACK_S = 10.0
HEALTHY_S = 60.0
# Clusters that are struck at a time: they wait for elections more than they work.
AT_ONCE = 2


async def campaign(root: Path, strikes: int, seed: int) -> Result:
    """Half of them kills, half stops; the server that is struck is drawn."""
    shares = [strikes - strikes // 2, strikes // 2] if strikes >= 2 * AT_ONCE else [strikes]
    failures: list[str] = []
    figures: Counter[str] = Counter()
    longest = 0.0

    async def one(number: int, share: int) -> None:
        nonlocal longest
        place = root / f"cluster-{number}"
        place.mkdir()
        found, counted = await struck(place, share, random.Random(f"{seed}-{number}"))
        failures.extend(found)
        longest = max(longest, counted.pop("longest gap s"))
        figures.update({name: int(value) for name, value in counted.items()})

    async with anyio.create_task_group() as group:
        for number, share in enumerate(shares):
            group.start_soon(one, number, share)
    told = {
        **figures,
        "longest gap s": longest,
        "kills": sum((n + 1) // 2 for n in shares),
        "stops": sum(n // 2 for n in shares),
    }
    return Result(campaign="cluster", amount=strikes, must_be=MUST_BE, figures=told, failures=failures[:20])


async def struck(root: Path, strikes: int, dice: random.Random) -> tuple[list[str], dict[str, float]]:
    layout, settings = prepared(root, "fast")
    ensure_keys(layout, settings.workspace)
    async with embedded_cluster(layout.cluster, 3) as servers:

        async def strike(written: Written) -> None:
            for number in range(strikes):
                await anyio.sleep(dice.uniform(0.2, 0.8))
                await (stopped if number % 2 else killed)(dice.choice(servers), written, dice)

        failures, figures = await under_fire(root, layout, settings, urls_of(servers), strike, replicas=3)
    if figures["longest gap s"] > BACK_S:
        failures.append(f"nothing was acknowledged for {figures['longest gap s']} s")
    return failures, figures


async def killed(server: EmbeddedServer, written: Written, dice: random.Random) -> None:
    server.kill()
    await server.wait_died()
    await anyio.sleep(dice.uniform(0, 1))
    await written.another()
    await server.restart()
    await written.another()


async def stopped(server: EmbeddedServer, written: Written, dice: random.Random) -> None:
    """For a moment, or for longer than it takes the others to elect a leader without it."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        await anyio.sleep(dice.choice((dice.uniform(0.2, 2), dice.uniform(4, 6))))
        await written.another()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    with anyio.move_on_after(HEALTHY_S):
        while await anyio.to_thread.run_sync(health_problem, server.monitor_url):
            await anyio.sleep(0.05)
    await written.another()
