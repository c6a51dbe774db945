"""What a write does: preconditions, defaults, validation, generation, owners of fields, finalizers, dry run."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.fake_cluster import field_managers
from interlock.skills.infrastructure.fake_cluster.kinds import KINDS, NAMESPACES, PODS, Kind
from interlock.skills.infrastructure.fake_cluster.rules import check, check_quantities, check_shape, with_defaults
from interlock.skills.infrastructure.fake_cluster.statuses import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    not_found,
)
from interlock.skills.infrastructure.fake_cluster.store import Object, Store
from interlock.skills.infrastructure.fake_cluster.times import ServerClock

# Set by the server when an object is made; a writer's own values are ignored.
_SERVER_METADATA = ("uid", "creationTimestamp", "generation", "selfLink")
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # what the API server draws generated names from


class Author(Struct, frozen=True, kw_only=True):
    """How a write is made. manager: the field manager; operation: Update or Apply; subresource: `status`, `scale` or
    empty; dry_run: everything is checked, nothing is kept.
    """

    manager: str
    operation: str = "Update"
    subresource: str = ""
    dry_run: bool = False


class Writer:
    """The one way into the store, for requests and for the controllers behind them."""

    def __init__(self, store: Store, clock: ServerClock) -> None:
        self.store = store
        self.clock = clock

    def create(self, kind: Kind, namespace: str, given: Any, author: Author) -> Object:
        item = _decoded(kind, given)
        metadata = {**item["metadata"]}
        if metadata.pop("resourceVersion", None):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if kind.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            if self.store.get(NAMESPACES, "", namespace) is None:
                raise not_found(NAMESPACES, namespace)
        uid = self.store.new_uid()
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + suffix(uid)
        if self.store.get(kind, namespace, metadata.get("name", "")) is not None:
            raise already_exists(kind, metadata["name"])
        metadata |= {"uid": uid, "creationTimestamp": self.clock.stamp()}
        if "spec" in item:
            metadata["generation"] = 1
        item = {"apiVersion": kind.api_version, "kind": kind.name, **item, "metadata": metadata}
        if kind.status:
            item["status"] = item.get("status", {}) if kind is PODS and author.manager == "kubelet" else {}
        check(kind, item, None)
        self._own(None, item, author)
        return item if author.dry_run else self.store.put(kind, item)

    def update(self, kind: Kind, old: Object, given: Any, author: Author) -> Object:
        """Replaces an object, or its status only when the author writes the status subresource."""
        item = _decoded(kind, given)
        name = old["metadata"]["name"]
        metadata = {**item["metadata"]}
        if kind.namespaced and not metadata.get("namespace"):
            metadata["namespace"] = old["metadata"]["namespace"]  # the one of the path holds
        if metadata.get("name") != name or metadata.get("namespace") != old["metadata"].get("namespace"):
            raise bad_request("the name of the object does not match the name on the URL")
        check_preconditions(kind, old, metadata.get("uid"), metadata.get("resourceVersion"))
        metadata |= {key: old["metadata"][key] for key in _SERVER_METADATA if key in old["metadata"]}
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        metadata.setdefault("managedFields", old["metadata"].get("managedFields", []))
        if "deletionTimestamp" in old["metadata"]:
            metadata["deletionTimestamp"] = old["metadata"]["deletionTimestamp"]
        if author.subresource == "status":
            item = {**old, "status": item.get("status", {})}
        else:
            item = {**item, "metadata": metadata}
            if kind.status:
                item["status"] = old.get("status", {})
            check(kind, item, old)
            if item.get("spec") != old.get("spec") and "generation" in metadata:
                metadata["generation"] += 1
        return self._store(kind, old, item, author)

    def put_status(self, kind: Kind, name: tuple[str, str], status: Object) -> None:
        """What controllers report of an object; nothing if it says so already or is gone."""
        live = self.store.get(kind, *name)
        if live is not None and live.get("status") != status:
            self.store.put(kind, {**live, "status": status})

    def delete(self, kind: Kind, old: Object, *, dry_run: bool = False, orphan: bool = False) -> Object:
        """Deletes; with finalizers, or a pod that has to end first, it is only marked."""
        if dry_run:
            return old
        metadata = old["metadata"]
        if orphan:
            self._orphan(metadata["uid"])
        waits = bool(metadata.get("finalizers")) or (kind is PODS and bool(old["spec"].get("nodeName")))
        if not waits:
            return self.store.remove(kind, old)
        if "deletionTimestamp" in metadata:
            return old
        marked = {**metadata, "deletionTimestamp": self.clock.stamp(), "deletionGracePeriodSeconds": 30}
        return self.store.put(kind, {**old, "metadata": marked})

    def _store(self, kind: Kind, old: Object, item: Object, author: Author) -> Object:
        self._own(old, item, author)
        if _same(old, item):
            return old
        if author.dry_run:
            return item
        if "deletionTimestamp" in item["metadata"] and not item["metadata"].get("finalizers") and kind is not PODS:
            return self.store.remove(kind, self.store.put(kind, item))
        return self.store.put(kind, item)

    def _own(self, old: Object | None, item: Object, author: Author) -> None:
        item["metadata"] = {**item["metadata"]}
        field_managers.record(
            old,
            item,
            manager=author.manager,
            operation=author.operation,
            subresource=author.subresource,
            time=self.clock.stamp(),
        )

    def _orphan(self, uid: str) -> None:
        for kind in KINDS:
            for item in self.store.all(kind):
                owners = item["metadata"].get("ownerReferences") or []
                if any(owner["uid"] == uid for owner in owners):
                    kept = [owner for owner in owners if owner["uid"] != uid]
                    self.store.put(kind, {**item, "metadata": {**item["metadata"], "ownerReferences": kept}})


def check_preconditions(kind: Kind, old: Object, uid: str | None, version: str | None) -> None:
    """Raises ApiError 409 when the object is another one or was changed."""
    metadata = old["metadata"]
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise conflict(kind, metadata["name"], why)
    if version and version != metadata["resourceVersion"]:
        raise conflict(kind, metadata["name"])


def suffix(uid: str) -> str:
    """Five letters for a generated name, from the object's uid."""
    number, letters = int(uid[:12].replace("-", ""), 16), ""
    for _ in range(5):
        number, at = divmod(number, len(_NAME_LETTERS))
        letters += _NAME_LETTERS[at]
    return letters


def _decoded(kind: Kind, given: Any) -> Object:
    item = check_shape(kind, given)
    try:
        item = with_defaults(kind, item)
        check_quantities(item)
    except (AttributeError, TypeError, KeyError) as error:
        raise ApiError(
            400, "BadRequest", f"{kind.name} in version {kind.version!r} cannot be handled: {error}"
        ) from None
    return item


def _same(old: Object, new: Object) -> bool:
    return {**old, "metadata": {**old["metadata"], "managedFields": None}} == {
        **new,
        "metadata": {**new["metadata"], "managedFields": None},
    }
