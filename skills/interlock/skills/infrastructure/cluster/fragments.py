"""What an operation writes, as a strategic-merge fragment of the object, and why it cannot be written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.skills.infrastructure import api_quantities
from interlock.skills.infrastructure.operations import ChangeProbes, ModifyStrategy, Operation, PatchResources, Scale
from interlock.skills.infrastructure.patches import strategic_patch
from interlock.skills.infrastructure.target import ContainerResources, Probe

Object = dict[str, Any]


class NotPossible(Exception):
    """The operation does not fit the object. reason: stable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def fragment(operation: Operation, live: Mapping[str, Any]) -> Object:
    """The fragment {"spec": …} of an operation that is a change of the spec. Raises NotPossible."""
    match operation:
        case Scale(replicas=replicas):
            return {"spec": {"replicas": replicas}}
        case PatchResources(container=name, before=before, after=after):
            container_of(live, name)
            return _of_container(name, {"resources": _resources(before, after)})
        case ChangeProbes(container=name):
            return _of_container(name, _probes(operation, container_of(live, name)))
        case ModifyStrategy():
            return {"spec": _strategy(operation)}
    raise NotPossible("not_a_spec_change", f"{type(operation).__name__} is no change of a spec")


def says(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """The object's spec is already what the fragment asks for."""
    return bool(strategic_patch(live["spec"], wanted["spec"]) == live["spec"])


def container_of(live: Mapping[str, Any], name: str) -> Object:
    """The container of that name. Raises NotPossible: a fragment would add one."""
    containers = live["spec"]["template"]["spec"]["containers"]
    found: Object | None = next((one for one in containers if one["name"] == name), None)
    if found is None:
        known = ", ".join(one["name"] for one in containers)
        raise NotPossible("container_not_found", f"there is no container {name!r}, only {known}")
    return found


def _of_container(name: str, change: Object) -> Object:
    return {"spec": {"template": {"spec": {"containers": [{"name": name, **change}]}}}}


def _resources(before: ContainerResources, after: ContainerResources) -> Object:
    parts: Object = {}
    for part, unit in (("requests", "request"), ("limits", "limit")):
        values = {
            "cpu": _value(getattr(before, f"cpu_{unit}_m"), getattr(after, f"cpu_{unit}_m"), api_quantities.cpu),
            "memory": _value(
                getattr(before, f"memory_{unit}_bytes"), getattr(after, f"memory_{unit}_bytes"), api_quantities.memory
            ),
        }
        kept = {name: value for name, value in values.items() if value != ""}
        if kept:
            parts[part] = kept
    return parts


def _value(before: int | None, after: int | None, spelled: Any) -> str | None:
    """Empty: say nothing; None: take it away."""
    if after is not None:
        return str(spelled(after))
    return "" if before is None else None


def _probes(operation: ChangeProbes, container: Object) -> Object:
    found = {}
    for field, probe in (("readinessProbe", operation.readiness), ("livenessProbe", operation.liveness)):
        if probe is None:
            continue
        if field not in container:
            raise NotPossible("probe_not_found", f"container {container['name']!r} has no {field} to change")
        found[field] = _times(probe)
    return found


def _times(probe: Probe) -> Object:
    return {
        "initialDelaySeconds": probe.initial_delay_s,
        "periodSeconds": probe.period_s,
        "timeoutSeconds": probe.timeout_s,
        "failureThreshold": probe.failure_threshold,
    }


def _strategy(operation: ModifyStrategy) -> Object:
    settings = operation.settings
    if operation.target.kind != "Deployment":
        raise NotPossible("strategy_not_supported", f"a {operation.target.kind} has no such strategy")
    strategy: Object = {"$retainKeys": ["type", "rollingUpdate"], "type": settings.strategy}
    rolling = {"maxSurge": _count(settings.max_surge), "maxUnavailable": _count(settings.max_unavailable)}
    kept = {name: value for name, value in rolling.items() if value is not None}
    if settings.strategy == "RollingUpdate" and kept:
        strategy["rollingUpdate"] = kept
    elif settings.strategy != "RollingUpdate":
        strategy["$retainKeys"] = ["type"]
    return {
        "strategy": strategy,
        "minReadySeconds": settings.min_ready_seconds,
        "revisionHistoryLimit": settings.revision_history_limit,
    }


def _count(value: str | None) -> int | str | None:
    return int(value) if value is not None and value.isdecimal() else value
