"""Which name governance gives an operation, and that operations survive a journey as JSON."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Struct

from interlock.skills.infrastructure.observed import ObservedState, PodState
from interlock.skills.infrastructure.operations import (
    ChangeNetworkPolicy,
    ChangeProbes,
    DeleteResource,
    HelmPath,
    HelmUpgrade,
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
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings, Target


class Bounds(Struct, frozen=True):
    min_replicas: int = 1
    max_replicas: int = 5


TARGET = Target(namespace="todo", kind="Deployment", name="todo-frontend", uid="u1", resource_version="7")
SEEN = ContainerResources(cpu_request_m=50, cpu_limit_m=200, memory_request_bytes=1000, memory_limit_bytes=4000)
STATE = ObservedState(
    target=TARGET,
    at_ms=0,
    replicas=2,
    ready_replicas=1,
    resources=SEEN,
    pods=(
        PodState(name="a", uid="1", failing="CrashLoopBackOff"),
        PodState(name="b", uid="2", restarts=1),
        PodState(name="c", uid="3"),
    ),
)


def scale(replicas: int) -> Scale:
    return Scale(target=TARGET, from_replicas=2, replicas=replicas)


def patch(**changed: int | None) -> PatchResources:
    return PatchResources(target=TARGET, container="web", before=SEEN, after=msgspec.structs.replace(SEEN, **changed))


def restart(*pods: tuple[str, str]) -> RestartPods:
    return RestartPods(target=TARGET, pods=tuple(PodName(name=name, uid=uid) for name, uid in pods))


def delete(kind: str) -> DeleteResource:
    return DeleteResource(target=Target(namespace="todo", kind=kind, name="x"))


SMALL = "adjust_resources_within_10_percent"
LARGE = "change_resource_limits_beyond_10_percent"
NAMES: list[tuple[Operation, str]] = [
    (scale(1), "scale_within_limits"),
    (scale(5), "scale_within_limits"),
    (scale(0), "scale_beyond_limits"),
    (scale(6), "scale_beyond_limits"),
    (patch(cpu_request_m=55), SMALL),
    (patch(cpu_request_m=45), SMALL),
    (patch(cpu_request_m=56), LARGE),
    (patch(cpu_request_m=44), LARGE),
    (patch(cpu_request_m=55, memory_limit_bytes=4401), LARGE),
    (patch(cpu_limit_m=None), LARGE),
    (patch(), SMALL),
    (restart(("a", "1"), ("b", "2")), "restart_failed_pods"),
    (restart(("a", "1"), ("c", "3")), "restart_pods"),
    (restart(("a", "another uid")), "restart_pods"),
    (restart(), "restart_pods"),
    (RolloutUndo(target=TARGET, to_revision=3), "roll_back"),
    (ModifyStrategy(target=TARGET, settings=RolloutSettings(strategy="Recreate")), "modify_deployment_strategy"),
    (
        ChangeProbes(
            target=TARGET,
            container="web",
            liveness=Probe(initial_delay_s=1, period_s=1, timeout_s=1, failure_threshold=1),
        ),
        "change_health_checks",
    ),
    (
        HelmUpgrade(
            target=TARGET,
            release="todo",
            chart="./chart",
            change=scale(9),
            paths=(HelmPath(field="replicas", path="replicaCount"),),
        ),
        "scale_beyond_limits",
    ),
    (delete("Deployment"), "delete_deployment"),
    (delete("Service"), "delete_service"),
    (delete("PersistentVolumeClaim"), "delete_persistent_volumes"),
    (delete("ConfigMap"), "delete_resources"),
    (ModifySecret(target=TARGET), "modify_secrets"),
    (ChangeNetworkPolicy(target=TARGET), "change_network_policies"),
]


@pytest.mark.parametrize(("operation", "name"), NAMES)
def test_names(operation: Operation, name: str) -> None:
    assert operation_name(operation, Bounds(), STATE) == name


@pytest.mark.parametrize(("operation", "name"), NAMES)
def test_operations_survive_json(operation: Operation, name: str) -> None:
    assert msgspec.json.decode(msgspec.json.encode(operation), type=Operation) == operation


def test_without_a_state_nothing_is_small() -> None:
    assert operation_name(patch(cpu_request_m=51), Bounds(), None) == LARGE
    assert operation_name(restart(("a", "1")), Bounds(), None) == "restart_pods"
    unread = msgspec.structs.replace(STATE, resources=None)
    assert operation_name(patch(cpu_request_m=51), Bounds(), unread) == LARGE


def test_what_the_operation_claims_to_have_seen_counts_for_nothing() -> None:
    claimed = PatchResources(
        target=TARGET,
        container="web",
        before=ContainerResources(cpu_request_m=1000),
        after=ContainerResources(cpu_request_m=1000),
    )
    assert operation_name(claimed, Bounds(), STATE) == LARGE
