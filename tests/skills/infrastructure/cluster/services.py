"""Blueprints for tests that act."""

from __future__ import annotations

from typing import Any

from interlock.skills.infrastructure.blueprint.model import Blueprint, Cpu, Memory, Resources, Scaling, TargetObject

MIB = 1024 * 1024


def service(namespace: str, kind: Any = "Deployment", name: str = "web", **more: Any) -> Blueprint:
    """What speaking.deployment makes, 1 to 5 replicas."""
    return Blueprint(
        name=name,
        version="1.0.0",
        target=TargetObject(namespace=namespace, kind=kind, name=name, container=name),
        resources=Resources(
            cpu=Cpu(request_m=50, limit_m=200), memory=Memory(request_bytes=64 * MIB, limit_bytes=128 * MIB)
        ),
        scaling=Scaling(min_replicas=1, max_replicas=5),
        **more,
    )
