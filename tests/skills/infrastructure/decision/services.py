"""A service after seed 001's frontend, in round numbers: a pod requests 100 millicores and 100 MiB, so that usage in those
units is the utilisation in percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from interlock.skills.infrastructure.blueprint.model import (
    WHOLE_PPM,
    Blueprint,
    Cost,
    Cpu,
    Memory,
    Performance,
    Reliability,
    Resources,
    Scaling,
    TargetObject,
    WeightedMetric,
)
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.window import Peak
from interlock.skills.infrastructure.observed import MetricName, ObservedState, PodState, Sample
from interlock.skills.infrastructure.target import ContainerResources, Target

MIB = 1 << 20
NOW = 10_000_000
TARGET = Target(namespace="todo", kind="Deployment", name="todo-frontend", uid="u", resource_version="1")
REPLACE = msgspec.structs.replace


def weights(**shares: int) -> tuple[WeightedMetric, ...]:
    """weights(cpu=50, memory=30, latency=20), in percent."""
    return tuple(WeightedMetric(type=name, weight_ppm=share * WHOLE_PPM // 100) for name, share in shares.items())  # type: ignore[arg-type]  # a keyword is any str


def blueprint(
    *,
    performance: dict[str, Any] | None = None,
    reliability: dict[str, Any] | None = None,
    cost: dict[str, Any] | None = None,
    **scaling: Any,
) -> Blueprint:
    """cpu only, 1 to 5 replicas, 80 % up, 30 % down, one at a time, cooldown 60 s, window 300 s, unless told otherwise."""
    return Blueprint(
        name="todo-frontend",
        version="1.0.0",
        target=TargetObject(namespace="todo", kind="Deployment", name="todo-frontend", container="web"),
        resources=Resources(
            cpu=Cpu(request_m=100, limit_m=400),
            memory=Memory(request_bytes=100 * MIB, limit_bytes=400 * MIB),
        ),
        scaling=Scaling(**{"min_replicas": 1, "max_replicas": 5, **scaling}),
        performance=Performance(**(performance or {})),
        reliability=Reliability(**(reliability or {})),
        cost=Cost(**(cost or {})),
    )


def pod(name: str, cpu: int | None, memory: int | None = 50, **given: Any) -> PodState:
    """A pod that has been ready for an hour; usage in percent of the request, taken now."""
    taken = NOW if cpu is not None or memory is not None else None
    settings: dict[str, Any] = {
        "uid": f"uid-{name}",
        "ready": True,
        "started_ms": NOW - 3_600_000,
        "ready_changed_ms": NOW - 3_590_000,
        "cpu_m": cpu,
        "memory_bytes": None if memory is None else memory * MIB,
        "usage_at_ms": taken,
        "usage_window_ms": 30_000,
    }
    return PodState(name=name, **{**settings, **given})


def starting(name: str) -> PodState:
    """A pod that began ten seconds ago and is not ready."""
    return pod(name, 100, ready=False, started_ms=NOW - 10_000, ready_changed_ms=NOW - 10_000)


def state(
    replicas: int,
    cpu: int | None = 50,
    memory: int | None = 50,
    *,
    pods: tuple[PodState, ...] | None = None,
    metrics: Mapping[MetricName, int] | None = None,
    metrics_at_ms: int = NOW,
    **given: Any,
) -> ObservedState:
    """Every pod uses the same, in percent of its request. metrics: values by name."""
    if pods is None:
        pods = tuple(pod(f"p{index}", cpu, memory) for index in range(replicas))
    settings: dict[str, Any] = {
        "ready_replicas": sum(bool(each.ready) for each in pods),
        "container": "web",
        "resources": ContainerResources(
            cpu_request_m=100, cpu_limit_m=400, memory_request_bytes=100 * MIB, memory_limit_bytes=400 * MIB
        ),
        "pod_cpu_request_m": 100,
        "pod_memory_request_bytes": 100 * MIB,
    }
    samples = tuple(Sample(name=name, value=value, at_ms=metrics_at_ms) for name, value in (metrics or {}).items())
    return ObservedState(
        target=TARGET, at_ms=NOW, replicas=replicas, pods=pods, metrics=samples, **{**settings, **given}
    )


def watched(like: Blueprint, wanted: int = 0, **given: Any) -> History:
    """A service that has been watched for an hour, wanted replicas having been recommended all the time."""
    return History(
        digest=like.digest,
        since_ms=NOW - 3_600_000,
        seen_ms=NOW - 15_000,
        recommendations=(Peak(NOW - 15_000, wanted),),
        **given,
    )
