"""The pods of a workload: by its selector, and then by who controls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from interlock.skills.infrastructure.cluster.client import Cluster, Object
from interlock.skills.infrastructure.cluster.revisions import is_owned, selector


async def pods_of(cluster: Cluster, live: Mapping[str, Any], sets: Iterable[Mapping[str, Any]]) -> list[Object]:
    """Those that the workload controls, itself or through its ReplicaSets, ending ones included. Raises ClusterError."""
    pods, _ = await cluster.list("Pod", live["metadata"]["namespace"], selector(live["spec"]["selector"]))
    owners = [live, *sets]
    return [pod for pod in pods if any(is_owned(pod, owner) for owner in owners)]
