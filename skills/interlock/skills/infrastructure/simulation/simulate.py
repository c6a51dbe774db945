"""A blueprint's decisions over a whole trace. Pure: the same trace has the same decisions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from interlock.envelope.verdict import Decision as Gate
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.evidence import gather
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.remembering import asked, began, ended, looked
from interlock.skills.infrastructure.governing import govern_operation
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import PatchResources, Scale
from interlock.skills.infrastructure.simulation.service import Service, measured
from interlock.skills.infrastructure.trace import Row, Trace

MAX_STEPS = 20_000
STEP_MS = 15_000
Fate = Literal["done", "taken_back", "would_ask", "forbidden", "nothing"]


class Step(Struct, frozen=True, kw_only=True):
    """One look. fate: what became of the decision's operation. broken: targets that were violated then."""

    state: ObservedState
    offered_mrps: int | None
    decision: Decision
    fate: Fate
    broken: tuple[str, ...]


class Simulation(Struct, frozen=True, kw_only=True):
    """steps: one per step_ms from the first row to the last. fed_back: replicas changed what was measured."""

    blueprint: Blueprint
    steps: tuple[Step, ...]
    step_ms: int
    fed_back: bool


def simulate(
    blueprint: Blueprint,
    trace: Trace,
    *,
    step_ms: int = STEP_MS,
    replicas: int | None = None,
    approve: bool = False,
    policies: Policies | None = None,
) -> Simulation:
    """All the steps(), with what they are about."""
    made = steps(blueprint, trace, step_ms=step_ms, replicas=replicas, approve=approve, policies=policies)
    return Simulation(blueprint=blueprint, steps=tuple(made), step_ms=step_ms, fed_back=trace.offered)


def steps(
    blueprint: Blueprint,
    trace: Trace,
    *,
    step_ms: int = STEP_MS,
    replicas: int | None = None,
    approve: bool = False,
    policies: Policies | None = None,
) -> Iterator[Step]:
    """Looks every step_ms and carries out what governance allows; approve: what needs an approval as well.

    Where the trace tells offered load, everything else follows from a model in which replicas matter (service.py); where
    it tells measurements only, they are taken as they are. Begins with the given replicas, else the trace's, else
    target_replicas, else min_replicas. Raises SkillsError `trace_invalid`.
    """
    first, last = trace.rows[0].at_ms, trace.rows[-1].at_ms
    if (last - first) // step_ms >= MAX_STEPS:
        raise SkillsError("trace_invalid", f"the trace has more than {MAX_STEPS} steps", "Choose a longer --every")
    scaling = blueprint.scaling
    named = replicas if replicas is not None else trace.rows[0].replicas
    begin = named if named is not None else scaling.target_replicas or scaling.min_replicas
    service = Service(blueprint, begin, first, None)
    if trace.offered and service.work_us is None and any(row.work_us is None for row in trace.rows):
        raise SkillsError(
            "trace_invalid",
            "the trace offers load, but neither its work_ms nor the blueprint's throughput says what a request costs",
            "Add the column work_ms, or spec.performance.throughput_target",
        )
    history, rows = History(), iter(trace.rows)
    row, ahead = next(rows), next(rows, None)
    for now_ms in range(first, last + 1, step_ms):
        while ahead is not None and ahead.at_ms <= now_ms:
            row, ahead = ahead, next(rows, None)
        state = _look(service, row, now_ms, step_ms, trace.offered)
        decision = decide(blueprint, state, history, now_ms)
        fate = fate_of(blueprint, decision, state, approve, policies)
        history = looked(history, blueprint, decision)
        if fate == "done":
            history = ended(began(history, blueprint, decision, now_ms), blueprint, decision, "done")
            _carry_out(service, decision, now_ms)
        elif fate != "nothing":
            history = asked(history, decision, now_ms)
        broken = tuple(violation.metric for violation in gather(blueprint, state, now_ms).violations)
        yield Step(state=state, offered_mrps=row.offered_mrps, decision=decision, fate=fate, broken=broken)


def _look(service: Service, row: Row, now_ms: int, step_ms: int, offered: bool) -> ObservedState:
    if not offered:
        return service.observe(now_ms, row.at_ms, row.cpu_m, row.memory_bytes, measured(row))
    if row.offered_mrps is None:
        return service.observe(now_ms, row.at_ms, None, None, {})
    served = service.advance(now_ms, step_ms, row.offered_mrps, row.work_us)
    return service.observe(now_ms, now_ms, served.used_m, served.memory_bytes, served.values)


def fate_of(
    blueprint: Blueprint, decision: Decision, state: ObservedState, approve: bool, policies: Policies | None
) -> Fate:
    """What governance makes of a decision. approve: as if what needs an approval had it."""
    if decision.operation is None:
        return "nothing"
    verdict = govern_operation(blueprint, decision.operation, state, policies)
    if verdict.allowed or (approve and verdict.decision is Gate.NEEDS_APPROVAL):
        return "done"
    return "would_ask" if verdict.decision is Gate.NEEDS_APPROVAL else "forbidden"


def _carry_out(service: Service, decision: Decision, now_ms: int) -> None:
    operation = decision.operation
    if isinstance(operation, Scale):
        service.scale(operation.replicas, now_ms)
    elif isinstance(operation, PatchResources):
        service.set_resources(operation.after)


class Summary(Struct, frozen=True, kw_only=True):
    """What a simulation comes to. broken_steps: looks at which some target was violated; turns: how often the direction of
    scaling changed; micro_usd: simulated, by cost_per_replica (a month has 30 days), None without it.
    """

    steps: int
    duration_ms: int
    scale_ups: int
    scale_downs: int
    other_actions: int
    would_ask: int
    forbidden: int
    turns: int
    broken_steps: int
    fewest_replicas: int
    most_replicas: int
    replica_ms: int
    micro_usd: int | None


def summarise(simulation: Simulation) -> Summary:
    """The figures of a simulation."""
    done = [step.decision for step in simulation.steps if step.fate == "done"]
    directions = [decision.kind for decision in done if decision.kind in ("scale_up", "scale_down")]
    replicas = [step.state.replicas for step in simulation.steps]
    replica_ms = sum(replicas) * simulation.step_ms
    each = simulation.blueprint.cost.cost_per_replica_micro_usd
    return Summary(
        steps=len(simulation.steps),
        duration_ms=simulation.steps[-1].state.at_ms - simulation.steps[0].state.at_ms,
        scale_ups=directions.count("scale_up"),
        scale_downs=directions.count("scale_down"),
        other_actions=len(done) - len(directions),
        would_ask=sum(step.fate == "would_ask" for step in simulation.steps),
        forbidden=sum(step.fate == "forbidden" for step in simulation.steps),
        turns=sum(a != b for a, b in pairwise(directions)),
        broken_steps=sum(bool(step.broken) for step in simulation.steps),
        fewest_replicas=min(replicas),
        most_replicas=max(replicas),
        replica_ms=replica_ms,
        micro_usd=None if each is None else each * replica_ms // (30 * 86_400_000),
    )
