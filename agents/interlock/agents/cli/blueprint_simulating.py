"""`interlock blueprint simulate` and `plan`: what a blueprint would do, from a trace or a look; nothing is touched."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.cli.blueprint_files import load_services
from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.directory import Service
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.reasons import seconds
from interlock.skills.infrastructure.simulation.simulate import (
    Fate,
    Simulation,
    Step,
    Summary,
    fate_of,
    simulate,
    summarise,
)
from interlock.skills.infrastructure.trace import MAX_BYTES, read_trace

MAX_EVERY_S = 86_400
_SIGNS = {"scale_up": "+", "scale_down": "-", "hold": "=", "escalate": "!"}


def simulate_trace(
    path: Path, metrics: Path | None, every_s: int, replicas: int | None, approve: bool, out: Path | None, json: bool
) -> int:
    """Exit 0; 2 for a trace or blueprint that cannot be used."""
    simulation = _simulated(path, metrics, every_s, replicas, approve)
    summary = summarise(simulation)
    if out is not None:
        _draw(simulation, out)
    if json:
        answer = {
            "blueprint": simulation.steps[0].decision.blueprint,
            "fedBack": simulation.fed_back,
            "summary": summary,
            "decisions": [_answer(step) for step in simulation.steps if step.fate != "nothing"],
            "drawing": None if out is None else str(out),
        }
        _write(msgspec.json.encode(answer).decode())
        return 0
    first_ms = simulation.steps[0].state.at_ms
    lines = [_line(step, first_ms) for step in _told(simulation)]
    _write("\n".join([*lines, *_summary(simulation, summary), *([f"drawn: {out}"] if out is not None else [])]))
    return 0


def plan_from_trace(path: Path, metrics: Path | None, every_s: int, replicas: int | None, json: bool) -> int:
    """The decision after the last measurement of the trace, with its reasons."""
    step = _simulated(path, metrics, every_s, replicas, False).steps[-1]
    return _planned(step.decision, step.fate, json)


async def plan_from_cluster(path: Path, kubeconfig: Path, json: bool) -> int:
    """The decision about what is in a cluster now. One look has no past: nothing is scaled down or fitted on it."""
    from interlock.agents.blueprints.eyes import real_eyes

    service = _one(path)
    blueprint = service.blueprint
    assert blueprint is not None
    read_file(kubeconfig, MAX_BYTES)
    async with real_eyes(kubeconfig, Path(), [service]) as eyes:
        state = await eyes.observe(blueprint)
        decision = decide(blueprint, state, History(), eyes.now_ms())
    return _planned(decision, fate_of(blueprint, decision, state, False, service.policies), json)


def _planned(decision: Decision, fate: Fate, json: bool) -> int:
    answer = msgspec.json.encode({"decision": decision, "fate": fate}).decode()
    _write(answer if json else "\n".join(told_decision(decision, fate)))
    return 0


def told_decision(decision: Decision, fate: str) -> list[str]:
    """One decision for people: what, why, on what figures."""
    head = f"{decision.blueprint.name} {decision.blueprint.version}  {_what(decision)}"
    fates = {
        "would_ask": "  waits for an approval",
        "forbidden": "  forbidden by governance",
        "done": "  allowed by governance",
    }
    lines = [head + fates.get(fate, "")]
    lines += [f"  - {reason.text} ({reason.reference})" for reason in decision.reasons]
    if decision.contributions:
        parts = [
            f"{part.metric} {part.weight_ppm / 10_000:g} % x "
            + ("missing" if part.low_ppm is None else f"{part.low_ppm / 10_000:.1f} %")
            for part in decision.contributions
        ]
        lines.append(f"  score {decision.score_ppm / 10_000:.1f} % = {' + '.join(parts)}")
    figures = ", ".join(f"{name} {value}" for name, value in decision.now.items())
    lines.append(f"  seen: {figures}; confidence {decision.confidence_percent} %")
    return lines


def _simulated(path: Path, metrics: Path | None, every_s: int, replicas: int | None, approve: bool) -> Simulation:
    if not 1 <= every_s <= MAX_EVERY_S:
        raise UserError("bad_usage", f"--every {every_s} is not from 1 to {MAX_EVERY_S} seconds", "", 2)
    if replicas is not None and not 0 <= replicas <= 100_000:
        raise UserError("bad_usage", f"--replicas {replicas} is not from 0 to 100000", "", 2)
    service = _one(path)
    blueprint = service.blueprint
    assert blueprint is not None
    if metrics is None:
        if not blueprint.metrics.trace:
            raise UserError("no_metrics", f"{service.path} names no trace", "Give one: --metrics trace.csv", 2)
        metrics = service.path.parent / blueprint.metrics.trace
    data = read_file(metrics, MAX_BYTES)
    try:
        trace = read_trace(data, source=str(metrics))
        return simulate(
            blueprint, trace, step_ms=every_s * 1000, replicas=replicas, approve=approve, policies=service.policies
        )
    except SkillsError as error:
        raise UserError(error.reason, error.detail, error.mend, 2) from error


def _one(path: Path) -> Service:
    services = load_services(path)
    if len(services) != 1:
        names = ", ".join(service.path.parent.name for service in services)
        raise UserError("several_blueprints", f"{path} holds {len(services)} blueprints ({names})", "Name one", 2)
    return services[0]


def _draw(simulation: Simulation, out: Path) -> None:
    try:
        from interlock.skills.infrastructure.simulation.drawing import draw
    except ImportError as error:
        raise UserError("no_matplotlib", "drawing needs matplotlib", "pip install 'interlock[plots]'", 2) from error
    try:
        out.write_bytes(draw(simulation))
    except OSError as error:
        raise UserError("cannot_write", f"{out}: {error.strerror}", "Choose another file with -o", 1) from error


def _told(simulation: Simulation) -> list[Step]:
    """Every step at which something is done, and the first of a row of equal wishes that nothing came of."""
    told: list[Step] = []
    waiting = ""
    for step in simulation.steps:
        wish = "" if step.fate in ("nothing", "done") else f"{step.fate} {step.decision.kind} {step.decision.then}"
        if step.decision.kind == "escalate":
            wish = "escalate"
        if step.fate == "done" or (wish and wish != waiting):
            told.append(step)
        waiting = wish
    return told


def _line(step: Step, first_ms: int) -> str:
    decision = step.decision
    passed = (decision.at_ms - first_ms) // 1000
    clock = f"{passed // 3600:02d}:{passed // 60 % 60:02d}:{passed % 60:02d}"
    note = {"would_ask": " [would ask]", "forbidden": " [forbidden]"}.get(step.fate, "")
    why = "; ".join(reason.text for reason in decision.reasons)
    return f"{clock}  {_what(decision):<24}{note} {why}"


def _what(decision: Decision) -> str:
    sign = _SIGNS.get(decision.kind, "*")
    if "replicas" in decision.then:
        return f"{sign} {decision.kind} {decision.now['replicas']} -> {decision.then['replicas']}"
    return f"{sign} {decision.kind}"


def _summary(simulation: Simulation, summary: Summary) -> list[str]:
    hours = summary.replica_ms / 3_600_000
    cost = "" if summary.micro_usd is None else f", {summary.micro_usd / 1_000_000:.2f} USD simulated"
    source = (
        "offered load: replicas change what is measured"
        if simulation.fed_back
        else "measurements as they were: replicas change nothing in them"
    )
    broken = 100 * summary.broken_steps / summary.steps
    return [
        f"{summary.steps} looks over {seconds(summary.duration_ms)}, {source}",
        f"{summary.scale_ups} up, {summary.scale_downs} down ({summary.turns} turns), {summary.other_actions} other, "
        f"{summary.would_ask} would ask, {summary.forbidden} forbidden",
        f"{summary.fewest_replicas} to {summary.most_replicas} replicas, {hours:.2f} replica-hours{cost}; "
        f"a target violated at {broken:.1f} % of the looks",
    ]


def _answer(step: Step) -> dict[str, Any]:
    decision = step.decision
    return {
        "atMs": decision.at_ms,
        "kind": decision.kind,
        "fate": step.fate,
        "now": decision.now,
        "then": decision.then,
        "rationale": decision.rationale,
        "references": decision.references,
    }


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
