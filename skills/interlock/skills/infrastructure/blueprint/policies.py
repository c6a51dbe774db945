"""What holds for every blueprint of a directory (seed 001, `governance/policies.yaml`). It only narrows what blueprints
allow: the stricter of the two tiers holds, and breakers open at the smaller number.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.bus.yaml12 import YamlError, load_yaml
from interlock.skills.infrastructure.blueprint.checking import problem, violations
from interlock.skills.infrastructure.blueprint.problems import Problem, in_order
from interlock.skills.infrastructure.blueprint.reading import MAX_BYTES, of_yaml


class Policies(Struct, frozen=True, kw_only=True):
    """requires_approval, forbidden_operations: names of operation_names.py. max_consecutive_failures: failures in a row, of
    whatever service, that open the global breaker; max_actions_per_hour: of all services together.
    """

    name: str = ""
    version: str = ""
    requires_approval: tuple[str, ...] = ()
    forbidden_operations: tuple[str, ...] = ()
    max_consecutive_failures: int = 3
    max_actions_per_hour: int = 120


class PoliciesReading(Struct, frozen=True):
    """policies: None if there are problems."""

    source: str
    policies: Policies | None
    problems: tuple[Problem, ...] = ()

    def told(self) -> list[str]:
        """A line per problem."""
        return [entry.told(self.source) for entry in self.problems]


def read_policies(data: bytes | str, *, source: str) -> PoliciesReading:
    """Like read_blueprint: everything that is wrong at once, no exception for any bytes."""
    faults: list[YamlError] = []
    try:
        loaded = load_yaml(data, source=source, limit_bytes=MAX_BYTES, faults=faults)
    except YamlError as error:
        return PoliciesReading(source, None, in_order(of_yaml(fault) for fault in [*faults, error]))
    problems = [of_yaml(fault) for fault in faults]
    problems.extend(violations(loaded, "policies"))
    if problems:
        return PoliciesReading(source, None, in_order(problems))
    spec: dict[str, Any] = loaded.value["spec"]
    authority, safety = spec["agent_authority"], spec.get("safety", {})
    asked = tuple(authority.get("requires_approval", ()))
    forbidden = tuple(authority.get("forbidden_operations", ()))
    twice = [index for index, name in enumerate(forbidden) if name in asked]
    if twice:
        parts = ("spec", "agent_authority", "forbidden_operations")
        expected = "each operation in one tier (it is in requires_approval)"
        told = (problem(loaded, [*parts, index], expected, f"`{forbidden[index]}`") for index in twice)
        return PoliciesReading(source, None, in_order(told))
    metadata = loaded.value["metadata"]
    policies = Policies(
        name=metadata["name"],
        version=metadata["version"],
        requires_approval=asked,
        forbidden_operations=forbidden,
        **safety,
    )
    return PoliciesReading(source, policies)
