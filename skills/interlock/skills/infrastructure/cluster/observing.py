"""A service as it is now: its object, its pods, what they use, its metrics. Reads only; what is not there is None."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from interlock.bus.clock import Clock
from interlock.skills.infrastructure.api_quantities import BadQuantity, milli, whole
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.outcomes import target_of
from interlock.skills.infrastructure.cluster.ownership import owner_of
from interlock.skills.infrastructure.cluster.pods import pods_of
from interlock.skills.infrastructure.cluster.revisions import revision_of, selector, sets_of, templates
from interlock.skills.infrastructure.cluster.usage import Usage, time_ms, usage_of
from interlock.skills.infrastructure.observed import ObservedState, PodState, RolloutState, Sample
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings

ServiceMetrics = Callable[[Blueprint], Awaitable[list[Sample]]]

# What a container waits for that will not come by waiting (kubelet's reasons).
_FAILURES = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_PHASES = frozenset({"Pending", "Running", "Succeeded", "Failed", "Unknown"})


async def observe(
    cluster: Cluster, blueprint: Blueprint, clock: Clock, service_metrics: ServiceMetrics | None = None
) -> ObservedState:
    """Raises ClusterError when the object or its pods cannot be read; metrics that cannot are missing."""
    wanted = blueprint.target
    live = await cluster.get(wanted.kind, wanted.namespace, wanted.name)
    sets = await sets_of(cluster, wanted.kind, live)
    pods = await pods_of(cluster, live, sets)
    usage = await usage_of(cluster, wanted.namespace, selector(live["spec"]["selector"]))
    samples = await service_metrics(blueprint) if service_metrics is not None else []
    return state_of(live, pods, usage, samples, _rollout(live, sets), blueprint, clock.now_ms())


def state_of(
    live: Mapping[str, Any],
    pods: list[Object],
    usage: Mapping[str, Usage],
    samples: list[Sample],
    rollout: RolloutState | None,
    blueprint: Blueprint,
    at_ms: int,
) -> ObservedState:
    """The same from what was read. Pure."""
    spec, name = live["spec"], blueprint.target.container
    containers = spec["template"]["spec"]["containers"]
    container = next((one for one in containers if one["name"] == name), None)
    return ObservedState(
        target=target_of(live, blueprint.target.kind),
        at_ms=at_ms,
        replicas=spec.get("replicas", 1),
        ready_replicas=(live.get("status") or {}).get("readyReplicas", 0),
        pods=tuple(_pod(pod, usage.get(pod["metadata"]["name"])) for pod in pods),
        metrics=tuple(samples),
        container=name,
        resources=_resources(container) if container is not None else None,
        pod_cpu_request_m=_requested(containers, "cpu", milli),
        pod_memory_request_bytes=_requested(containers, "memory", whole),
        settings=_settings(spec) if blueprint.target.kind == "Deployment" else None,
        readiness=_probe(container, "readinessProbe"),
        liveness=_probe(container, "livenessProbe"),
        rollout=rollout,
        owner=owner_of(live),
    )


def _rollout(live: Mapping[str, Any], sets: list[Object]) -> RolloutState | None:
    revisions = set(templates(sets))
    if not revisions:
        return None
    current = revision_of(live) or max(revisions)
    status, replicas = live.get("status") or {}, live["spec"].get("replicas", 1)
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    late = conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"
    seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    updated = status.get("updatedReplicas", 0) == replicas == status.get("replicas", 0)
    return RolloutState(
        revision=current,
        previous_revision=max((one for one in revisions if one < current), default=None),
        complete=seen and updated,
        failing="ProgressDeadlineExceeded" if late else "",
    )


def _pod(pod: Mapping[str, Any], usage: Usage | None) -> PodState:
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = next((one for one in status.get("conditions") or [] if one["type"] == "Ready"), None)
    containers = status.get("containerStatuses") or []
    phase = status.get("phase", "Pending")
    return PodState(
        name=metadata["name"],
        uid=metadata["uid"],
        phase=phase if phase in _PHASES else "Unknown",
        deleting="deletionTimestamp" in metadata,
        ready=None if ready is None else ready["status"] == "True",
        ready_changed_ms=_optional_ms(ready.get("lastTransitionTime") if ready else None),
        started_ms=_optional_ms(status.get("startTime")),
        cpu_m=usage.cpu_m if usage is not None else None,
        memory_bytes=usage.memory_bytes if usage is not None else None,
        usage_at_ms=usage.at_ms if usage is not None else None,
        usage_window_ms=usage.window_ms if usage is not None else 0,
        restarts=sum(one.get("restartCount", 0) for one in containers),
        failing=next(filter(None, map(_failure, containers)), ""),
    )


def _failure(container: Mapping[str, Any]) -> str:
    reason = str(((container.get("state") or {}).get("waiting") or {}).get("reason", ""))
    if reason not in _FAILURES:
        return ""
    ended = ((container.get("lastState") or {}).get("terminated") or {}).get("reason", "")
    return "OOMKilled" if ended == "OOMKilled" else reason


def _resources(container: Mapping[str, Any]) -> ContainerResources:
    given = container.get("resources") or {}
    requests, limits = given.get("requests") or {}, given.get("limits") or {}
    return ContainerResources(
        cpu_request_m=_read(requests.get("cpu"), milli),
        cpu_limit_m=_read(limits.get("cpu"), milli),
        memory_request_bytes=_read(requests.get("memory"), whole),
        memory_limit_bytes=_read(limits.get("memory"), whole),
    )


def _requested(containers: list[Object], name: str, read: Callable[[Any], int]) -> int | None:
    values = [_read(((one.get("resources") or {}).get("requests") or {}).get(name), read) for one in containers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _read(value: Any, read: Callable[[Any], int]) -> int | None:
    try:
        return None if value is None else read(value)
    except BadQuantity:
        return None


def _settings(spec: Mapping[str, Any]) -> RolloutSettings:
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
    return RolloutSettings(
        strategy=strategy.get("type", "RollingUpdate"),
        max_surge=None if surge is None else str(surge),
        max_unavailable=None if unavailable is None else str(unavailable),
        min_ready_seconds=spec.get("minReadySeconds", 0),
        revision_history_limit=spec.get("revisionHistoryLimit", 10),
    )


def _probe(container: Mapping[str, Any] | None, field: str) -> Probe | None:
    given = (container or {}).get(field)
    if given is None:
        return None
    # The defaults are those of the API (core/v1 Probe).
    return Probe(
        initial_delay_s=given.get("initialDelaySeconds", 0),
        period_s=given.get("periodSeconds", 10),
        timeout_s=given.get("timeoutSeconds", 1),
        failure_threshold=given.get("failureThreshold", 3),
    )


def _optional_ms(text: Any) -> int | None:
    try:
        return None if text is None else time_ms(str(text))
    except ValueError:
        return None
