"""A goal of about a thousand hops: replayed from its bundle (reading and deciding), its bundle made and verified."""

from __future__ import annotations

import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from interlock.agents.audit.bundle import make_bundle
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.replay.code import load_code
from interlock.agents.replay.decide import replay
from interlock.agents.replay.recording import from_bundle
from interlock.agents.wiring import running
from interlock.bus.clock import SystemClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from tests.agents.conftest import CONFIG, HERE, ROLES, InProcess, Keys

WORKSPACE = "bench"
TASKS = 331  # three hops each, and a handful around them


async def bundled(place: Path) -> tuple[bytes, str, float]:
    """(the bundle, its root key, seconds it took to make)."""
    transport = MemoryTransport(SystemClock())
    await transport.declare(declarations((WORKSPACE,)))
    keys = Keys(WORKSPACE)
    seed = place / "auditor.nk"
    seed.write_text(keys.agents["auditor"].seed_text())
    house = InProcess(transport, WORKSPACE, keys, place)
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, house.parts(role)))
        tasks = [{"id": f"t{number}", "skill": "doing-nothing"} for number in range(TASKS)]
        goal_id = (await house.submit(house.goal(tasks)))["goalId"]
        await house.ended(goal_id, within_s=300)
        await house.audited(goal_id, within_s=60)
        await anyio.sleep(2)  # until a checkpoint covers it: that is not the bundle's work
        began = time.perf_counter()
        path = await make_bundle(
            transport,
            WORKSPACE,
            goal_id,
            trust=keys.signed,
            roots=[keys.root.key_id],
            contract=[version.data for version in keys.chain.versions],
            key_uri=f"file:{seed}",
            out=place / "bundle.json.gz",
        )
        return path.read_bytes(), keys.root.key_id, time.perf_counter() - began


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        data, root, made_s = anyio.run(bundled, Path(place))
    began = time.perf_counter()
    verdict = verify_bundle(data, [root])
    verified_s = time.perf_counter() - began
    began = time.perf_counter()
    recording = from_bundle(data, [root])
    read_s = time.perf_counter() - began
    code = load_code(CONFIG, skills=(HERE / "skills",), playbooks=(), workspace=WORKSPACE, environment="development")
    began = time.perf_counter()
    report = replay(recording, code)
    decided_s = time.perf_counter() - began
    if not verdict.valid or not verdict.logged or report.first is not None:
        raise SystemExit(f"the bundle is not what it should be: {verdict.checks} {report.first}")
    return {
        "bundle_1000_made_s": made_s,
        "bundle_1000_verified_s": verified_s,
        "replay_read_hops_per_s": report.hops / read_s,
        "replay_decide_hops_per_s": report.hops / decided_s,
    }
