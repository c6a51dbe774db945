"""The loop over real roles, the real sandbox and the project's API server in a process of its own: what is done to the
cluster, by whose approval, and what is taken back byte by byte.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.approvals.view import ApprovalStatus, read_approval, read_approvals
from interlock.agents.blueprints.bus_goals import BusGoals
from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.eyes import SimulatedEyes, simulated_eyes
from interlock.agents.blueprints.fleet import Fleet
from interlock.agents.blueprints.loop import Loop
from interlock.agents.blueprints.resetting import Resets
from interlock.agents.blueprints.told import Told
from interlock.agents.blueprints.watched import Watched
from interlock.agents.blueprints.world import World, running_world
from interlock.agents.wiring import running
from interlock.skills.infrastructure.cluster.client import open_cluster
from interlock.skills.infrastructure.cluster.outcomes import canonical_spec
from interlock.skills.infrastructure.decision.record import DecisionRecord
from tests.agents.approvals.humans import decide
from tests.agents.conftest import ROLES, InProcess

pytestmark = [pytest.mark.anyio, pytest.mark.process]
EXAMPLE = Path(__file__).parents[3] / "examples/03-blueprint"


class Stage:
    """The example's frontend under watch by real roles."""

    def __init__(self, house: InProcess, world: World, eyes: SimulatedEyes, root: Path) -> None:
        self.house, self.world, self.eyes = house, world, eyes
        self.approves: bool | None = True
        self.spec_before = ""
        self.told: list[Told] = []
        self.log = DecisionLog(root / "log")
        goals = BusGoals(house.transport, house.workspace, lambda: house.keys.trust, self._refuse, self._answer)
        clock = house.transport.clock
        resets = Resets(lambda: house.keys.trust, clock)
        self.loop = Loop(eyes, goals, self.log, Fleet(root / "keep"), clock, resets=resets, tell=self.told.append)
        shutil.copytree(EXAMPLE / "blueprints", root / "blueprints")
        self.blueprint = root / "blueprints/frontend/blueprint.yaml"
        self.frontend = Watched(self.blueprint, root / "keep")

    async def _refuse(self, goal_id: str, why: str) -> bool:
        for status in await read_approvals(self.house.transport, self.house.workspace):
            if status.goal_id == goal_id and status.state == "pending":
                await decide(self.house, status, allows=False, reason=why)
        return False

    async def _answer(self, goal_id: str) -> None:
        """A human at a terminal: answers what the goal asks, if it asks, until it has ended."""
        while self.approves is not None:
            for status in await read_approvals(self.house.transport, self.house.workspace):
                if status.goal_id == goal_id and status.state == "pending":
                    await decide(self.house, status, allows=self.approves)
                    return
            await anyio.sleep(0.01)

    async def until(self, outcome: str, operation: str, looks: int = 40) -> DecisionRecord:
        """Looks every 15 s of the world until a decision about that operation ended so."""
        for _ in range(looks):
            await self.eyes.pass_time(15_000)
            if self.frontend.memory.pending is None:
                self.spec_before = await self.spec()
            await self.loop.look(self.frontend)
            for record in self.log.records():
                if (record.outcome, record.decision.governance_check.operation) == (outcome, operation):
                    return record
        raise AssertionError([told.text for told in self.told])

    async def writes(self) -> list[dict[str, Any]]:
        """What was written to the cluster, as its server saw it."""
        seen = await anyio.to_thread.run_sync(self.world.fake.requests)
        return [entry for entry in seen if entry["verb"] in ("patch", "update", "delete", "create")]

    async def spec(self) -> str:
        async with open_cluster(self.eyes.access / "kubeconfig") as cluster:
            return canonical_spec(await cluster.get("Deployment", "todo", "todo-frontend"))


@pytest.fixture
async def stage(quiet_house: InProcess, tmp_path: Path) -> AsyncIterator[Stage]:
    access = tmp_path / "cluster"
    access.mkdir()
    async with AsyncExitStack() as stack:
        world = stack.enter_context(running_world(EXAMPLE / "world.yaml", access))
        for role in ROLES:
            await stack.enter_async_context(running(role, quiet_house.parts(role)))
        eyes = await stack.enter_async_context(simulated_eyes(world, access, lambda _at, _event: None))
        yield Stage(quiet_house, world, eyes, tmp_path)


memory = pytest.mark.parametrize("quiet_house", ["memory"], indirect=True)


@memory
async def test_an_approved_change_is_made_once_and_every_hop_of_it_verifies(stage: Stage) -> None:
    record = await stage.until("success", "modify_deployment_strategy")
    check = record.decision.governance_check
    assert (check.status, check.approved_by) == ("requires_approval", "human")
    assert record.verification is not None and record.verification.targets_met
    async with open_cluster(stage.eyes.access / "kubeconfig") as cluster:
        live = await cluster.get("Deployment", "todo", "todo-frontend")
    assert live["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert {(entry["resource"], entry["name"]) for entry in await stage.writes()} == {("deployments", "todo-frontend")}
    messages = await stage.house.messages("HOPS", "role", ">")
    goals = {msgspec.json.decode(message.data)["goalId"] for message in messages}
    for goal in goals:
        audited = await stage.house.audited(goal)
        assert audited.hops == audited.verified
    assert await stage.house.messages("DEAD", "dead", ">") == []


@memory
async def test_what_has_no_room_is_taken_back_byte_by_byte(stage: Stage) -> None:
    stage.world.fake.configure(replace(stage.world.settings, node_cpu_m=60))
    record = await stage.until("rolled_back", "scale_within_limits")
    assert record.verification is not None and not record.verification.targets_met
    assert "pods are ready" in record.verification.rationale
    assert await stage.spec() == stage.spec_before
    assert stage.frontend.memory.history.breaker.failures == 1


@memory
async def test_a_refused_approval_writes_nothing(stage: Stage) -> None:
    stage.approves = False
    record = await stage.until("rejected", "modify_deployment_strategy")
    assert record.execution is None
    async with open_cluster(stage.eyes.access / "kubeconfig") as cluster:
        live = await cluster.get("Deployment", "todo", "todo-frontend")
    assert live["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}


@memory
async def test_a_change_of_the_blueprint_voids_the_approval_that_is_open(stage: Stage) -> None:
    """The old approval is refused with its reason, a human's late yes to it does nothing, and the new blueprint decides."""
    stage.approves = None
    house = stage.house
    await stage.eyes.pass_time(15_000)
    async with anyio.create_task_group() as group:
        group.start_soon(stage.loop.look, stage.frontend)
        old = await _asked(house)
        began = anyio.current_time()
        text = stage.blueprint.read_text().replace("version: 1.1.0", "version: 1.2.0")
        stage.blueprint.write_text(text.replace("max_surge: 1", "max_surge: 2"))
        new = await _asked(house, but=old.approval_id)
        assert anyio.current_time() - began < 60
        refused = await read_approval(house.transport, house.workspace, old.goal_id, old.approval_id)
        assert refused is not None and refused.state == "rejected"
        assert refused.decisions[0].reason.startswith("blueprint_changed: ")
        await decide(house, old, allows=True)
        await decide(house, new, allows=True)
    outcomes = [(record.outcome, record.decision.governance_check.operation) for record in stage.log.records()]
    assert outcomes == [("withdrawn", "modify_deployment_strategy")]
    async with open_cluster(stage.eyes.access / "kubeconfig") as cluster:
        live = await cluster.get("Deployment", "todo", "todo-frontend")
    assert live["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}
    assert len(await stage.writes()) == 1
    assert stage.frontend.memory.pending is not None


async def _asked(house: InProcess, but: str = "") -> ApprovalStatus:
    """The approval that waits, but for one, once another does."""
    with anyio.fail_after(30):
        while True:
            for status in await read_approvals(house.transport, house.workspace):
                if status.state == "pending" and status.approval_id != but:
                    return status
            await anyio.sleep(0.02)
