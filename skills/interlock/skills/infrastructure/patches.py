"""The three patch types: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch (Kubernetes)."""

from __future__ import annotations

import copy
from typing import Any

# Lists that merge by a key instead of being replaced, as the `patchMergeKey` tags of the API types say.
MERGE_KEYS: dict[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "conditions": "type",
    "ownerReferences": "uid",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
_PORTS = {"containers": "containerPort", "initContainers": "containerPort"}


class PatchFailed(ValueError):
    """The patch does not fit the object. test: a `test` operation said no."""

    def __init__(self, message: str, *, test: bool = False) -> None:
        super().__init__(message)
        self.test = test


def json_patch(target: Any, operations: Any) -> Any:
    """A patched copy. Raises PatchFailed."""
    if not isinstance(operations, list) or not all(isinstance(step, dict) for step in operations):
        raise PatchFailed("a JSON patch is a list of operations")
    result = copy.deepcopy(target)
    for step in operations:
        result = _apply(result, step)
    return result


def merge_patch(target: Any, patch: Any) -> Any:
    """A patched copy; null deletes."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_patch(target: Any, patch: dict[str, Any], under: str = "") -> Any:
    """A patched copy; lists with a merge key are merged item by item. under: the field that holds the object."""
    directive = patch.get("$patch")
    body = {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "replace":
        return copy.deepcopy(body)
    if directive == "delete":
        return {}
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    retain = body.pop("$retainKeys", None)
    for key, value in body.items():
        if key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [item for item in result.get(name, []) if item not in value]
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic_patch(result.get(key), value, key)
        elif isinstance(value, list) and (by := merge_key(key, under)):
            result[key] = _merge_lists(result.get(key) or [], value, by, key)
        elif isinstance(value, list) and key == "finalizers":
            result[key] = [*result.get(key, []), *(item for item in value if item not in result.get(key, []))]
        else:
            result[key] = copy.deepcopy(value)
    if retain is not None:
        result = {key: value for key, value in result.items() if key in retain}
    for key, order in body.items():
        if key.startswith("$setElementOrder/"):
            _reorder(result, key.partition("/")[2], order, under)
    return result


def merge_key(name: str, under: str) -> str:
    """The key by which the list called `name` in an object called `under` merges; empty: it is replaced whole."""
    if name == "ports":
        return _PORTS.get(under, "port")
    return MERGE_KEYS.get(name, "")


def _merge_lists(current: list[Any], patch: list[Any], by: str, name: str) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if item.get("$patch") != "replace"]
    result = copy.deepcopy(current)
    for item in patch:
        if not isinstance(item, dict) or by not in item:
            raise PatchFailed(f"map: {item!r} does not contain declared merge key: {by}")
        at = next((at for at, old in enumerate(result) if old.get(by) == item[by]), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(strategic_patch({}, item, name))
        else:
            result[at] = strategic_patch(result[at], item, name)
    return result


def _reorder(result: dict[str, Any], name: str, order: list[Any], under: str) -> None:
    items, by = result.get(name), merge_key(name, under)
    if not isinstance(items, list):
        return
    wanted = [entry.get(by) if isinstance(entry, dict) else entry for entry in order]

    def place(item: Any) -> int:
        value = item.get(by) if isinstance(item, dict) else item
        return wanted.index(value) if value in wanted else len(wanted)

    items.sort(key=place)


def _apply(root: Any, step: dict[str, Any]) -> Any:
    action, steps = step.get("op"), _pointer(step.get("path"))
    if action == "test":
        if _get(root, steps) != step.get("value"):
            raise PatchFailed(f"testing value {step.get('path')} failed", test=True)
        return root
    if action == "remove":
        return _remove(root, steps)
    if action in ("add", "replace"):
        if "value" not in step:
            raise PatchFailed(f"{action} operation without a value")
        if action == "replace":
            _get(root, steps)
        return _put(root, steps, copy.deepcopy(step["value"]), replace=action == "replace")
    if action in ("copy", "move"):
        source = _pointer(step.get("from"))
        value = copy.deepcopy(_get(root, source))
        if action == "move":
            root = _remove(root, source)
        return _put(root, steps, value, replace=False)
    raise PatchFailed(f"Unexpected kind: {action}")


def _pointer(path: Any) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise PatchFailed(f"not a JSON pointer: {path!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _get(root: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(root, dict) and step in root:
            root = root[step]
        elif isinstance(root, list) and step.isdigit() and int(step) < len(root):
            root = root[int(step)]
        else:
            raise PatchFailed(f"replace operation does not apply: doc is missing path: /{'/'.join(steps)}")
    return root


def _put(root: Any, steps: list[str], value: Any, *, replace: bool) -> Any:
    if not steps:
        return value
    parent, last = _get(root, steps[:-1]), steps[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and last == "-" and not replace:
        parent.append(value)
    elif isinstance(parent, list) and last.isdigit() and int(last) <= len(parent):
        at = int(last)
        parent[at : at + replace] = [value]
    else:
        raise PatchFailed(f"add operation does not apply: doc is missing path: /{'/'.join(steps)}")
    return root


def _remove(root: Any, steps: list[str]) -> Any:
    _get(root, steps)
    if not steps:
        raise PatchFailed("remove operation does not apply to the whole document")
    parent, last = _get(root, steps[:-1]), steps[-1]
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
    return root
