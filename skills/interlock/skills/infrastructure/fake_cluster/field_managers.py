"""Who wrote which field: `metadata.managedFields` (Kubernetes: server-side apply, "Field management")."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from interlock.skills.infrastructure.patches import merge_key

Path = tuple[str, ...]

# Fields of metadata that people own; the rest is the server's.
_OWNED_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
_NOT_OWNED = ("apiVersion", "kind", "metadata")


def leaves(item: Mapping[str, Any]) -> dict[Path, Any]:
    """Every owned leaf of an object with its value; items of merging lists are named by their key."""
    metadata = item.get("metadata") or {}
    owned = {key: value for key, value in item.items() if key not in _NOT_OWNED}
    owned["metadata"] = {key: metadata[key] for key in _OWNED_METADATA if metadata.get(key)}
    return dict(_walk(owned, (), ""))


def record(
    old: Mapping[str, Any] | None, new: dict[str, Any], *, manager: str, operation: str, subresource: str, time: str
) -> None:
    """Writes into `new` who owns what after the change from `old`: what changed now belongs to the manager."""
    before, after = leaves(old) if old else {}, leaves(new)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    if old is not None and not changed and before.keys() == after.keys():
        return
    entries = [dict(entry) for entry in new["metadata"].get("managedFields") or []]
    mine = _entry(entries, manager, operation, subresource, new["apiVersion"])
    for entry in entries:
        owned = {path for path in parse(entry.get("fieldsV1") or {}) if path in after}
        owned = owned | changed if entry is mine else owned - changed
        entry["fieldsV1"] = nest(owned)
    if changed:
        mine["time"] = time
    new["metadata"]["managedFields"] = [entry for entry in entries if entry["fieldsV1"]]


def apply_conflicts(live: Mapping[str, Any], wanted: Mapping[str, Any], manager: str) -> list[tuple[str, str]]:
    """(other manager, field) for each field that the apply would change and another manager owns."""
    now, asked = leaves(live), leaves(wanted)
    differing = {path for path, value in asked.items() if path in now and now[path] != value}
    found = []
    for entry in live["metadata"].get("managedFields") or []:
        if entry["manager"] != manager:
            found += [(entry["manager"], _spelled(path)) for path in sorted(parse(entry["fieldsV1"]) & differing)]
    return found


def given_up(live: Mapping[str, Any], wanted: Mapping[str, Any], manager: str) -> set[Path]:
    """Fields that the manager applied before, does not apply any more, and that nobody else owns."""
    asked = set(leaves(wanted))
    mine: set[Path] = set()
    others: set[Path] = set()
    for entry in live["metadata"].get("managedFields") or []:
        paths = parse(entry["fieldsV1"])
        if entry["manager"] == manager and entry["operation"] == "Apply":
            mine |= paths
        else:
            others |= paths
    return mine - asked - others


def without(item: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """A copy without those leaves."""
    result = copy.deepcopy(dict(item))
    for path in paths:
        holder: Any = result
        for step in path[:-1]:
            holder = _step(holder, step)
        last = path[-1].removeprefix("f:")
        if isinstance(holder, dict):
            holder.pop(last, None)
    return result


def nest(paths: Iterable[Path]) -> dict[str, Any]:
    """FieldsV1 of leaf paths."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        at = tree
        for step in path:
            at = at.setdefault(step, {})
    return tree


def parse(fields: Mapping[str, Any], under: Path = ()) -> set[Path]:
    """Leaf paths of a FieldsV1 tree."""
    if not fields:
        return {under} if under else set()
    found: set[Path] = set()
    for step, inner in fields.items():
        if step != ".":
            found |= parse(inner, (*under, step))
    return found


def _entry(
    entries: list[dict[str, Any]], manager: str, operation: str, subresource: str, api_version: str
) -> dict[str, Any]:
    for entry in entries:
        if (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, operation, subresource):
            return entry
    entry = {"manager": manager, "operation": operation, "apiVersion": api_version, "fieldsType": "FieldsV1"}
    if subresource:
        entry["subresource"] = subresource
    entries.append(entry)
    return entry


def _walk(value: Any, path: Path, name: str) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _walk_field(key, inner, path, name)
    elif path:
        yield path, value


def _walk_field(key: str, inner: Any, path: Path, name: str) -> Iterator[tuple[Path, Any]]:
    by = merge_key(key, name) if isinstance(inner, list) else ""
    if not by:
        yield from _walk(inner, (*path, f"f:{key}"), key)
        return
    for item in inner:
        named = "k:" + json.dumps({by: item.get(by)}, separators=(",", ":"))
        yield from _walk(item, (*path, f"f:{key}", named), key)


def _step(holder: Any, step: str) -> Any:
    if isinstance(holder, dict) and step.startswith("f:"):
        return holder.get(step[2:])
    if isinstance(holder, list) and step.startswith("k:"):
        ((by, wanted),) = json.loads(step[2:]).items()
        return next((item for item in holder if item.get(by) == wanted), None)
    return None


def _spelled(path: Path) -> str:
    return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:]}]" for step in path)
