"""The world's loop: what changed is looked at again by its controller, what takes time waits for its moment."""

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
from interlock.skills.infrastructure.fake_cluster.wire import Response
from interlock.skills.infrastructure.fake_cluster.world import deployments, queries, replicas, statefulsets
from interlock.skills.infrastructure.fake_cluster.world.kubelet import Kubelet
from interlock.skills.infrastructure.fake_cluster.world.load import Load
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings
from interlock.skills.infrastructure.fake_cluster.writing import Author, Writer

Key = tuple[Kind, str, str]
_MOST_ROUNDS = 100_000
CONTROLLER = Author(manager="kube-controller-manager")


class World:
    """Everything behind the API. It only moves when a request, a step or the running clock moves it."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.store = writer.store
        self.settings = WorldSettings()
        self.kubelet = Kubelet(self)
        self.load = Load(self)
        self._owned: dict[str, dict[Key, None]] = {}
        self._dirty: dict[Key, None] = {}
        self._timers: list[tuple[int, int, Key | None]] = []
        self._timed = 0
        self._settling = False
        self.store.listen(self._changed)
        self.at(self.now_ms() + self.settings.scrape_ms, None)

    def now_ms(self) -> int:
        return self.writer.clock.now_ms()

    def configure(self, settings: WorldSettings) -> None:
        """Replaces the settings; the load's time zero is now."""
        self.settings = settings
        self.load.begin(settings)
        for kind in (PODS, DEPLOYMENTS, STATEFULSETS):
            for item in self.store.all(kind):
                self._mark(kind, item)
        self.settle()

    def step(self, ms: int) -> None:
        """Moves the clock on, stopping at everything that happens on the way."""
        self.settle()
        end = self.now_ms() + ms
        while self._timers and self._timers[0][0] <= end:
            self.writer.clock.advance(max(0, self._timers[0][0] - self.now_ms()))
            self.tick()
        self.writer.clock.advance(max(0, end - self.now_ms()))
        self.settle()

    def tick(self) -> None:
        """What is due by now."""
        scrape = False
        while self._timers and self._timers[0][0] <= self.now_ms():
            _, _, key = heapq.heappop(self._timers)
            if key is None:
                scrape = True
            else:
                self._dirty[key] = None
        if scrape:
            self.load.scrape()
            self.at(self.now_ms() + self.settings.scrape_ms, None)
        self.settle()

    def settle(self) -> None:
        """Lets the controllers work until nobody has anything to do."""
        if self._settling:
            return
        self._settling = True
        try:
            rounds = 0
            while self._dirty:
                key = next(iter(self._dirty))
                del self._dirty[key]
                self._look_at(key)
                rounds += 1
                if rounds > _MOST_ROUNDS:
                    raise RuntimeError(f"the world does not settle: {key}")
        finally:
            self._settling = False

    def at(self, at_ms: int, key: Key | None) -> None:
        """Looks at an object again at that time; None: measures all usage."""
        self._timed += 1
        heapq.heappush(self._timers, (at_ms, self._timed, key))

    def owned(self, kind: Kind, owner: Object) -> list[Object]:
        """The objects of a kind whose controller is the owner, oldest first."""
        found = []
        for owned_kind, namespace, name in self._owned.get(owner["metadata"]["uid"], {}):
            item = self.store.get(kind, namespace, name) if owned_kind is kind else None
            if item is not None:
                found.append(item)
        return found

    def mark_pods(self) -> None:
        """Looks at every pod that has no node: room may have come."""
        for pod in self.store.all(PODS):
            if not pod["spec"].get("nodeName"):
                self._mark(PODS, pod)

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
        self.writer.create(EVENTS, metadata["namespace"], given, CONTROLLER)

    def pod_metrics(self, namespace: str) -> list[Object]:
        """Usage as metrics.k8s.io tells it."""
        return self.load.pod_metrics(namespace)

    def prometheus(self, path: str, query: Mapping[str, str], body: bytes) -> Response:
        """The Prometheus HTTP API, as far as plain selectors."""
        return queries.answer(self.load, path, query, body)

    def _look_at(self, key: Key) -> None:
        kind, namespace, name = key
        item = self.store.get(kind, namespace, name)
        if item is None:
            return
        if kind is PODS:
            self.kubelet.look_at(item)
        elif "deletionTimestamp" in item["metadata"]:
            return
        elif kind is DEPLOYMENTS:
            deployments.look_at(self, item)
        elif kind is REPLICASETS:
            replicas.look_at(self, item)
        elif kind is STATEFULSETS:
            statefulsets.look_at(self, item)

    def _mark(self, kind: Kind, item: Object) -> None:
        self._dirty[(kind, item["metadata"]["namespace"], item["metadata"]["name"])] = None

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
                self._dirty[(owner_kind, metadata["namespace"], owner["name"])] = None
        if change.kind == "DELETED":
            self._collect(metadata["uid"])
            if change.resource is PODS:
                self.mark_pods()
                self._mark_deployment_of(metadata)
        elif change.resource in (DEPLOYMENTS, REPLICASETS, STATEFULSETS, PODS):
            self._dirty[key] = None

    def _mark_deployment_of(self, pod: Mapping[str, Any]) -> None:
        """Its ReplicaSet's counts do not change when an ending pod is gone, but Recreate waits for just that."""
        for owner in _controllers(pod):
            owned_by = self.store.get(REPLICASETS, pod["namespace"], owner["name"])
            for above in _controllers(owned_by["metadata"]) if owned_by is not None else ():
                self._dirty[(DEPLOYMENTS, pod["namespace"], above["name"])] = None

    def _collect(self, uid: str) -> None:
        for kind, namespace, name in list(self._owned.pop(uid, {})):
            item = self.store.get(kind, namespace, name)
            if item is not None and any(owner["uid"] == uid for owner in _controllers(item["metadata"])):
                self.writer.delete(kind, item)


def _controllers(metadata: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return [owner for owner in metadata.get("ownerReferences") or [] if owner.get("controller")]
