"""The workloads of blueprints, for a simulated cluster to begin with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from interlock.skills.infrastructure.blueprint.model import Blueprint


def written(blueprints: Sequence[Blueprint], directory: Path) -> Path:
    """The file with their objects, as the blueprints ask for them, at min_replicas."""
    path = directory / "objects.yaml"
    path.write_bytes(b"\n---\n".join(msgspec.json.encode(item) for item in _objects(blueprints)))
    return path


def _objects(blueprints: Sequence[Blueprint]) -> list[dict[str, Any]]:
    spaces = sorted({blueprint.namespace for blueprint in blueprints})
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in spaces
    ]
    return made + [_workload(blueprint) for blueprint in blueprints]


def _workload(blueprint: Blueprint) -> dict[str, Any]:
    target, cpu, memory = blueprint.target, blueprint.resources.cpu, blueprint.resources.memory
    labels = {"app": target.name}
    container = {
        "name": target.container,
        "image": f"example/{target.name}:1",
        "resources": {
            "requests": {"cpu": f"{cpu.request_m}m", "memory": str(memory.request_bytes)},
            "limits": {"cpu": f"{cpu.limit_m}m", "memory": str(memory.limit_bytes)},
        },
    }
    spec: dict[str, Any] = {
        "replicas": blueprint.scaling.min_replicas,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    if target.kind == "StatefulSet":
        spec["serviceName"] = target.name
    metadata = {"name": target.name, "namespace": target.namespace, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": target.kind, "metadata": metadata, "spec": spec}
