"""Earlier revisions of a workload: ReplicaSets of a Deployment, ControllerRevisions of a StatefulSet."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.fragments import NotPossible
from interlock.skills.infrastructure.operations import RolloutUndo

REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"


async def template_of(cluster: Cluster, operation: RolloutUndo, live: Mapping[str, Any]) -> Object:
    """The pod template of the revision to go back to. Raises NotPossible or ClusterError."""
    held = templates(await sets_of(cluster, operation.target.kind, live))
    if operation.to_revision not in held:
        known = ", ".join(map(str, sorted(held))) or "none"
        raise NotPossible("revision_not_found", f"there is no revision {operation.to_revision}; there are: {known}")
    return held[operation.to_revision]


async def sets_of(cluster: Cluster, kind: str, live: Mapping[str, Any]) -> list[Object]:
    """What keeps the revisions of a workload: its ReplicaSets or ControllerRevisions. Raises ClusterError."""
    keeper = "ControllerRevision" if kind == "StatefulSet" else "ReplicaSet"
    items, _ = await cluster.list(keeper, live["metadata"]["namespace"], selector(live["spec"]["selector"]))
    return [one for one in items if is_owned(one, live)]


def templates(sets: Iterable[Mapping[str, Any]]) -> dict[int, Object]:
    """revision → pod template, of all that are kept."""
    found = {}
    for one in sets:
        if "data" in one:
            found[int(one["revision"])] = _stored(one)
        elif revision_of(one):
            found[revision_of(one)] = _bare(one)
    return found


def selector(given: Mapping[str, Any]) -> str:
    """A LabelSelector as a query (Kubernetes: "Labels and selectors")."""
    parts = [f"{key}={value}" for key, value in sorted((given.get("matchLabels") or {}).items())]
    for term in given.get("matchExpressions") or []:
        values = ",".join(term.get("values") or [])
        parts.append(
            {
                "In": f"{term['key']} in ({values})",
                "NotIn": f"{term['key']} notin ({values})",
                "Exists": term["key"],
                "DoesNotExist": f"!{term['key']}",
            }[term["operator"]]
        )
    return ",".join(parts)


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
