"""The objects, their one line of versions, and the history that watches read."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import Kind

Object = dict[str, Any]
Name = tuple[str, str]  # namespace ("" for cluster scope), name

_FIRST_VERSION = 1_000
_KEPT_EVENTS = 20_000
_UIDS = uuid.UUID("8d2f6a3e-6f0e-5d0b-9b55-0f3f6f1d0c11")


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history. kind: ADDED, MODIFIED, DELETED; before: the object as it was, None when it is new."""

    version: int
    kind: str
    resource: Kind
    item: Object
    before: Object | None


Listener = Callable[[Change], None]


class Store:
    """Stored objects are never changed in place: whoever writes hands a new one in."""

    def __init__(self, kept_events: int = _KEPT_EVENTS) -> None:
        self.version = _FIRST_VERSION
        self.compacted = _FIRST_VERSION  # watches and lists from before this version get 410
        self._objects: dict[str, dict[Name, Object]] = {}
        self._history: deque[Change] = deque()
        self._kept_events = kept_events
        self._listeners: list[Listener] = []
        self._grown = asyncio.Event()
        self._snapshots: dict[tuple[str, int], list[Object]] = {}
        self._made = 0

    def listen(self, listener: Listener) -> None:
        """Called after each change, in the order of versions."""
        self._listeners.append(listener)

    def get(self, resource: Kind, namespace: str, name: str) -> Object | None:
        """The object, not to be changed by the caller."""
        return self._objects.get(resource.key, {}).get((namespace if resource.namespaced else "", name))

    def all(self, resource: Kind, namespace: str = "") -> list[Object]:
        """In the order of namespace and name, as a real server lists."""
        held = self._objects.get(resource.key, {})
        return [held[name] for name in sorted(held) if not namespace or name[0] == namespace]

    def put(self, resource: Kind, item: Object) -> Object:
        """Stores a new version. The caller has checked preconditions."""
        metadata = item["metadata"]
        name = (metadata.get("namespace", ""), metadata["name"])
        held = self._objects.setdefault(resource.key, {})
        before = held.get(name)
        self.version += 1
        item = {**item, "metadata": {**metadata, "resourceVersion": str(self.version)}}
        held[name] = item
        self._record(Change(self.version, "MODIFIED" if before else "ADDED", resource, item, before))
        return item

    def remove(self, resource: Kind, item: Object) -> Object:
        """Takes it out; gives its last state, with the version of the deletion."""
        metadata = item["metadata"]
        before = self._objects[resource.key].pop((metadata.get("namespace", ""), metadata["name"]))
        self.version += 1
        gone = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
        self._record(Change(self.version, "DELETED", resource, gone, before))
        return gone

    def new_uid(self) -> str:
        """The same sequence in every run."""
        self._made += 1
        return str(uuid.uuid5(_UIDS, str(self._made)))

    def since(self, version: int) -> Iterator[Change]:
        """The changes after a version. The caller has compared it with `compacted`."""
        return iter(_tail(self._history, version))

    async def grown(self) -> None:
        """Until something changes after this call."""
        await self._grown.wait()

    def snapshot(self, resource: Kind, version: int) -> list[Object] | None:
        """What a chunked list started from, until it is compacted."""
        return self._snapshots.get((resource.key, version))

    def keep_snapshot(self, resource: Kind, items: list[Object]) -> None:
        self._snapshots[(resource.key, self.version)] = items

    def compact(self) -> None:
        """Forgets all history: older watches and list continuations get 410 Gone."""
        self._history.clear()
        self._snapshots.clear()
        self.compacted = self.version
        self._wake()

    def _record(self, change: Change) -> None:
        self._history.append(change)
        while len(self._history) > self._kept_events:
            self.compacted = self._history.popleft().version
        for listener in self._listeners:
            listener(change)
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _tail(history: deque[Change], version: int) -> list[Change]:
    """The tail of history after a version, oldest first, without walking all of it."""
    tail = []
    for change in reversed(history):
        if change.version <= version:
            break
        tail.append(change)
    return tail[::-1]
