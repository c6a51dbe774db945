"""Earlier revisions of a workload: ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.fragments import NotPossible
from interlock.skills.infrastructure.operations import RolloutUndo

REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"


async def template_of(cluster: Cluster, operation: RolloutUndo, live: Mapping[str, Any]) -> Object:
    """The pod template of the revision to go back to. Raises NotPossible or ClusterError."""
    held = await templates(cluster, operation.target.kind, live)
    if operation.to_revision not in held:
        known = ", ".join(map(str, sorted(held))) or "none"
        raise NotPossible("revision_not_found", f"there is no revision {operation.to_revision}; there are: {known}")
    return held[operation.to_revision]


async def templates(cluster: Cluster, kind: str, live: Mapping[str, Any]) -> dict[int, Object]:
    """revision → pod template, of all that are kept. Raises ClusterError."""
    namespace = live["metadata"]["namespace"]
    if kind == "StatefulSet":
        items, _ = await cluster.list("ControllerRevision", namespace)
        return {int(one["revision"]): _stored(one) for one in items if is_owned(one, live)}
    items, _ = await cluster.list("ReplicaSet", namespace)
    return {revision_of(one): _bare(one) for one in items if is_owned(one, live) and revision_of(one)}


def revision_of(item: Mapping[str, Any]) -> int:
    """The revision of a Deployment or ReplicaSet; 0: none is told."""
    text = str((item["metadata"].get("annotations") or {}).get(REVISION, ""))
    return int(text) if text.isdecimal() else 0


def is_owned(item: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """The owner is its controller."""
    uid = owner["metadata"]["uid"]
    return any(one.get("controller") and one["uid"] == uid for one in item["metadata"].get("ownerReferences") or [])


def _bare(replica_set: Mapping[str, Any]) -> Object:
    """Its template as the Deployment had it."""
    template: Object = copy.deepcopy(replica_set["spec"]["template"])
    labels = template.get("metadata", {}).get("labels", {})
    labels.pop(_HASH, None)
    return template


def _stored(revision: Mapping[str, Any]) -> Object:
    template: Object = copy.deepcopy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template
