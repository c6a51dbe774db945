"""A full disk: the store on a small tmpfs, filled while goals run. Needs the right to mount; says so where it has none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from interlock.agents.contract.exchange import exchange
from interlock.agents.contract.generate import ensure_contract
from interlock.agents.supervision.house import keep_server
from interlock.agents.supervision.room import keep_room
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import ensure_keys, load_roots
from interlock.agents.workspace.trust_source import publish_trust
from interlock.bus.errors import BusError
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations
from interlock.bus.tasks import background
from interlock.bus.transport import Transport
from scripts.campaigns.crew import crew
from scripts.campaigns.lines import SKILLS
from scripts.campaigns.load import WORKSPACE, Load, all_answer, audited, prepared
from scripts.campaigns.result import Result

MUST_BE = "typed error <= 5 s, admission closed, all goes on by itself after room is made"
SIZE_MB = 96
TYPED_S = 5.0
MOST_LET_IN = 8


async def campaign(root: Path, times: int, seed: int) -> Result:
    layout, settings = prepared(root, "fast")
    ensure_keys(layout, settings.workspace)
    chain = ensure_contract(layout, settings, config_dir())
    small = root / "small"
    small.mkdir()
    failures: list[str] = []
    slowest, fitted = 0.0, 0
    async with mounted(small) as problem:
        if problem:
            return Result(campaign="disk", skipped=f"no tmpfs can be mounted here: {problem}")
        async with (
            EmbeddedServer(small / "store", "fast") as server,
            JetStreamTransport.connect(server.url, name="campaign") as transport,
            background() as keeping,
        ):
            keeping.start_soon(keep_server, server, layout, server.url)
            keeping.start_soon(keep_room, [server])
            await transport.declare(declarations((WORKSPACE,)))
            await publish_trust(transport, WORKSPACE, layout.trust.read_bytes(), load_roots(layout))
            await exchange(transport, layout, chain)
            load = Load(transport, root)
            with crew(root, server.url, root / "points", SKILLS):
                await all_answer(transport)
                for number in range(times):
                    await load.wait(await load.submit())
                    goal_id, ballast = await load.submit(pause_ms=300), small / "ballast"
                    fill(ballast)
                    took, told = await until_refused(transport)
                    slowest = max(slowest, took)
                    if not told or took > TYPED_S:
                        failures.append(f"time {number}: {told or 'no error'} after {took:.1f} s")
                    let_in = await admitted(load, f"full-{number}")
                    if len(let_in) == MOST_LET_IN:
                        failures.append(f"time {number}: goals were let in while the disk was full")
                    fitted += len(let_in)
                    ballast.unlink()
                    for one in (goal_id, *let_in):
                        await load.wait(one)
                    await load.wait(await load.submit())
                verdict = await audited(transport, layout)
    failures += load.failures()
    failures += [f"audit: {finding.kind} {finding.stream} {finding.sequence}" for finding in verdict.findings]
    figures = load.figures() | {"slowest error s": round(slowest, 2), "fitted in": fitted}
    return Result(campaign="disk", amount=times, must_be=MUST_BE, figures=figures, failures=failures[:20])


@asynccontextmanager
async def mounted(place: Path) -> AsyncIterator[str]:
    """A small tmpfs; why not, if it may not be."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(place)]
    try:
        done = await anyio.run_process(command, check=False)
    except OSError as error:
        yield str(error)
        return
    if done.returncode:
        yield done.stderr.decode().strip()[:120] or f"mount ended with {done.returncode}"
        return
    try:
        yield ""
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.run_process(["umount", "-l", str(place)], check=False)


def fill(ballast: Path) -> None:
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return


async def until_refused(transport: Transport) -> tuple[float, str]:
    """How long the publish took that was refused first, and how it was refused; some may still fit into open pages."""
    for _ in range(64):
        began = anyio.current_time()
        try:
            with anyio.fail_after(30):
                await transport.publish(f"interlock.{WORKSPACE}.audit.witness", bytes(64 * 1024))
        except BusError as error:
            return anyio.current_time() - began, f"{error.reason}: {error}"
        except TimeoutError:
            return anyio.current_time() - began, ""
    return 0.0, ""


async def admitted(load: Load, name: str) -> list[str]:
    """The goals that were let in before one was not: as with a publish, some may still fit into open pages. They are held
    to their end like any other.
    """
    let_in: list[str] = []
    for number in range(MOST_LET_IN):
        goal_id = await load.offer(f"{name}-{number}")
        if not goal_id:
            break
        let_in.append(goal_id)
    return let_in
