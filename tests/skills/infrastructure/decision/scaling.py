"""How many replicas, case by case, each derived by hand. `+`, `-`, `=` and the number that follows is what is decided; the
code is one of the reasons given.

Utilisations are percent of the request. Where nothing else is said: weights cpu 1; thresholds 80 and 30; steps of 1;
1 to 5 replicas; cooldown 60 s; window 300 s, in which as many replicas were wanted as are wanted now.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.observed import MetricName, ObservedState
from interlock.skills.infrastructure.operations import Scale
from tests.skills.infrastructure.decision.services import (
    NOW,
    REPLACE,
    blueprint,
    watched,
    weights,
)


class Case(Struct, frozen=True):
    derivation: str
    seen: ObservedState
    expected: str
    code: str
    rules: dict[str, Any] = {}
    past: dict[str, Any] = {}


def decided(case: Case) -> tuple[str, set[str]]:
    like = blueprint(**case.rules)
    past = {"wanted": 0, **case.past}
    history: History = watched(like, past.pop("wanted"))
    decision = decide(like, case.seen, REPLACE(history, **past), NOW)
    to = decision.operation.replicas if isinstance(decision.operation, Scale) else case.seen.replicas
    sign = {"scale_up": "+", "scale_down": "-", "hold": "="}[decision.kind]
    return f"{sign}{to}", {str(reason.code) for reason in decision.reasons}


FULL: dict[str, Any] = {
    "metrics": weights(cpu=50, memory=30, latency=20),
    "performance": {"latency_p95_us": 200_000},
    "target_replicas": 2,
}


def latency(ms: int) -> dict[MetricName, int]:
    return {"latency_p95_us": ms * 1000}


def check(case: Case) -> None:
    got, codes = decided(case)
    assert got == case.expected
    assert case.code in codes
