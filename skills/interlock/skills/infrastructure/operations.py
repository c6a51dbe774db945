"""Everything that can be done to a cluster, as values (seed 001, FR-006). Never a command string: what is approved,
signed and executed is the same struct.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import Struct

from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings, Target

SMALL_CHANGE_PERCENT = 10


class _Operation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="operation"):
    target: Target


class Scale(_Operation, frozen=True, kw_only=True, tag="scale"):
    """Set the replicas. from_replicas: what the decision saw."""

    from_replicas: int
    replicas: int


class PatchResources(_Operation, frozen=True, kw_only=True, tag="patch_resources"):
    """Set requests and limits of one container. before: what the decision saw."""

    container: str
    before: ContainerResources
    after: ContainerResources


class PodName(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One pod; the uid keeps a successor of the same name safe."""

    name: str
    uid: str = ""


class RestartPods(_Operation, frozen=True, kw_only=True, tag="restart_pods"):
    """Delete pods so that their controller starts new ones."""

    pods: tuple[PodName, ...]


class RolloutUndo(_Operation, frozen=True, kw_only=True, tag="rollout_undo"):
    """Go back to the pod template of an earlier revision."""

    to_revision: int


class ModifyStrategy(_Operation, frozen=True, kw_only=True, tag="modify_strategy"):
    """Change how pods are replaced."""

    settings: RolloutSettings


class ChangeProbes(_Operation, frozen=True, kw_only=True, tag="change_probes"):
    """Change the times of the probes of one container. None: left as it is."""

    container: str
    readiness: Probe | None = None
    liveness: Probe | None = None


Change = Scale | PatchResources | ModifyStrategy | ChangeProbes


class HelmPath(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a chart keeps one field of a change: `cpu_request_m` at `resources.requests.cpu`."""

    field: str
    path: str


class HelmUpgrade(_Operation, frozen=True, kw_only=True, tag="helm_upgrade"):
    """One change made through the chart that owns the object. The values set are computed from `change` alone, so the
    upgrade is governed under that change's name.
    """

    release: str
    chart: str
    chart_version: str = ""
    change: Change
    paths: tuple[HelmPath, ...]


class DeleteResource(_Operation, frozen=True, kw_only=True, tag="delete_resource"):
    """Delete an object. Here so that it can be forbidden."""


class ModifySecret(_Operation, frozen=True, kw_only=True, tag="modify_secret"):
    """Write a Secret. Here so that it can be forbidden; it carries no value."""


class ChangeNetworkPolicy(_Operation, frozen=True, kw_only=True, tag="change_network_policy"):
    """Write a NetworkPolicy. Here so that it can be forbidden."""


Operation = Change | RestartPods | RolloutUndo | HelmUpgrade | DeleteResource | ModifySecret | ChangeNetworkPolicy


class ReplicaBounds(Protocol):
    """What of a blueprint's scaling decides an operation's name."""

    @property
    def min_replicas(self) -> int: ...

    @property
    def max_replicas(self) -> int: ...


_DELETIONS = {
    "Deployment": "delete_deployment",
    "Service": "delete_service",
    "PersistentVolume": "delete_persistent_volumes",
    "PersistentVolumeClaim": "delete_persistent_volumes",
}


def operation_name(operation: Operation, bounds: ReplicaBounds, state: ObservedState | None) -> str:
    """The name under which governance knows the operation (seed 001, agent_authority).

    bounds: the blueprint's scaling. state: the object as it was read; without it nothing is known to be a small change.
    """
    match operation:
        case Scale(replicas=replicas):
            within = bounds.min_replicas <= replicas <= bounds.max_replicas
            return "scale_within_limits" if within else "scale_beyond_limits"
        case PatchResources(after=after):
            small = state is not None and state.resources is not None and is_small_change(state.resources, after)
            return "adjust_resources_within_10_percent" if small else "change_resource_limits_beyond_10_percent"
        case RestartPods(pods=pods):
            return "restart_failed_pods" if _all_failed(pods, state) else "restart_pods"
        case RolloutUndo():
            return "roll_back"
        case ModifyStrategy():
            return "modify_deployment_strategy"
        case ChangeProbes():
            return "change_health_checks"
        case HelmUpgrade(change=change):
            return operation_name(change, bounds, state)
        case DeleteResource(target=target):
            return _DELETIONS.get(target.kind, "delete_resources")
        case ModifySecret():
            return "modify_secrets"
        case ChangeNetworkPolicy():
            return "change_network_policies"


def is_small_change(before: ContainerResources, after: ContainerResources) -> bool:
    """No value moves by more than a tenth of what it was; one that appears or goes away is no small change."""
    return all(
        old == new or (old is not None and new is not None and abs(new - old) * 100 <= old * SMALL_CHANGE_PERCENT)
        for old, new in zip(msgspec.structs.astuple(before), msgspec.structs.astuple(after), strict=True)
    )


def _all_failed(pods: tuple[PodName, ...], state: ObservedState | None) -> bool:
    """Each named pod was seen failing, or restarted (seed 001: RestartCount > 0)."""
    seen = {(pod.name, pod.uid): pod for pod in state.pods} if state is not None else {}
    known = [seen.get((pod.name, pod.uid)) for pod in pods]
    return bool(known) and all(pod is not None and (pod.failing != "" or pod.restarts > 0) for pod in known)
