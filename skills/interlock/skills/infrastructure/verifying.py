"""Whether an operation did what the blueprint wanted of it (FR-007, FR-017). Pure: what was seen before and after.

What cannot be seen is not verified. More replicas are never taken back because of a target that is violated: fewer would
not keep it.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.decide import figures
from interlock.skills.infrastructure.decision.evidence import gather, shown
from interlock.skills.infrastructure.decision.recovery import failing_pods
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import (
    ChangeProbes,
    HelmUpgrade,
    ModifyStrategy,
    Operation,
    PatchResources,
    RestartPods,
    RolloutUndo,
    Scale,
)


class Miss(Struct, frozen=True, kw_only=True):
    """One thing that is not as wanted, and the place in the blueprint that wants it."""

    text: str
    reference: str


class Verified(Struct, frozen=True, kw_only=True):
    """met: nothing is amiss. figures: what was seen afterwards, as the decision log tells it."""

    met: bool
    misses: tuple[Miss, ...]
    figures: dict[str, int]

    @property
    def rationale(self) -> str:
        """In one line."""
        if self.met:
            return "The object is as asked, its pods are ready, and no target was lost."
        return " ".join(f"{miss.text[:1].upper()}{miss.text[1:]} ({miss.reference})." for miss in self.misses)


def verify(
    blueprint: Blueprint, operation: Operation, before: ObservedState, after: ObservedState, now_ms: int
) -> Verified:
    """before: what the decision saw; after: what is seen when its effect had its time."""
    misses = (
        *_as_asked(operation, before, after),
        *_healthy(before, after),
        *_targets(blueprint, operation, before, after, now_ms),
    )
    return Verified(met=not misses, misses=misses, figures=figures(after, gather(blueprint, after, now_ms)))


def _as_asked(operation: Operation, before: ObservedState, after: ObservedState) -> Iterator[Miss]:
    if after.target.uid != operation.target.uid:
        yield Miss(text=f"{operation.target} is another object now", reference="spec.target")
        return
    match operation:
        case Scale(replicas=replicas) if after.replicas != replicas:
            yield Miss(text=f"{after.replicas} replicas are asked for, not {replicas}", reference="spec.scaling")
        case PatchResources(after=wanted) if after.resources != wanted:
            yield Miss(text="requests and limits are not those that were set", reference="spec.resources")
        case ModifyStrategy(settings=wanted) if after.settings != wanted:
            yield Miss(text="the strategy is not the one that was set", reference="spec.deployment")
        case ChangeProbes(readiness=readiness, liveness=liveness) if readiness not in (
            None,
            after.readiness,
        ) or liveness not in (None, after.liveness):
            yield Miss(text="the probes are not those that were set", reference="spec.reliability")
        case RestartPods(pods=pods) if {pod.uid for pod in pods if pod.uid} & {pod.uid for pod in after.pods}:
            yield Miss(text="a pod that was to be replaced is still there", reference="spec.reliability")
        case RolloutUndo() if _revision(after) is None or _revision(after) == _revision(before):
            yield Miss(text="no other revision runs than before", reference="spec.reliability.rollback_on_failure")
        case HelmUpgrade(change=change):
            yield from _as_asked(change, before, after)


def _healthy(before: ObservedState, after: ObservedState) -> Iterator[Miss]:
    if after.ready_replicas < after.replicas:
        text = f"{after.ready_replicas} of {after.replicas} pods are ready"
        yield Miss(text=text, reference="spec.reliability.health_check_timeout")
    if after.rollout is not None and (after.rollout.failing or not after.rollout.complete):
        text = f"the rollout is not done{f': {after.rollout.failing}' if after.rollout.failing else ''}"
        yield Miss(text=text, reference="spec.reliability.health_check_timeout")
    known = {pod.name for pod in failing_pods(before)}
    for pod in failing_pods(after):
        if pod.name not in known:
            yield Miss(text=f"pod {pod.name} cannot run: {pod.failing}", reference="spec.reliability")


def _targets(
    blueprint: Blueprint, operation: Operation, before: ObservedState, after: ObservedState, now_ms: int
) -> Iterator[Miss]:
    if isinstance(operation, Scale) and operation.replicas > operation.from_replicas:
        return
    was, found = gather(blueprint, before, before.at_ms), gather(blueprint, after, now_ms)
    violated = {violation.reference for violation in was.violations}
    for violation in found.violations:
        # Answers per second follow demand: that nobody asks is no fault of the operation.
        if violation.reference not in violated and violation.metric != "throughput_mrps":
            text = f"{violation.metric} is {shown(violation.metric, violation.value)} since"
            yield Miss(text=text, reference=violation.reference)
    unknown = {reference for _, reference in was.unknown}
    for what, reference in found.unknown:
        if reference not in unknown:
            yield Miss(text=f"{what} was measured before and is not any more", reference=reference)


def _revision(state: ObservedState) -> int | None:
    return None if state.rollout is None else state.rollout.revision
