"""Facts of goals, made by hand."""

from __future__ import annotations

from typing import Any

from interlock.agents.costs.attribution import Item
from interlock.agents.deviations.fold import Deviation
from interlock.agents.reports.facts import GoalFacts, Replayed
from interlock.agents.reports.periods import Period, named
from interlock.envelope.payloads import GateOutcome, TaskSummary

DAY = named("day", "2026-11-20")
WEEK = named("week", "2026-11-20")
NOW = DAY.start_ms + 3_600_000
PASSED = GateOutcome(
    gate="G0", name="Intake", owner="PO", passed=True, criteria=[], evidence=[], at="2026-11-20T00:00:00Z"
)
FAILED = GateOutcome(
    gate="G1", name="Design", owner="PO", passed=False, criteria=[], evidence=[], at="2026-11-20T00:00:00Z"
)
TASK = TaskSummary(
    id="t", skill="s", after=[], status="done", attempt=1, cost_usd_micro=1, wall_ms=1, tokens=0, confidence=1000
)


def goal(name: str = "g", **more: Any) -> GoalFacts:
    """A goal without fault, unless said otherwise."""
    fields: dict[str, Any] = {
        "goal_id": name,
        "ended_ms": NOW,
        "outcome": "released",
        "risk_tier": "minimal",
        "usd_micro": 100,
        "limit_micro": 1_000,
        "tokens": 0,
        "wall_ms": 10,
        "carbon_micrograms": 7,
        "hops": 14,
        "verified": 14,
        "failed": 0,
        "strangers": 0,
        "gates": [PASSED],
        "findings": [],
        "tasks": [TASK],
        "items": [],
        "handed_over": True,
        "replayed": Replayed(28, 28),
    }
    return GoalFacts(**fields | more)


def item(name: str, usd_micro: int, **more: str) -> Item:
    fields = {"domain": "d", "agent": "executor", "skill": "s", "model": "m", "tag": "t"} | more
    return Item(goal=name, usd_micro=usd_micro, tokens=0, at_ms=NOW, **fields)


def deviation(kind: Any, *, resolved: bool = False, escalated: bool = False, period: Period = WEEK) -> Deviation:
    return Deviation(
        id="d" * 64,
        kind=kind,
        about="workspace",
        halts="",
        evidence="HOPS:1",
        detail="seen",
        opened_ms=period.start_ms,
        escalated_ms=period.start_ms + 2 if escalated else 0,
        resolved_ms=period.start_ms + 3 if resolved else 0,
    )
