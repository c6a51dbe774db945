"""Discovery: which groups, versions and resources there are. Enough for kubectl and helm to find their way."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.fake_cluster.kinds import KINDS, Kind

VERSION = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0-interlock-fake",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def document(path: str) -> dict[str, Any] | None:
    """What is told under a path of discovery, None if the path is none."""
    steps = [step for step in path.split("/") if step]
    match steps:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = sorted({(kind.group, kind.version) for kind in KINDS if kind.group})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*group) for group in groups]}
        case ["apis", group]:
            found = [kind for kind in KINDS if kind.group == group]
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, found[0].version)} if found else None
        case ["api", version]:
            return _resources("", version)
        case ["apis", group, version]:
            return _resources(group, version)
    return None


def _group(group: str, version: str) -> dict[str, Any]:
    told = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [told], "preferredVersion": told}


def _resources(group: str, version: str) -> dict[str, Any] | None:
    kinds = [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]
    if not kinds:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": [entry for kind in kinds for entry in _entries(kind)],
    }


def _entries(kind: Kind) -> list[dict[str, Any]]:
    base = {"singularName": kind.name.lower(), "namespaced": kind.namespaced, "kind": kind.name}
    entries: list[dict[str, Any]] = [{"name": kind.plural, **base, "verbs": list(kind.verbs)}]
    if kind.short:
        entries[0]["shortNames"] = list(kind.short)
    if kind.plural in ("deployments", "replicasets", "statefulsets", "pods", "services") and "watch" in kind.verbs:
        entries[0]["categories"] = ["all"]
    writes = ["get", "patch", "update"]
    if kind.status:
        entries.append({"name": f"{kind.plural}/status", **base, "singularName": "", "verbs": writes})
    if kind.scalable:
        scale = {"group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": writes}
        entries.append({"name": f"{kind.plural}/scale", **base, "singularName": "", **scale})
    return entries
