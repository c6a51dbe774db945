"""What was seen and decided while services were driven, as SVG: load, latency, score, replicas of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interlock.agents.blueprints.told import Told
from interlock.skills.infrastructure.blueprint.directory import Service
from interlock.skills.infrastructure.decision.evidence import gather
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.simulation.drawing import draw
from interlock.skills.infrastructure.simulation.simulate import Fate, Simulation, Step
from interlock.skills.infrastructure.trace import Trace

_ENDS: dict[str, Fate] = {"success": "done", "rolled_back": "taken_back"}


class Looks:
    """Every look at every service, in order. ends: what became of decisions that were carried out, by their ids."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[ObservedState, Decision, Fate]]] = {}
        self.ends: dict[str, Fate] = {}

    def add(self, told: Told) -> None:
        """Takes what a look saw, and what became of its decision, if the loop told it."""
        if told.record is not None and told.record.outcome in _ENDS:
            self.ends[told.record.decision.id] = _ENDS[told.record.outcome]
        if told.seen is not None:
            state, decision = told.seen
            self.of.setdefault(told.service, []).append((state, decision, told.fate))


def write_drawings(
    looks: Looks, services: Sequence[tuple[Service, dict[str, Trace]]], place: Path, step_ms: int
) -> list[Path]:
    """A file per service that was looked at."""
    written = []
    for service, traces in services:
        blueprint = service.blueprint
        seen = looks.of.get(blueprint.name, []) if blueprint is not None else []
        if blueprint is None or not seen:
            continue
        trace, first_ms = traces.get(blueprint.target.name), seen[0][0].at_ms
        steps = tuple(
            Step(
                state=state,
                offered_mrps=_offered(trace, state.at_ms - first_ms),
                decision=decision,
                fate=looks.ends.get(decision.id, fate),
                broken=tuple(violation.metric for violation in gather(blueprint, state, state.at_ms).violations),
            )
            for state, decision, fate in seen
        )
        simulation = Simulation(blueprint=blueprint, steps=steps, step_ms=step_ms, fed_back=True)
        path = place / f"{blueprint.name}.svg"
        path.write_bytes(draw(simulation))
        written.append(path)
    return written


def _offered(trace: Trace | None, at_ms: int) -> int | None:
    rows = [row for row in trace.rows if row.at_ms <= at_ms] if trace is not None else []
    return rows[-1].offered_mrps if rows else None
