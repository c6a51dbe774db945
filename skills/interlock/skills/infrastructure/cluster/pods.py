"""The pods of a workload: by its selector, and then by who controls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.revisions import is_owned


async def pods_of(cluster: Cluster, live: Mapping[str, Any]) -> list[Object]:
    """Those that the workload controls, ending ones included. Raises ClusterError."""
    namespace = live["metadata"]["namespace"]
    query = selector(live["spec"]["selector"])
    pods, _ = await cluster.list("Pod", namespace, query)
    sets, _ = await cluster.list("ReplicaSet", namespace, query)
    owners = [live, *(one for one in sets if is_owned(one, live))]
    return [pod for pod in pods if any(is_owned(pod, owner) for owner in owners)]


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
