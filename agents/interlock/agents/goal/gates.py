"""Gates G0–G8: criteria as data (config/gates.yaml), facts as values, outcomes with evidence (ROL-07).

A criterion compares one fact with a bound. A fact that is not there fails its criterion: a gate that cannot be
evaluated has failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from interlock.envelope.payloads import GateOutcome

Fact = int | bool | str


class Criterion(Struct, frozen=True, forbid_unknown_fields=True):
    """`fact` must be `is` equal, `at_least` or `at_most` the bound."""

    fact: str
    text: str
    equals: Fact | None = msgspec.field(name="is", default=None)
    at_least: int | None = None
    at_most: int | None = None


class GateDefinition(Struct, frozen=True, forbid_unknown_fields=True):
    id: Literal["G0", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8"]
    name: str
    owner: str
    criteria: list[Criterion]


class Gates(Struct, frozen=True, forbid_unknown_fields=True):
    gates: list[GateDefinition]

    def outcome(self, gate: str, facts: Mapping[str, Fact], at: str) -> GateOutcome:
        """Evaluates one gate. at: RFC 3339 time of the decision."""
        definition = next(entry for entry in self.gates if entry.id == gate)
        results = [(criterion, _holds(criterion, facts)) for criterion in definition.criteria]
        return GateOutcome(
            gate=definition.id,
            name=definition.name,
            owner=definition.owner,
            passed=all(holds for _, holds in results),
            criteria=[criterion.text for criterion in definition.criteria],
            evidence=[_evidence(criterion, holds, facts) for criterion, holds in results],
            at=at,
        )


def load_gates(path: Path) -> Gates:
    """Reads config/gates.yaml; raises ValueError naming what is wrong. Every gate G0–G8 must be there once."""
    from interlock.bus.yaml12 import load_yaml

    gates = msgspec.convert(load_yaml(path.read_bytes(), source=str(path)).value, Gates)
    found = [gate.id for gate in gates.gates]
    wanted = [f"G{number}" for number in range(9)]
    if found != wanted:
        raise ValueError(f"{path}: expected the gates {', '.join(wanted)} in this order, found {', '.join(found)}")
    return gates


def all_passed(outcomes: Sequence[GateOutcome], required: Sequence[str] = ()) -> bool:
    """Whether no gate has failed, and each of the required ones was there to be passed."""
    return all(outcome.passed for outcome in outcomes) and not lacking(outcomes, required)


def lacking(outcomes: Sequence[GateOutcome], required: Sequence[str]) -> list[str]:
    """Required gates that were not passed, or never came."""
    passed = {outcome.gate for outcome in outcomes if outcome.passed}
    return [gate for gate in required if gate not in passed]


def _holds(criterion: Criterion, facts: Mapping[str, Fact]) -> bool:
    value = facts.get(criterion.fact)
    if value is None:
        return False
    if criterion.equals is not None and (value != criterion.equals or type(value) is not type(criterion.equals)):
        return False
    if criterion.at_least is not None and not (type(value) is int and value >= criterion.at_least):
        return False
    if criterion.at_most is not None and not (type(value) is int and value <= criterion.at_most):
        return False
    return not (criterion.equals is None and criterion.at_least is None and criterion.at_most is None)


def _evidence(criterion: Criterion, holds: bool, facts: Mapping[str, Fact]) -> str:
    value = facts.get(criterion.fact)
    told = "unknown" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{'holds' if holds else 'fails'}: {criterion.fact} = {told}"
