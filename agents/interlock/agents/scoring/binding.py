"""SC-009, its second half: what an approval covers, asked of what really decides it. The executor asks whether a human signed
the digest of exactly this task; the execution writes only to the object, in the version, that this task names.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec

from interlock.agents.scoring.workloads import written
from interlock.envelope.amounts import ZERO, timestamp
from interlock.envelope.approval import ApprovalTerms, judge_evidence, task_action
from interlock.envelope.children import Draft, Origin, derive
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import Approval, HumanDecision, Task
from interlock.envelope.signing import seal
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.governing import action_digest
from interlock.skills.infrastructure.operations import ModifyStrategy, Operation, PatchResources, Scale
from interlock.skills.infrastructure.target import RolloutSettings, Target
from interlock.skills.infrastructure.telling import summary

_AT_MS = 1_700_000_000_000
_DAY_MS = 86_400_000
_SKILL = "approved-execution-engine"
_CONTEXT = PolicyContext(policy_bundle="sha256:" + "0" * 64, contract_ref="sha256:" + "0" * 64, capabilities=[])
_WRITES = ("create", "update", "patch", "delete")


class Human:
    """Somebody with an enrolled key who approves tasks of one goal."""

    def __init__(self) -> None:
        root, self._key = SigningKey.generate("O"), SigningKey.generate("U")
        window = {"not_before": timestamp(_AT_MS - _DAY_MS), "not_after": timestamp(_AT_MS + _DAY_MS)}
        keys = [KeyRecord(key_id=self._key.key_id, **window)]
        human = AgentRecord(agent="human", keys=keys, capabilities=["approve:*"], trust_level=100)
        store = TrustStore(workspace="score", version=1, issued_at=timestamp(_AT_MS), agents=[human])
        self.trust: Trust = load(sign_store(store, [root]), [root.key_id])
        self.goal_id = new_id(_AT_MS)

    def approves(self, task: Task) -> Approval:
        """What the executor is handed as evidence."""
        action = task_action(self.goal_id, task, _CONTEXT)
        asked = Origin(
            id=new_id(_AT_MS),
            digest="0" * 64,
            workspace="score",
            goal_id=self.goal_id,
            trace_id="1" * 32,
            deadline_ms=_AT_MS + _DAY_MS,
            budget=ZERO,
            risk_tier="limited",
            policy_context=_CONTEXT,
            compliance_tags=[],
        )
        approval_id = new_id(_AT_MS)
        decision = HumanDecision(
            about=approval_id, decision="allow", reason="", by="human", action_digest=action.digest
        )
        draft = Draft(to="orchestrator", intent="observe", payload=decision, step="decision:allow")
        envelope = derive(asked, draft, sender="human", key_id=self._key.key_id, now_ms=_AT_MS)
        wire = seal(envelope, self._key).wire.decode()
        return Approval(approval_id=approval_id, operation=action.operation, target=action.target, decisions=[wire])

    def covers(self, approval: Approval, task: Task) -> bool:
        """Whether an executor would begin this task by it."""
        action = task_action(self.goal_id, task, _CONTEXT)
        return judge_evidence(
            action, approval, goal_id=self.goal_id, trust=self.trust, now_ms=_AT_MS + 1_000, terms=ApprovalTerms()
        ).allowed


def signed(operation: Operation) -> Iterator[tuple[str, bool]]:
    """Each check of what a signature covers, and whether it came out as it must."""
    human, target = Human(), operation.target
    approval = human.approves(_task(operation))

    def of(target: Target) -> Task:
        return _task(msgspec.structs.replace(operation, target=target))

    yield "the approval covers what was asked", human.covers(approval, _task(operation))
    newer, other = (
        msgspec.structs.replace(target, resource_version="101"),
        msgspec.structs.replace(target, uid="uid-9"),
    )
    yield "it does not cover the object after a change", not human.covers(approval, of(newer))
    yield "it does not cover another object of the name", not human.covers(approval, of(other))
    unasked = Scale(target=target, from_replicas=0, replicas=77_777)
    yield "it does not cover another operation", not human.covers(approval, _task(unasked))
    dry = msgspec.structs.replace(_task(operation), skill="execution-engine")
    yield "it does not cover another skill", not human.covers(approval, dry)
    stranger = Human()
    stranger.goal_id = human.goal_id
    yield "a stranger's key approves nothing", not human.covers(stranger.approves(_task(operation)), _task(operation))


def _task(operation: Operation) -> Task:
    """As the playbook of approved actions hands it to the executor."""
    given: dict[str, Any] = {
        "cluster": "/access",
        "summary": summary(operation),
        "actionDigest": action_digest(operation),
        "dryRun": False,
    }
    return Task(task_id="execute", attempt=1, skill=_SKILL, input=given, now=timestamp(_AT_MS))


def conditional(blueprints: Sequence[Blueprint]) -> list[tuple[str, bool]]:
    """The same of writes to the simulated cluster, over its API: what was approved is not done to an object that is another
    or has changed since, and is done to the one that was seen.
    """
    with tempfile.TemporaryDirectory(prefix="interlock-score-") as directory:
        return anyio.run(_conditional, blueprints, Path(directory)) if blueprints else []


async def _conditional(blueprints: Sequence[Blueprint], directory: Path) -> list[tuple[str, bool]]:
    from interlock.skills.infrastructure.cluster.client import open_cluster

    found = []
    with FakeCluster(directory, objects=[written(blueprints, directory)]) as fake:
        async with open_cluster(fake.kubeconfig) as cluster:
            for blueprint in blueprints:
                for like in _restricted(blueprint):
                    found += [check async for check in _written(fake, cluster, blueprint, like, directory)]
    return found


def _restricted(blueprint: Blueprint) -> list[Operation]:
    """What usually needs an approval and can be done to any workload; their targets are put in when they are seen."""
    bare, before = blueprint.unread_target, blueprint.resources.of_container()
    cpu_m = blueprint.resources.cpu.limit_m * 2
    after = msgspec.structs.replace(before, cpu_limit_m=cpu_m)
    operations: list[Operation] = [
        Scale(target=bare, from_replicas=blueprint.scaling.min_replicas, replicas=blueprint.scaling.max_replicas + 1),
        PatchResources(target=bare, container=blueprint.target.container, before=before, after=after),
    ]
    if blueprint.target.kind == "Deployment":
        operations.append(ModifyStrategy(target=bare, settings=RolloutSettings(strategy="Recreate")))
    return operations


async def _written(fake: FakeCluster, cluster: Any, blueprint: Blueprint, like: Operation, directory: Path) -> Any:
    from interlock.skills.infrastructure.cluster.client import MERGE
    from interlock.skills.infrastructure.cluster.execution import Executor
    from interlock.skills.infrastructure.cluster.outcomes import target_of

    target, executor = blueprint.target, Executor(cluster, proposals=directory)
    place = (target.kind, target.namespace, target.name)

    async def done(seen: Target) -> tuple[str, int]:
        """(what came of it, how much was written)."""
        fake.forget_requests()
        outcome = await executor.execute(msgspec.structs.replace(like, target=seen))
        writes = sum(request["verb"] in _WRITES for request in fake.requests())
        return outcome.reason or outcome.status, writes

    seen = target_of(await cluster.get(*place), target.kind)
    await cluster.patch(*place, {"metadata": {"annotations": {"by": type(like).__name__}}}, MERGE)
    yield "what changed after it was approved is not written", await done(seen) == ("object_changed", 0)
    now = target_of(await cluster.get(*place), target.kind)
    other = msgspec.structs.replace(now, uid="uid-9")
    yield "another object of the name is not written", await done(other) == ("object_changed", 0)
    yield "what stands as it was approved is written once", await done(now) == ("done", 1)
