"""What the server fills in and what it refuses: names, selectors, replicas, resources, immutable fields."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from interlock.skills.infrastructure.api_quantities import BadQuantity, parse
from interlock.skills.infrastructure.fake_cluster.kinds import DEPLOYMENTS, PODS, REPLICASETS, STATEFULSETS, Kind
from interlock.skills.infrastructure.fake_cluster.selectors import labels_match, object_selector
from interlock.skills.infrastructure.fake_cluster.statuses import ApiError, bad_request, invalid

Object = dict[str, Any]
Cause = tuple[str, str, str]  # field, reason, message

WORKLOADS = (DEPLOYMENTS, STATEFULSETS, REPLICASETS)
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


def with_defaults(kind: Kind, item: Object) -> Object:
    """A copy with what the API server adds to a spec that does not say it."""
    item = copy.deepcopy(item)
    if kind in WORKLOADS:
        _workload_defaults(kind, item.setdefault("spec", {}))
    elif kind is PODS:
        _pod_defaults(item.setdefault("spec", {}))
        # Of pods alone: a template keeps saying what its author said.
        for container in item["spec"].get("containers") or []:
            for name, limit in (container["resources"].get("limits") or {}).items():
                container["resources"].setdefault("requests", {}).setdefault(name, limit)
    return item


def _workload_defaults(kind: Kind, spec: Object) -> None:
    spec.setdefault("replicas", 1)
    _pod_defaults(spec.setdefault("template", {}).setdefault("spec", {}))
    if kind is REPLICASETS:
        return
    spec.setdefault("revisionHistoryLimit", 10)
    if kind is DEPLOYMENTS:
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")
    else:
        spec.setdefault("podManagementPolicy", "OrderedReady")
        spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})


def _pod_defaults(spec: Object) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in spec.get("containers") or []:
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("resources", {})


def check(kind: Kind, item: Object, old: Object | None) -> None:
    """Raises ApiError 422 with every cause."""
    metadata = item["metadata"]
    causes: list[Cause] = []
    if not _NAME.match(str(metadata.get("name", ""))):
        causes.append(
            ("metadata.name", "FieldValueInvalid", f"Invalid value: {metadata.get('name')!r}: not a DNS name")
        )
    if kind in WORKLOADS:
        causes += _workload_causes(kind, item["spec"], old["spec"] if old else None)
    elif kind is PODS:
        causes += _pod_causes(item["spec"], "spec")
    if causes:
        raise invalid(kind, str(metadata.get("name", "")), causes)


def _workload_causes(kind: Kind, spec: Object, old: Object | None) -> Iterator[Cause]:
    replicas = spec.get("replicas")
    if type(replicas) is not int or replicas < 0:
        yield "spec.replicas", "FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0"
    selector = spec.get("selector") or {}
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if not selector:
        yield "spec.selector", "FieldValueRequired", "Required value"
    elif not labels_match(object_selector(selector))({"metadata": {"labels": labels}}):
        message = f"Invalid value: {labels}: `selector` does not match template `labels`"
        yield "spec.template.metadata.labels", "FieldValueInvalid", message
    if old is not None and old["selector"] != selector:
        yield "spec.selector", "FieldValueInvalid", f"Invalid value: {selector}: field is immutable"
    if kind is DEPLOYMENTS and spec["strategy"]["type"] == "RollingUpdate":
        rolling = spec["strategy"]["rollingUpdate"]
        if str(rolling["maxUnavailable"]) in ("0", "0%") and str(rolling["maxSurge"]) in ("0", "0%"):
            message = "Invalid value: 0: may not be 0 when `maxSurge` is 0"
            yield "spec.strategy.rollingUpdate.maxUnavailable", "FieldValueInvalid", message
    yield from _pod_causes(spec["template"]["spec"], "spec.template.spec")


def _pod_causes(spec: Object, at: str) -> Iterator[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        yield f"{at}.containers", "FieldValueRequired", "Required value"
    for number, container in enumerate(containers):
        here = f"{at}.containers[{number}]"
        for field in ("name", "image"):
            if not container.get(field):
                yield f"{here}.{field}", "FieldValueRequired", "Required value"
        yield from _resource_causes(container.get("resources") or {}, f"{here}.resources")


def _resource_causes(resources: Object, at: str) -> Iterator[Cause]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, request in requests.items():
        if name in limits and parse(request) > parse(limits[name]):
            message = f"Invalid value: {str(request)!r}: must be less than or equal to {name} limit of {limits[name]}"
            yield f"{at}.requests", "FieldValueInvalid", message
    for part, values in (("requests", requests), ("limits", limits)):
        for name, value in values.items():
            if parse(value) < 0:
                message = f"Invalid value: {str(value)!r}: must be greater than or equal to 0"
                yield f"{at}.{part}[{name}]", "FieldValueInvalid", message


def check_quantities(item: Object) -> None:
    """400 for a quantity that cannot be read: a real server fails at decoding, before any validation."""
    spec = item.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or spec
    for container in (pod.get("containers") or []) if isinstance(pod, dict) else []:
        resources = container.get("resources") or {}
        for part in ("requests", "limits"):
            for value in (resources.get(part) or {}).values():
                try:
                    parse(value)
                except BadQuantity as error:
                    raise bad_request(f"quantities must match the regular expression: {error}") from None


def check_shape(kind: Kind, item: Any) -> Object:
    """An object of the right kind, or ApiError 400."""
    if not isinstance(item, dict) or not isinstance(item.get("metadata"), dict):
        raise bad_request("the object provided is unrecognized: must be of type Object with metadata")
    for field, wanted in (("kind", kind.name), ("apiVersion", kind.api_version)):
        if item.get(field, wanted) != wanted:
            raise ApiError(400, "BadRequest", f"{field} in the body is {item[field]!r}, the path says {wanted!r}")
    if "spec" in item and not isinstance(item["spec"], dict):
        raise bad_request("json: cannot unmarshal spec into an object")
    return {**item, "kind": kind.name, "apiVersion": kind.api_version}
