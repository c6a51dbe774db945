"""The ReplicaSet controller: as many pods as asked for, made from the template."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import PODS, REPLICASETS, Kind
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground
from interlock.skills.infrastructure.fake_cluster.world.kubelet import Kubelet
from interlock.skills.infrastructure.fake_cluster.writing import Author

_AUTHOR = Author(manager="kube-controller-manager")


def look_at(ground: Ground, kubelet: Kubelet, item: Object) -> None:
    """Makes or deletes pods, then reports the status."""
    pods = active_pods(ground, item)
    wanted = item["spec"]["replicas"]
    for _ in range(wanted - len(pods)):
        make_pod(ground, REPLICASETS, item, {"generateName": f"{item['metadata']['name']}-"})
    # Those that serve least go first: not ready before ready, young before old.
    for pod in sorted(pods, key=lambda pod: (is_ready(pod), -pods.index(pod)))[: max(0, len(pods) - wanted)]:
        ground.writer.delete(PODS, pod)
    pods = active_pods(ground, item)
    available = count_available(ground, kubelet, REPLICASETS, item, pods)
    status: Object = {
        "replicas": len(pods),
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": available,
        "observedGeneration": item["metadata"]["generation"],
    }
    name = (item["metadata"]["namespace"], item["metadata"]["name"])
    ground.writer.put_status(
        REPLICASETS, name, {key: value for key, value in status.items() if value or key == "replicas"}
    )


def active_pods(ground: Ground, owner: Object) -> list[Object]:
    """The pods of an owner that are not on their way out."""
    return [pod for pod in ground.owned(PODS, owner) if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: Object) -> bool:
    """Its Ready condition."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions") or [])


def count_available(ground: Ground, kubelet: Kubelet, kind: Kind, owner: Object, pods: list[Object]) -> int:
    """Ready for at least minReadySeconds; looks again when the next one is."""
    least_ms = owner["spec"].get("minReadySeconds", 0) * 1000
    available = 0
    for pod in filter(is_ready, pods):
        since = kubelet.ready_since_ms(pod)
        if since + least_ms <= ground.now_ms():
            available += 1
        else:
            ground.at(since + least_ms, (kind, owner["metadata"]["namespace"], owner["metadata"]["name"]))
    return available


def make_pod(ground: Ground, kind: Kind, owner: Object, name: dict[str, Any]) -> Object:
    """A pod from the owner's template. name: {"name": …} or {"generateName": …}."""
    template = owner["spec"]["template"]
    metadata = {**(template.get("metadata") or {}), **name, "ownerReferences": [reference(kind, owner)]}
    given = {"metadata": metadata, "spec": template["spec"]}
    return ground.writer.create(PODS, owner["metadata"]["namespace"], given, _AUTHOR)


def reference(kind: Kind, owner: Object) -> Object:
    """The controller's ownerReference."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
