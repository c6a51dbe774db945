"""A service in a variable, and goals that run their playbook in this process: real skills but for the one that acts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from interlock.agents.blueprints.ports import Ended
from interlock.agents.goal.references import dig, resolve
from interlock.agents.planning.playbooks import load_playbook
from interlock.agents.status import GoalStatus
from interlock.bus.clock import ManualClock
from interlock.envelope.payloads import Ground, TaskResult
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.handing_on import DECISION, Decided
from interlock.skills.infrastructure.observed import ObservedState, PodState, RolloutState, Sample
from interlock.skills.infrastructure.operations import Scale
from tests.skills.bundled.playbook_run import CONFIG, run_skill

START_MS = 1_770_735_600_000


class ToyCluster:
    """Eyes on one service per blueprint; `load` is the CPU each pod uses, in percent of its request. blind: cannot be seen."""

    def __init__(self, access: Path) -> None:
        self.clock = ManualClock(START_MS)
        self.access = access
        self.replicas: dict[str, int] = {}
        self.ready: dict[str, int | None] = {}
        self.load: dict[str, int] = {}
        self.version = 1
        self.blind = False

    def now_ms(self) -> int:
        return self.clock.now_ms()

    async def pass_time(self, ms: int) -> None:
        self.clock.advance(ms)

    async def observe(self, blueprint: Blueprint) -> ObservedState:
        if self.blind:
            raise SkillsError("not_reached", "cannot reach it")
        now, name = self.now_ms(), blueprint.name
        count = self.replicas.setdefault(name, 2)
        ready = self.ready.get(name) if self.ready.get(name) is not None else count
        used = blueprint.resources.cpu.request_m * self.load.get(name, 50) // 100
        pods = tuple(
            PodState(
                name=f"{name}-{index}",
                uid=f"{name}-{index}",
                ready=True,
                ready_changed_ms=now - 3_600_000,
                started_ms=now - 3_700_000,
                cpu_m=used,
                memory_bytes=blueprint.resources.memory.request_bytes // 2,
                usage_at_ms=now,
                usage_window_ms=15_000,
            )
            for index in range(ready or 0)
        )
        metrics = [Sample(name="latency_p95_us", value=100_000, at_ms=now)]
        return ObservedState(
            target=replace(blueprint.unread_target, uid=f"uid-{name}", resource_version=str(self.version)),
            at_ms=now,
            replicas=count,
            ready_replicas=min(ready or 0, count),
            pods=pods,
            metrics=tuple(metrics),
            container=blueprint.target.container,
            resources=blueprint.resources.of_container(),
            pod_cpu_request_m=blueprint.resources.cpu.request_m,
            pod_memory_request_bytes=blueprint.resources.memory.request_bytes,
            rollout=RolloutState(revision=1),
        )


def dug(known: dict[str, Any], parts: list[str]) -> Any:
    return dig(known, parts, ".".join(parts))


class ToyGoals:
    """Runs a goal's playbook task by task. approve: what a human says, None: nothing until the goal is withdrawn, which
    stops it without an end if `halts`; act: what the execution answers instead of scaling.
    """

    def __init__(self, cluster: ToyCluster, place: Path) -> None:
        self._cluster = cluster
        self._place = place
        self.ran: list[tuple[str, dict[str, Any]]] = []
        self.approve: bool | None = True
        self.asked = anyio.Event()
        self.withdrawn: list[tuple[str, str]] = []
        self.halts = False
        self._refused = anyio.Event()
        self.tampered = ""
        self.act: Callable[[], dict[str, Any]] | None = None
        self.crash_before_end = False
        self.proposals: dict[str, bytes] = {}

    async def run(self, goal: dict[str, Any], goal_id: str) -> Ended:
        goal = json.loads(json.dumps(goal))
        self.ran.append((goal_id, goal))
        playbook = load_playbook(CONFIG / "playbooks" / f"{goal['playbook']}.yaml")
        results: dict[str, TaskResult] = {}
        files: dict[str, Path] = {}
        for number, task in enumerate(playbook.tasks):
            outputs = {name: {"output": result.output} for name, result in results.items()}
            known = {"inputs": goal["inputs"], "tasks": outputs}
            given: dict[str, Any] = resolve(task.input, partial(dug, known))
            if task.skill == "approved-execution-engine" and self.approve is None:
                self.asked.set()
                await self._refused.wait()
                return self._ended(goal_id, results, "approval_denied")
            if task.skill == "approved-execution-engine" and not self.approve:
                return self._ended(goal_id, results, "approval_denied")
            out = self._place / f"{goal_id}-{len(self.ran)}-{number}"
            if task.skill.endswith("execution-engine"):
                output = self._executed(given, files)
            else:
                output = run_skill(task.skill, out, given, dict(files))
                files |= {path.name: path for path in out.iterdir()}
            if task.id == "decide" and self.tampered:
                output["id"] = self.tampered
            findings = output.pop("findings", [])
            results[task.id] = TaskResult(
                task_id=task.id, attempt=1, skill=task.skill, skill_digest="d", outcome="done", output=output
            )
            if any(finding["blocks"] for finding in findings):
                return self._ended(goal_id, results, findings[0]["id"])
        if self.crash_before_end:
            self.crash_before_end = False
            raise ConnectionError("the watcher dies here")
        return self._ended(goal_id, results, "")

    async def withdraw(self, goal_id: str, why: str) -> bool:
        self.withdrawn.append((goal_id, why))
        if not self.halts:
            self._refused.set()
        return self.halts

    def _executed(self, given: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
        answer = {
            "status": "done",
            "reason": "",
            "detail": "",
            "durationMs": 5,
            "undo": {"replicas": 0},
            "proposal": "",
        }
        if "met" in given:
            if given["met"]:
                return answer | {"status": "not_needed"}
            self._cluster.replicas |= given["undo"]["before"]
            self._cluster.ready.clear()
            self._cluster.version += 1
            return answer | {"status": "rolled_back", "detail": "as before"}
        if self.act is not None:
            return answer | self.act()
        operation = msgspec.json.decode(files[DECISION].read_bytes(), type=Decided).decision.operation
        assert isinstance(operation, Scale)
        name = operation.target.name
        self._cluster.version += 1
        self._cluster.replicas[name] = operation.replicas
        return answer | {"undo": {"before": {name: operation.from_replicas}}}

    def _ended(self, goal_id: str, results: dict[str, TaskResult], code: str) -> Ended:
        grounds = [Ground(code=code.replace("-", "_"), message=f"{code} it is")] if code else []
        status = GoalStatus(
            goal_id=goal_id,
            workspace="w",
            goal="g",
            phase="ended",
            outcome="blocked" if code else "released",
            grounds=grounds,
        )
        return Ended(goal_id, status, results, "human" if self.approve else "", self.proposals)
