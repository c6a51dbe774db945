"""What a criterion comes to."""

from __future__ import annotations

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.simulation.simulate import Step


class Subject(Struct, frozen=True, kw_only=True):
    """One service that is scored: its blueprint, and an hour of it."""

    blueprint: Blueprint
    policies: Policies | None
    steps: tuple[Step, ...]


class Score(Struct, frozen=True, kw_only=True):
    """criterion: `SC-001`. target: what seed 001 asks; measured: what was found; evidence: how, a line each. A criterion
    that nothing was measured for is not met.
    """

    criterion: str
    title: str
    target: str
    met: bool
    measured: str
    evidence: tuple[str, ...]


def share(good: int, all_: int) -> str:
    """`57 of 57 (100 %)`."""
    return f"{good} of {all_} ({100 * good / all_:.4g} %)" if all_ else "nothing to measure"
