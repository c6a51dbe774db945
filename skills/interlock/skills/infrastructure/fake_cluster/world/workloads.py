"""Which workload a pod belongs to, and what is known of it."""

from __future__ import annotations

from interlock.skills.infrastructure.fake_cluster.kinds import DEPLOYMENTS, PODS, REPLICASETS, STATEFULSETS
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground
from interlock.skills.infrastructure.fake_cluster.world.settings import Service

IDLE_MEMORY_BYTES = 32 * 1024 * 1024


def base_memory_bytes(ground: Ground, pod: Object) -> int:
    """What a pod takes as soon as it runs."""
    workload = workload_of(pod)
    known = (one.base_memory_bytes for one in ground.settings.services if (one.namespace, one.name) == workload)
    return next(known, IDLE_MEMORY_BYTES)


def pods_of(ground: Ground, service: Service) -> list[Object]:
    """The pods that serve it, ending ones included."""
    deployment = ground.store.get(DEPLOYMENTS, service.namespace, service.name)
    if deployment is not None:
        return [pod for one in ground.owned(REPLICASETS, deployment) for pod in ground.owned(PODS, one)]
    stateful = ground.store.get(STATEFULSETS, service.namespace, service.name)
    return ground.owned(PODS, stateful) if stateful is not None else []


def workload_of(pod: Object) -> tuple[str, str]:
    """Its namespace, and the name of its Deployment or StatefulSet; empty: it stands alone."""
    namespace = pod["metadata"]["namespace"]
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner["kind"] == "ReplicaSet":
            return namespace, owner["name"].rpartition("-")[0]
        return namespace, owner["name"]
    return namespace, ""
