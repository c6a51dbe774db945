"""SC-010: actions that fail stop, for the service and for all, until a human says so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from interlock.agents.scoring.accuracy import Case, state_of
from interlock.agents.scoring.model import Score, Subject, share
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.remembering import began, ended, looked, reset
from interlock.skills.infrastructure.decision.safety import FLEET_LIMITS, Breaker
from interlock.skills.infrastructure.observed import ObservedState

_FAILURES = 3
_MINUTE_MS = 60_000
_LOOKS = 120


def safety(subjects: Sequence[Subject]) -> Score:
    """Every action of an overloaded service is made to fail, for two hours of looks."""
    checks: list[tuple[str, bool]] = []
    for subject in subjects:
        blueprint = subject.blueprint
        tried, history = _failing(blueprint)
        wanted = min(_FAILURES, blueprint.safety.max_consecutive_failures)
        checks.append((f"{blueprint.name}: stops after {wanted} failures, tried {tried}", tried == wanted))
        checks.append((f"{blueprint.name}: a human's reset lets it go on", _failing(blueprint, reset(history))[0] > 0))
    fleet = Breaker()
    for _ in range(_FAILURES):
        fleet = fleet.began(FLEET_LIMITS, 0).ended(FLEET_LIMITS, "unknown")
    checks.append(("all services stop after 3 failures in a row among them", fleet.open))
    if subjects:
        first = subjects[0].blueprint
        checks.append(("no service acts while the fleet is stopped", _failing(first, fleet=fleet)[0] == 0))
        checks.append(("a human's reset lets the fleet go on", _failing(first, fleet=fleet.reset())[0] > 0))
    good = sum(holds for _, holds in checks)
    return Score(
        criterion="SC-010",
        title="Safety mechanism activation",
        target="stops after 3 consecutive failures, a human must reset",
        met=bool(subjects) and good == len(checks),
        measured=share(good, len(checks)),
        evidence=tuple(f"{'' if holds else 'not so: '}{what}" for what, holds in checks),
    )


def _failing(blueprint: Blueprint, history: History | None = None, fleet: Breaker | None = None) -> tuple[int, History]:
    """How many actions are begun when each of them ends unknown, and the history then."""
    past, tried = history or History(), 0
    busy = state_of(Case(blueprint.scaling.min_replicas, 300, 200, 60_000, 0, ""), blueprint)
    for look in range(_LOOKS):
        now_ms = busy.at_ms + look * blueprint.scaling.scale_up_cooldown_ms + look * _MINUTE_MS
        seen = _at(busy, now_ms)
        decision = decide(blueprint, seen, past, now_ms, fleet=fleet or Breaker())
        past = looked(past, blueprint, decision)
        if decision.operation is not None:
            tried += 1
            past = ended(began(past, blueprint, decision, now_ms), blueprint, decision, "unknown")
    return tried, past


def _at(state: ObservedState, now_ms: int) -> ObservedState:
    """The same service, measured at another time."""
    return msgspec.structs.replace(
        state,
        at_ms=now_ms,
        pods=tuple(msgspec.structs.replace(pod, usage_at_ms=now_ms) for pod in state.pods),
        metrics=tuple(msgspec.structs.replace(sample, at_ms=now_ms) for sample in state.metrics),
    )
