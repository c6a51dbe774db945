"""An operation in a line for people. It says what is done, with units; never how to type it."""

from __future__ import annotations

from interlock.skills.infrastructure.blueprint.quantities import show
from interlock.skills.infrastructure.operations import (
    ChangeNetworkPolicy,
    ChangeProbes,
    DeleteResource,
    HelmUpgrade,
    ModifySecret,
    ModifyStrategy,
    Operation,
    PatchResources,
    RestartPods,
    RolloutUndo,
    Scale,
)
from interlock.skills.infrastructure.target import ContainerResources

_NAMES_SHOWN = 5


def summary(operation: Operation) -> str:
    """What would be done."""
    target = operation.target
    match operation:
        case Scale(from_replicas=before, replicas=after):
            return f"scale {target} from {before} to {after} replicas"
        case PatchResources(container=container, before=before, after=after):
            return f"set {_changes(before, after)} of {container} in {target}"
        case RestartPods(pods=pods):
            names = ", ".join(pod.name for pod in pods[:_NAMES_SHOWN])
            more = f" and {len(pods) - _NAMES_SHOWN} more" if len(pods) > _NAMES_SHOWN else ""
            return f"replace {names}{more} of {target}"
        case RolloutUndo(to_revision=revision):
            return f"roll {target} back to revision {revision}"
        case ModifyStrategy(settings=settings):
            surge, unavailable = settings.max_surge, settings.max_unavailable
            return f"replace pods of {target} by {settings.strategy}, surge {surge}, unavailable {unavailable}"
        case ChangeProbes(container=container):
            return f"change the probes of {container} in {target}"
        case HelmUpgrade(release=release, change=change):
            return f"through release {release}: {summary(change)}"
        case DeleteResource():
            return f"delete {target}"
        case ModifySecret() | ChangeNetworkPolicy():
            return f"write {target}"


def _changes(before: ContainerResources, after: ContainerResources) -> str:
    parts = []
    for name in after.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            parts.append(f"{_field(name)} {_amount(name, old)} → {_amount(name, new)}")
    return ", ".join(parts) or "nothing"


def _field(name: str) -> str:
    return name.removesuffix("_m").removesuffix("_bytes").replace("_", " ")


def _amount(name: str, value: int | None) -> str:
    if value is None:
        return "none"
    return show("cpu" if name.endswith("_m") else "memory", value)
