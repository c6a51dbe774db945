"""The Deployment controller: one ReplicaSet per template, revisions, rolling updates within surge and unavailability."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import DEPLOYMENTS, PODS, REPLICASETS
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground
from interlock.skills.infrastructure.fake_cluster.world.replicas import reference
from interlock.skills.infrastructure.fake_cluster.writing import Author

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
_AUTHOR = Author(manager="kube-controller-manager")
_LETTERS = "bcdf2456789"


def look_at(ground: Ground, item: Object) -> None:
    """One step towards the template and the replicas; the changes it makes bring it back here."""
    sets = ground.owned(REPLICASETS, item)
    if item["spec"].get("paused"):
        _report(ground, item, sets, _current(item, sets))
        return
    current = _current(item, sets) or _new_set(ground, item, sets)
    current = _newest(ground, item, current, sets)
    _annotate(ground, item, current)
    sets = ground.owned(REPLICASETS, item)
    current = next(one for one in sets if one["metadata"]["uid"] == current["metadata"]["uid"])
    old = [one for one in sets if one is not current]
    if item["spec"]["strategy"]["type"] == "Recreate":
        _recreate(ground, item, current, old)
    else:
        _roll(ground, item, current, old)
    _forget_old(ground, item, old)
    _report(ground, item, ground.owned(REPLICASETS, item), ground.store.get(REPLICASETS, *_name(current)))


def revision(one: Object) -> int:
    """The revision a ReplicaSet stands for; 0: none yet."""
    return int((one["metadata"].get("annotations") or {}).get(REVISION, 0))


def _name(item: Object) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _bare(template: Object) -> Object:
    metadata = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key != HASH}
    return {**template, "metadata": {**metadata, "labels": labels}}


def _current(item: Object, sets: list[Object]) -> Object | None:
    wanted = _bare(item["spec"]["template"])
    return next((one for one in sets if _bare(one["spec"]["template"]) == wanted), None)


def _new_set(ground: Ground, item: Object, sets: list[Object]) -> Object:
    template = _bare(item["spec"]["template"])
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    mark = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:10])
    labelled = {
        **template,
        "metadata": {**template["metadata"], "labels": {**template["metadata"]["labels"], HASH: mark}},
    }
    namespace, name = _name(item)
    annotations = {REVISION: str(max(map(revision, sets), default=0) + 1)}
    selector = {**item["spec"]["selector"]}
    selector["matchLabels"] = {**selector.get("matchLabels", {}), HASH: mark}
    given = {
        "metadata": {
            "name": f"{name}-{mark}",
            "labels": labelled["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [reference(DEPLOYMENTS, item)],
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": item["spec"].get("minReadySeconds", 0),
            "selector": selector,
            "template": labelled,
        },
    }
    ground.progressed(item)
    return ground.writer.create(REPLICASETS, namespace, given, _AUTHOR)


def _newest(ground: Ground, item: Object, current: Object, sets: list[Object]) -> Object:
    """An older ReplicaSet that becomes current again gets a new revision: that is what an undo leaves behind."""
    newest = max((revision(one) for one in sets if one is not current), default=0)
    if revision(current) > newest:
        return current
    ground.progressed(item)
    annotations = {**(current["metadata"].get("annotations") or {}), REVISION: str(newest + 1)}
    given = {**current, "metadata": {**current["metadata"], "annotations": annotations}}
    return ground.writer.update(REPLICASETS, current, given, _AUTHOR)


def _annotate(ground: Ground, item: Object, current: Object) -> None:
    live = ground.store.get(DEPLOYMENTS, *_name(item))
    annotations = {**(item["metadata"].get("annotations") or {}), REVISION: str(revision(current))}
    if live is not None and live["metadata"].get("annotations") != annotations:
        given = {**live, "metadata": {**live["metadata"], "annotations": annotations}}
        ground.writer.update(DEPLOYMENTS, live, given, _AUTHOR)


def _scale(ground: Ground, item: Object, one: Object, replicas: int) -> None:
    before = one["spec"]["replicas"]
    if before == replicas:
        return
    live = ground.store.get(REPLICASETS, *_name(one))
    if live is not None:
        given = {**live, "spec": {**live["spec"], "replicas": replicas}}
        ground.writer.update(REPLICASETS, live, given, _AUTHOR)
        way = "up" if replicas > before else "down"
        message = f"Scaled {way} replica set {one['metadata']['name']} from {before} to {replicas}"
        ground.event(DEPLOYMENTS, item, "ScalingReplicaSet", message)


def _recreate(ground: Ground, item: Object, current: Object, old: list[Object]) -> None:
    for one in old:
        _scale(ground, item, one, 0)
    if not any(ground.owned(PODS, one) for one in old):
        _scale(ground, item, current, item["spec"]["replicas"])


def _roll(ground: Ground, item: Object, current: Object, old: list[Object]) -> None:
    wanted = item["spec"]["replicas"]
    surge, unavailable = bounds(item["spec"]["strategy"].get("rollingUpdate") or {}, wanted)
    running = sum(one["spec"]["replicas"] for one in old)
    if running == 0 or current["spec"]["replicas"] > wanted:
        _scale(ground, item, current, wanted)
        current = ground.store.get(REPLICASETS, *_name(current)) or current
    else:
        room = max(0, wanted + surge - running - current["spec"]["replicas"])
        target = min(wanted, current["spec"]["replicas"] + room)
        _scale(ground, item, current, target)
        current = ground.store.get(REPLICASETS, *_name(current)) or current
    live = [ground.store.get(REPLICASETS, *_name(one)) or one for one in old]
    total = sum(one["spec"]["replicas"] for one in live) + current["spec"]["replicas"]
    unready = current["spec"]["replicas"] - current.get("status", {}).get("availableReplicas", 0)
    may_go = total - (wanted - unavailable) - unready
    # Old pods that do not work go first: they hold up nothing.
    for one in sorted(live, key=lambda one: one.get("status", {}).get("availableReplicas", 0)):
        broken = one["spec"]["replicas"] - one.get("status", {}).get("availableReplicas", 0)
        leaving = max(0, min(broken or one["spec"]["replicas"], may_go))
        may_go -= leaving
        _scale(ground, item, one, one["spec"]["replicas"] - leaving)


def bounds(rolling: Object, replicas: int) -> tuple[int, int]:
    """maxSurge rounded up and maxUnavailable rounded down to pods; never both 0."""
    surge = _pods(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = _pods(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    return surge, unavailable if surge or unavailable else 1


def _pods(value: Any, replicas: int, rounded: Any) -> int:
    text = str(value)
    return int(rounded(replicas * int(text[:-1]) / 100)) if text.endswith("%") else int(text)


def _forget_old(ground: Ground, item: Object, old: list[Object]) -> None:
    empty = [one for one in old if not one["spec"]["replicas"] and not one.get("status", {}).get("replicas")]
    too_many = len(empty) - item["spec"]["revisionHistoryLimit"]
    for one in sorted(empty, key=revision)[: max(0, too_many)]:
        ground.writer.delete(REPLICASETS, one)


def _report(ground: Ground, item: Object, sets: list[Object], current: Object | None) -> None:
    item = ground.store.get(DEPLOYMENTS, *_name(item)) or item

    def total(field: str) -> int:
        return sum(one.get("status", {}).get(field, 0) for one in sets)

    wanted = item["spec"]["replicas"]
    _, unavailable = bounds(
        item["spec"]["strategy"].get("rollingUpdate") or {"maxUnavailable": 0, "maxSurge": 1}, wanted
    )
    updated = (current or {}).get("status", {}).get("replicas", 0)
    counts = {
        "replicas": total("replicas"),
        "updatedReplicas": updated,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": total("availableReplicas"),
        "unavailableReplicas": max(0, max(wanted, total("replicas")) - total("availableReplicas")),
    }
    complete = updated == wanted == counts["replicas"] == counts["availableReplicas"]
    enough = counts["availableReplicas"] >= wanted - unavailable
    before = item.get("status", {})
    if complete or counts != {key: before.get(key, 0) for key in counts}:
        ground.progressed(item)
    late_at = ground.progressed_ms(item) + item["spec"]["progressDeadlineSeconds"] * 1000
    late = not complete and ground.now_ms() >= late_at
    if not complete and not late:
        ground.at(late_at, (DEPLOYMENTS, *_name(item)))
    reason = "NewReplicaSetAvailable" if complete else "ProgressDeadlineExceeded" if late else "ReplicaSetUpdated"
    conditions = [
        ("Available", enough, "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"),
        ("Progressing", not late, reason),
    ]
    status: Object = {
        "observedGeneration": item["metadata"]["generation"],
        **{key: value for key, value in counts.items() if value},
        "conditions": [_condition(ground, before, *condition) for condition in conditions],
    }
    ground.writer.put_status(DEPLOYMENTS, _name(item), status)


def _condition(ground: Ground, before: Object, kind: str, holds: bool, reason: str) -> Object:
    value = "True" if holds else "False"
    old = next((one for one in before.get("conditions") or [] if one["type"] == kind), None)
    if old is not None and (old["status"], old["reason"]) == (value, reason):
        return dict(old)
    now = ground.writer.clock.stamp()
    changed = old["lastTransitionTime"] if old is not None and old["status"] == value else now
    return {"type": kind, "status": value, "reason": reason, "lastUpdateTime": now, "lastTransitionTime": changed}
