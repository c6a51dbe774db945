"""Where an object differs from its blueprint: a report, never a change. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.observed import ObservedState


class Drift(Struct, frozen=True, kw_only=True):
    """One field. reference: its place in the blueprint; wanted, found: as integers with units in the field's name, or as
    the words of the API; None: not set.
    """

    field: str
    reference: str
    wanted: str | int | None
    found: str | int | None

    def __str__(self) -> str:
        return f"{self.field} is {self.found}, {self.reference} says {self.wanted}"


def drift(blueprint: Blueprint, state: ObservedState) -> tuple[Drift, ...]:
    """What the blueprint says of an object and the object does not. Within min and max, the replicas are nobody's drift."""
    return tuple(_differences(blueprint, state))


def _differences(blueprint: Blueprint, state: ObservedState) -> Iterator[Drift]:
    scaling = blueprint.scaling
    if state.replicas < scaling.min_replicas:
        yield Drift(
            field="replicas", reference="spec.scaling.min_replicas", wanted=scaling.min_replicas, found=state.replicas
        )
    if state.replicas > scaling.max_replicas:
        yield Drift(
            field="replicas", reference="spec.scaling.max_replicas", wanted=scaling.max_replicas, found=state.replicas
        )
    if state.resources is None:
        yield Drift(field="container", reference="spec.target.container", wanted=blueprint.target.container, found=None)
    else:
        yield from _fields(blueprint.resources.of_container(), state.resources, "spec.resources")
    if blueprint.deployment is not None and state.settings is not None:
        yield from _fields(blueprint.deployment, state.settings, "spec.deployment")
    probes = (
        ("readiness_probe", blueprint.reliability.readiness_probe, state.readiness),
        ("liveness_probe", blueprint.reliability.liveness_probe, state.liveness),
    )
    for name, wanted, found in probes:
        if wanted is not None and found is None:
            yield Drift(field=name, reference=f"spec.reliability.{name}", wanted="set", found=None)
        elif wanted is not None:
            yield from _fields(wanted, found, f"spec.reliability.{name}")


def _fields(wanted: Any, found: Any, reference: str) -> Iterator[Drift]:
    for field in msgspec.structs.fields(wanted):
        asked, seen = getattr(wanted, field.name), getattr(found, field.name)
        if asked is not None and asked != seen:
            yield Drift(
                field=field.name,
                reference=f"{reference}.{_PLACES.get(field.name, field.name)}",
                wanted=asked,
                found=seen,
            )


# Where the blueprint's file says what a field of the model holds.
_PLACES = {
    "cpu_request_m": "cpu.request",
    "cpu_limit_m": "cpu.limit",
    "memory_request_bytes": "memory.request",
    "memory_limit_bytes": "memory.limit",
    "initial_delay_s": "initial_delay",
    "period_s": "period",
    "timeout_s": "timeout",
}
