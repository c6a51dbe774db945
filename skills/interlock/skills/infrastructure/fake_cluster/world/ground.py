"""What controllers and nodes stand on: the objects and who owns whom, what waits to be looked at, and what waits for its time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import (
    DEPLOYMENTS,
    EVENTS,
    KINDS,
    PODS,
    REPLICASETS,
    STATEFULSETS,
    Kind,
)
from interlock.skills.infrastructure.fake_cluster.store import Change, Object
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings
from interlock.skills.infrastructure.fake_cluster.writing import Author, Writer

Key = tuple[Kind, str, str]
_CONTROLLER = Author(manager="kube-controller-manager")


class Ground:
    """Kind, namespace and name of an object are its key. A changed object, and whoever owns it, is to be looked at."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.store = writer.store
        self.settings = WorldSettings()
        self._owned: dict[str, dict[Key, None]] = {}
        self._waiting: dict[Key, None] = {}
        self._timers: list[tuple[int, int, Key | None]] = []
        self._timed = 0
        self._progressed: dict[str, int] = {}
        self.store.listen(self._changed)

    def now_ms(self) -> int:
        return self.writer.clock.now_ms()

    def next_key(self) -> Key | None:
        """The object that waits longest to be looked at; it waits no more."""
        key = next(iter(self._waiting), None)
        if key is not None:
            del self._waiting[key]
        return key

    def at(self, at_ms: int, key: Key | None) -> None:
        """Looks at an object again at that time; None: measures all usage."""
        self._timed += 1
        heapq.heappush(self._timers, (at_ms, self._timed, key))

    def next_due_ms(self) -> int | None:
        """When the next thing is due."""
        return self._timers[0][0] if self._timers else None

    def come_due(self) -> bool:
        """Marks all that is due by now; true: usage is to be measured too."""
        scrape = False
        while self._timers and self._timers[0][0] <= self.now_ms():
            _, _, key = heapq.heappop(self._timers)
            if key is None:
                scrape = True
            else:
                self._waiting[key] = None
        return scrape

    def mark(self, kind: Kind, item: Object) -> None:
        """An object is to be looked at."""
        self._waiting[(kind, item["metadata"]["namespace"], item["metadata"]["name"])] = None

    def mark_pods(self) -> None:
        """Looks at every pod that has no node: room may have come."""
        for pod in self.store.all(PODS):
            if not pod["spec"].get("nodeName"):
                self.mark(PODS, pod)

    def owned(self, kind: Kind, owner: Object) -> list[Object]:
        """The objects of a kind whose controller is the owner, oldest first."""
        found = []
        for owned_kind, namespace, name in self._owned.get(owner["metadata"]["uid"], {}):
            item = self.store.get(kind, namespace, name) if owned_kind is kind else None
            if item is not None:
                found.append(item)
        return found

    def progressed(self, item: Object) -> None:
        """A rollout came further now."""
        self._progressed[item["metadata"].get("uid", "")] = self.now_ms()

    def progressed_ms(self, item: Object) -> int:
        """When a rollout came further last."""
        return self._progressed.setdefault(item["metadata"]["uid"], self.now_ms())

    def event(self, kind: Kind, item: Object, reason: str, message: str) -> None:
        """Records an Event about an object."""
        metadata = item["metadata"]
        now = self.writer.clock.stamp()
        about = {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        given = {
            "metadata": {"name": f"{metadata['name']}.{self.store.version:016x}"},
            "involvedObject": {"kind": kind.name, "apiVersion": kind.api_version, **about},
            "reason": reason,
            "message": message,
            "type": "Normal" if reason in ("ScalingReplicaSet", "SuccessfulCreate") else "Warning",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "fake-cluster"},
        }
        self.writer.create(EVENTS, metadata["namespace"], given, _CONTROLLER)

    def _changed(self, change: Change) -> None:
        metadata = change.item["metadata"]
        if not change.resource.namespaced:
            return
        key = (change.resource, metadata["namespace"], metadata["name"])
        for owner in _controllers(metadata):
            if change.kind == "DELETED":
                self._owned.get(owner["uid"], {}).pop(key, None)
            else:
                self._owned.setdefault(owner["uid"], {})[key] = None
            owner_kind = next((kind for kind in KINDS if kind.name == owner["kind"]), None)
            if owner_kind is not None:
                self._waiting[(owner_kind, metadata["namespace"], owner["name"])] = None
        if change.kind == "DELETED":
            self._collect(metadata["uid"])
            if change.resource is PODS:
                self.mark_pods()
                self._mark_deployment_of(metadata)
        elif change.resource in (DEPLOYMENTS, REPLICASETS, STATEFULSETS, PODS):
            self._waiting[key] = None

    def _mark_deployment_of(self, pod: Mapping[str, Any]) -> None:
        """Its ReplicaSet's counts do not change when an ending pod is gone, but Recreate waits for just that."""
        for owner in _controllers(pod):
            owned_by = self.store.get(REPLICASETS, pod["namespace"], owner["name"])
            for above in _controllers(owned_by["metadata"]) if owned_by is not None else ():
                self._waiting[(DEPLOYMENTS, pod["namespace"], above["name"])] = None

    def _collect(self, uid: str) -> None:
        for kind, namespace, name in list(self._owned.pop(uid, {})):
            item = self.store.get(kind, namespace, name)
            if item is not None and any(owner["uid"] == uid for owner in _controllers(item["metadata"])):
                self.writer.delete(kind, item)


def _controllers(metadata: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return [owner for owner in metadata.get("ownerReferences") or [] if owner.get("controller")]
