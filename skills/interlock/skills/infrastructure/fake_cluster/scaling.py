"""The scale subresource (autoscaling/v1 Scale) of what has replicas."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.fake_cluster.selectors import object_selector
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request
from interlock.skills.infrastructure.fake_cluster.store import Object


def scale_of(item: Object) -> Object:
    """The Scale object of a workload."""
    metadata = item["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown},
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": {
            "replicas": item.get("status", {}).get("replicas", 0),
            "selector": object_selector(item["spec"]["selector"]),
        },
    }


def with_scale(item: Object, scale: Any) -> Object:
    """The workload with the replicas and the preconditions of a Scale. Raises ApiError 400 or 422."""
    if not isinstance(scale, dict) or scale.get("kind", "Scale") != "Scale":
        raise bad_request("the object provided is no Scale")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if type(replicas) is not int or replicas < 0:
        field = "Scale.autoscaling"
        name = item["metadata"]["name"]
        message = f"spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0"
        raise ApiError(422, "Invalid", f'{field} "{name}" is invalid: {message}')
    metadata = scale.get("metadata") or {}
    given = {key: metadata[key] for key in ("uid", "resourceVersion") if metadata.get(key)}
    kept = {key: value for key, value in item["metadata"].items() if key not in ("uid", "resourceVersion")}
    return {**item, "metadata": {**kept, **given}, "spec": {**item["spec"], "replicas": replicas}}
