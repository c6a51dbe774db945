"""The StatefulSet controller: numbered pods, one after the other, revisions as ControllerRevisions."""

from __future__ import annotations

import hashlib
import json

from interlock.skills.infrastructure.fake_cluster.kinds import BY_KEY, PODS, STATEFULSETS
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground
from interlock.skills.infrastructure.fake_cluster.world.kubelet import Kubelet
from interlock.skills.infrastructure.fake_cluster.world.replicas import (
    active_pods,
    count_available,
    is_ready,
    make_pod,
    reference,
)
from interlock.skills.infrastructure.fake_cluster.writing import Author

REVISION = "controller-revision-hash"
_REVISIONS = BY_KEY["controllerrevisions.apps"]
_AUTHOR = Author(manager="kube-controller-manager")


def look_at(ground: Ground, kubelet: Kubelet, item: Object) -> None:
    """One step: the first number that is missing, the last one too many, or the last one with an old template."""
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    mark = _revision(ground, item)
    pods = {pod["metadata"]["name"]: pod for pod in ground.owned(PODS, item)}
    _move(ground, item, pods, mark)
    active = active_pods(ground, item)
    updated = [pod for pod in active if _mark_of(pod) == mark]
    before = item.get("status", {})
    done = len(updated) == len(active) == item["spec"]["replicas"] and all(map(is_ready, active))
    status = {
        "observedGeneration": item["metadata"]["generation"],
        "replicas": len(active),
        "readyReplicas": sum(map(is_ready, active)),
        "availableReplicas": count_available(ground, kubelet, STATEFULSETS, item, active),
        "updatedReplicas": len(updated),
        "currentReplicas": len(active) - len(updated) if not done else len(updated),
        "currentRevision": mark if done else before.get("currentRevision", mark),
        "updateRevision": mark,
    }
    ground.writer.put_status(STATEFULSETS, (namespace, name), status)


def _move(ground: Ground, item: Object, pods: dict[str, Object], mark: str) -> None:
    name, wanted = item["metadata"]["name"], item["spec"]["replicas"]
    for number in range(wanted):
        pod = pods.get(f"{name}-{number}")
        if pod is None:
            template = item["spec"]["template"]
            metadata = template.get("metadata") or {}
            labels = {
                **(metadata.get("labels") or {}),
                REVISION: mark,
                "statefulset.kubernetes.io/pod-name": f"{name}-{number}",
            }
            labelled = {**template, "metadata": {**metadata, "labels": labels}}
            owner = {**item, "spec": {**item["spec"], "template": labelled}}
            make_pod(ground, STATEFULSETS, owner, {"name": f"{name}-{number}"})
            return
        if not is_ready(pod) or "deletionTimestamp" in pod["metadata"]:
            # A pod of an old template that never becomes ready would hold up its own replacement.
            if _mark_of(pod) != mark and "deletionTimestamp" not in pod["metadata"]:
                ground.writer.delete(PODS, pod)
            return
    extra = [pod for pod in pods.values() if _number(pod) >= wanted]
    old = [pod for pod in pods.values() if _mark_of(pod) != mark]
    for pod in sorted(extra or old, key=_number, reverse=True)[:1]:
        if "deletionTimestamp" not in pod["metadata"]:
            ground.writer.delete(PODS, pod)


def _revision(ground: Ground, item: Object) -> str:
    namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
    template = {**item["spec"]["template"], "$patch": "replace"}
    data = {"spec": {"template": template}}
    mark = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:10]
    known = ground.owned(_REVISIONS, item)
    newest = max((one["revision"] for one in known), default=0)
    held = next((one for one in known if one["metadata"]["labels"][REVISION] == f"{name}-{mark}"), None)
    if held is None:
        metadata = {
            "name": f"{name}-{mark}",
            "labels": {**((template.get("metadata") or {}).get("labels") or {}), REVISION: f"{name}-{mark}"},
            "ownerReferences": [reference(STATEFULSETS, item)],
        }
        given = {"metadata": metadata, "data": data, "revision": newest + 1}
        ground.writer.create(_REVISIONS, namespace, given, _AUTHOR)
    elif held["revision"] < newest:
        ground.writer.update(_REVISIONS, held, {**held, "revision": newest + 1}, _AUTHOR)
    return f"{name}-{mark}"


def _mark_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION, ""))


def _number(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-")[2])
