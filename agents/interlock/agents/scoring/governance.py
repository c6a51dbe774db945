"""SC-004 compliance, SC-009 approvals: every operation against the tiers, every approval against its time and its object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from interlock.agents.approvals.book import Approval, Vote
from interlock.agents.scoring.binding import conditional, signed
from interlock.agents.scoring.model import Score, Subject, share
from interlock.envelope.amounts import timestamp
from interlock.envelope.payloads import ApprovalRequest
from interlock.envelope.verdict import Decision
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.governing import action_digest, govern_operation, ruling
from interlock.skills.infrastructure.observed import ObservedState, PodState
from interlock.skills.infrastructure.operations import (
    ChangeNetworkPolicy,
    ChangeProbes,
    DeleteResource,
    ModifySecret,
    ModifyStrategy,
    Operation,
    PatchResources,
    PodName,
    RestartPods,
    RolloutUndo,
    Scale,
    operation_name,
)
from interlock.skills.infrastructure.target import ContainerResources, RolloutSettings, Target

_HOUR_MS = 3_600_000
_AT_MS = 1_000_000_000_000
_OUGHT = {"allowed": Decision.ALLOW, "requires_approval": Decision.NEEDS_APPROVAL, "forbidden": Decision.DENY}


def every_operation(blueprint: Blueprint) -> Iterator[tuple[Operation, ObservedState]]:
    """One of every kind that has a name, with the state it would be done to."""
    bare = blueprint.unread_target
    target = msgspec.structs.replace(bare, uid="uid-1", resource_version="100")
    scaling, wanted = blueprint.scaling, blueprint.resources.of_container()
    state = ObservedState(
        target=target,
        at_ms=_AT_MS,
        replicas=scaling.min_replicas,
        ready_replicas=scaling.min_replicas,
        pods=(PodState(name="sick", uid="1", failing="CrashLoopBackOff"), PodState(name="well", uid="2")),
        resources=wanted,
    )
    container = blueprint.target.container
    changed = [_times(wanted, 105), _times(wanted, 200)]
    operations: list[Operation] = [
        Scale(target=target, from_replicas=scaling.min_replicas, replicas=scaling.max_replicas),
        Scale(target=target, from_replicas=scaling.min_replicas, replicas=scaling.max_replicas + 1),
        *(PatchResources(target=target, container=container, before=wanted, after=after) for after in changed),
        RestartPods(target=target, pods=(PodName(name="sick", uid="1"),)),
        RestartPods(target=target, pods=(PodName(name="well", uid="2"),)),
        RolloutUndo(target=target, to_revision=1),
        ModifyStrategy(target=target, settings=RolloutSettings(strategy="Recreate")),
        ChangeProbes(target=target, container=container),
        DeleteResource(target=target),
    ]
    for kind in ("Service", "PersistentVolumeClaim", "ConfigMap"):
        other = Target(namespace=target.namespace, kind=kind, name=target.name, uid="uid-2", resource_version="1")
        operations.append(DeleteResource(target=other))
    operations += [ModifySecret(target=target), ChangeNetworkPolicy(target=target)]
    for operation in operations:
        yield operation, state


def _times(resources: ContainerResources, percent: int) -> ContainerResources:
    """Limits raised so far that no rounding makes more of it."""
    values = {name: getattr(resources, name) for name in resources.__struct_fields__}
    return ContainerResources(**{name: value * percent // 100 for name, value in values.items() if value is not None})


def compliance(subjects: Sequence[Subject]) -> Score:
    """SC-004: no verdict that differs from the tiers, and nothing was carried out in the hour that they do not allow."""
    asked, violations = 0, []
    for subject in subjects:
        blueprint = subject.blueprint
        for operation, state in every_operation(blueprint):
            name = operation_name(operation, blueprint.scaling, state)
            ought = _OUGHT[ruling(blueprint, name, subject.policies).tier]
            got = govern_operation(blueprint, operation, state, subject.policies).decision
            listed = name in blueprint.governance.allowed_operations or name == "roll_back"
            asked += 1
            if got is not ought or (got is Decision.ALLOW and not listed):
                violations.append(f"{blueprint.name}: {name}: {got}, the tier says {ought}")
    done = [(s, step) for s in subjects for step in s.steps if step.fate == "done"]
    for subject, step in done:
        operation_done = step.decision.operation
        if (
            operation_done is None
            or not govern_operation(subject.blueprint, operation_done, step.state, subject.policies).allowed
        ):
            violations.append(f"{subject.blueprint.name}: carried out without being allowed at {step.state.at_ms} ms")
    return Score(
        criterion="SC-004",
        title="Governance compliance",
        target="0 violations, 100 % of restricted operations need approval",
        met=asked > 0 and not violations,
        measured=f"{len(violations)} violations",
        evidence=(
            f"{asked} operations of every kind against their tiers, {len(done)} that were carried out in the hours",
            *violations,
        ),
    )


def approvals(subjects: Sequence[Subject]) -> Score:
    """SC-009: restricted operations wait, end at their time, and an approval covers one operation on one object."""
    good, all_, wrong = 0, 0, list[str]()
    for subject in subjects:
        blueprint = subject.blueprint
        for operation, state in every_operation(blueprint):
            verdict = govern_operation(blueprint, operation, state, subject.policies)
            if verdict.decision is not Decision.NEEDS_APPROVAL:
                continue
            name = operation_name(operation, blueprint.scaling, state)
            found = [*_waits(name, operation, blueprint), *signed(operation)]
            all_ += len(found)
            good += sum(holds for _, holds in found)
            wrong += [f"{blueprint.name}: {name}: not so: {what}" for what, holds in found if not holds]
    writes = conditional([subject.blueprint for subject in subjects]) if all_ else []
    wrong += [f"on the cluster, not so: {what}" for what, holds in writes if not holds]
    good, all_ = good + sum(holds for _, holds in writes), all_ + len(writes)
    return Score(
        criterion="SC-009",
        title="Approval workflow reliability",
        target="100 % of restricted operations wait, time out after 1 h",
        met=good == all_ > 0,
        measured=share(good, all_),
        evidence=(
            "checks: pending until the time is up, then timed out; late votes do not count; a signature covers one task on one "
            "object in one version, as the executor asks it",
            f"{len(writes)} of them on the simulated cluster: nothing is written to an object that changed since",
            *wrong,
        ),
    )


def _waits(name: str, operation: Operation, blueprint: Blueprint) -> Iterator[tuple[str, bool]]:
    within_ms = blueprint.governance.approval_timeout_ms
    request = ApprovalRequest(
        approval_id="01890000-0000-7000-8000-000000000000",
        operation=name,
        target=str(operation.target),
        arguments={},
        action_digest=action_digest(operation),
        question=f"{name} of {operation.target}?",
        grounds=[],
        needed=1,
        expires_at=timestamp(_AT_MS + within_ms),
    )
    yield "it waits at most an hour", 0 < within_ms <= _HOUR_MS
    waiting = Approval(request, _AT_MS)
    yield "it is pending at once", waiting.is_open
    yield "it is pending just before its time", not waiting.expire(_AT_MS + within_ms - 1) and waiting.is_open
    yield "it is timed out at its time", waiting.expire(_AT_MS + within_ms) and waiting.state == "timed_out"
    late = Approval(request, _AT_MS)
    vote = Vote(decider="human", by="human", allows=True, reason="", at_ms=_AT_MS + within_ms)
    yield "a late vote does not count", late.take(vote) and late.state == "timed_out"
