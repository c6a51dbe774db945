"""The world's loop: what changed is looked at again by its controller, what takes time waits for its moment."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.skills.infrastructure.fake_cluster.kinds import DEPLOYMENTS, PODS, REPLICASETS, STATEFULSETS
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.wire import Response
from interlock.skills.infrastructure.fake_cluster.world import deployments, queries, replicas, statefulsets
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground, Key
from interlock.skills.infrastructure.fake_cluster.world.kubelet import Kubelet
from interlock.skills.infrastructure.fake_cluster.world.load import Load
from interlock.skills.infrastructure.fake_cluster.world.settings import WorldSettings
from interlock.skills.infrastructure.fake_cluster.writing import Writer

_MOST_ROUNDS = 100_000


class World:
    """Everything behind the API. It only moves when a request, a step or the running clock moves it."""

    def __init__(self, writer: Writer) -> None:
        self._ground = Ground(writer)
        self._clock = writer.clock
        self._kubelet = Kubelet(self._ground)
        self._load = Load(self._ground, self._kubelet)
        self._settling = False
        self._scrape_later()

    def configure(self, settings: WorldSettings) -> None:
        """Replaces the settings; the load's time zero is now."""
        self._ground.settings = settings
        self._load.begin()
        for kind in (PODS, DEPLOYMENTS, STATEFULSETS):
            for item in self._ground.store.all(kind):
                self._ground.mark(kind, item)
        self.settle()

    def step(self, ms: int) -> None:
        """Moves the clock on, stopping at everything that happens on the way."""
        self.settle()
        end = self._clock.now_ms() + ms
        while (due := self._ground.next_due_ms()) is not None and due <= end:
            self._clock.advance(max(0, due - self._clock.now_ms()))
            self.tick()
        self._clock.advance(max(0, end - self._clock.now_ms()))
        self.settle()

    def tick(self) -> None:
        """What is due by now."""
        if self._ground.come_due():
            self._load.scrape()
            self._scrape_later()
        self.settle()

    def settle(self) -> None:
        """Lets the controllers work until nobody has anything to do."""
        if self._settling:
            return
        self._settling = True
        try:
            rounds = 0
            while (key := self._ground.next_key()) is not None:
                self._look_at(key)
                rounds += 1
                if rounds > _MOST_ROUNDS:
                    raise RuntimeError(f"the world does not settle: {key}")
        finally:
            self._settling = False

    def pod_metrics(self, namespace: str) -> list[Object]:
        """Usage as metrics.k8s.io tells it."""
        return self._load.pod_metrics(namespace)

    def prometheus(self, path: str, query: Mapping[str, str], body: bytes) -> Response:
        """The Prometheus HTTP API, as far as plain selectors."""
        return queries.answer(self._load, path, query, body)

    def _scrape_later(self) -> None:
        self._ground.at(self._ground.now_ms() + self._ground.settings.scrape_ms, None)

    def _look_at(self, key: Key) -> None:
        kind, namespace, name = key
        item = self._ground.store.get(kind, namespace, name)
        if item is None:
            return
        if kind is PODS:
            self._kubelet.look_at(item)
        elif "deletionTimestamp" in item["metadata"]:
            return
        elif kind is DEPLOYMENTS:
            deployments.look_at(self._ground, item)
        elif kind is REPLICASETS:
            replicas.look_at(self._ground, self._kubelet, item)
        elif kind is STATEFULSETS:
            statefulsets.look_at(self._ground, self._kubelet, item)
