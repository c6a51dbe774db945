from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from interlock.skills.infrastructure.observed import ObservedState, RolloutState, Sample
from interlock.skills.infrastructure.operations import (
    ChangeProbes,
    ModifyStrategy,
    Operation,
    PatchResources,
    PodName,
    RestartPods,
    RolloutUndo,
    Scale,
)
from interlock.skills.infrastructure.target import Probe, RolloutSettings
from interlock.skills.infrastructure.verifying import verify
from tests.skills.bundled.test_blueprint_skills import NOW_MS, TARGET, busy
from tests.skills.infrastructure.blueprint.test_model import FRONTEND

BLUEPRINT = replace(FRONTEND, performance=replace(FRONTEND.performance, latency_p95_us=200_000, throughput_min_mrps=9))
BEFORE = replace(
    busy(),
    rollout=RolloutState(revision=3),
    metrics=(
        Sample(name="latency_p95_us", value=100_000, at_ms=NOW_MS),
        Sample(name="throughput_mrps", value=9, at_ms=NOW_MS),
    ),
)
UP = Scale(target=TARGET, from_replicas=2, replicas=3)
DOWN = Scale(target=TARGET, from_replicas=2, replicas=1)
SETTINGS = RolloutSettings(strategy="RollingUpdate", max_surge="1")
PROBE = Probe(initial_delay_s=1, period_s=5, timeout_s=1, failure_threshold=3)
PATCH = PatchResources(
    target=TARGET,
    container="frontend",
    before=FRONTEND.resources.of_container(),
    after=FRONTEND.resources.of_container(),
)


def after(**more: Any) -> ObservedState:
    return replace(BEFORE, **more)


def slow(value: int) -> tuple[Sample, ...]:
    return (replace(BEFORE.metrics[0], value=value), BEFORE.metrics[1])


CASES: list[tuple[str, Operation, ObservedState, str]] = [
    ("up", UP, after(replicas=3, ready_replicas=3), ""),
    ("up, slow all the same", UP, after(replicas=3, ready_replicas=3, metrics=slow(900_000)), ""),
    ("up, not ready", UP, after(replicas=3, ready_replicas=2), "spec.reliability.health_check_timeout"),
    ("up, set back by somebody", UP, after(), "spec.scaling"),
    ("up, another object", UP, after(target=replace(TARGET, uid="u-2")), "spec.target"),
    ("down", DOWN, after(replicas=1, ready_replicas=1), ""),
    (
        "down, slow since",
        DOWN,
        after(replicas=1, ready_replicas=1, metrics=slow(900_000)),
        "spec.performance.latency_p95",
    ),
    ("down, not measured since", DOWN, after(replicas=1, ready_replicas=1, metrics=()), "spec.performance.latency_p95"),
    (
        "down, nobody asks",
        DOWN,
        after(replicas=1, ready_replicas=1, metrics=(BEFORE.metrics[0], replace(BEFORE.metrics[1], value=1))),
        "",
    ),
    ("patch", PATCH, after(), ""),
    ("patch, not there", PATCH, after(resources=None), "spec.resources"),
    (
        "patch, rolling still",
        PATCH,
        after(rollout=RolloutState(revision=4, complete=False)),
        "spec.reliability.health_check_timeout",
    ),
    (
        "patch, pod crashes",
        PATCH,
        after(pods=(replace(BEFORE.pods[0], name="new", failing="CrashLoopBackOff"), BEFORE.pods[1])),
        "spec.reliability",
    ),
    ("strategy", ModifyStrategy(target=TARGET, settings=SETTINGS), after(settings=SETTINGS), ""),
    ("strategy, not there", ModifyStrategy(target=TARGET, settings=SETTINGS), after(), "spec.deployment"),
    ("probes", ChangeProbes(target=TARGET, container="c", readiness=PROBE), after(readiness=PROBE), ""),
    ("probes, not there", ChangeProbes(target=TARGET, container="c", liveness=PROBE), after(), "spec.reliability"),
    ("restart", RestartPods(target=TARGET, pods=(PodName(name="old", uid="gone"),)), after(), ""),
    (
        "restart, still there",
        RestartPods(target=TARGET, pods=(PodName(name="p0", uid="p0"),)),
        after(),
        "spec.reliability",
    ),
    ("undo", RolloutUndo(target=TARGET, to_revision=2), after(rollout=RolloutState(revision=4)), ""),
    ("undo, nothing moved", RolloutUndo(target=TARGET, to_revision=2), after(), "spec.reliability.rollback_on_failure"),
    (
        "undo, unknown",
        RolloutUndo(target=TARGET, to_revision=2),
        after(rollout=None),
        "spec.reliability.rollback_on_failure",
    ),
]


@pytest.mark.parametrize(("what", "operation", "state", "reference"), CASES, ids=[case[0] for case in CASES])
def test_verified_means(what: str, operation: Operation, state: ObservedState, reference: str) -> None:
    verified = verify(BLUEPRINT, operation, BEFORE, state, NOW_MS)
    assert verified.met == (reference == ""), verified.rationale
    assert reference in {miss.reference for miss in verified.misses} | {""}
    assert verified.figures["replicas"] == state.replicas
    assert verified.rationale


def test_what_was_wrong_before_is_not_held_against_an_operation() -> None:
    slow_before, slow_after = after(metrics=slow(900_000)), after(replicas=1, ready_replicas=1, metrics=slow(950_000))
    assert verify(BLUEPRINT, DOWN, slow_before, slow_after, NOW_MS).met
