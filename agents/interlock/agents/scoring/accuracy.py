"""SC-002: decisions against cases derived by hand from seed 001's own blueprint (cases.csv says how)."""

from __future__ import annotations

import csv
from pathlib import Path

from msgspec import Struct

from interlock.agents.scoring.model import Score, share
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.reading import read_blueprint
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.observed import ObservedState, PodState, Sample
from interlock.skills.infrastructure.operations import Scale

_CASES = Path(__file__).with_name("cases.csv")
SEED_PATH = Path(__file__).with_name("frontend.yaml")
_NOW_MS = 10_000_000
# So that every whole percentage is a whole number; only the shares count.
_REQUEST_M, _REQUEST_BYTES = 1_000, 100 << 20
# Whatever latency it has, the service answers enough, without errors: the cases are about the score and p95.
_HEALTHY = {"throughput_mrps": 200_000, "availability_ppm": 1_000_000, "error_rate_ppm": 0}


class Case(Struct, frozen=True):
    """Percentages of the request, p95 in ms; None: not measured. expected: replicas afterwards."""

    replicas: int
    cpu_percent: int | None
    memory_percent: int | None
    latency_p95_ms: int | None
    expected: int
    derivation: str


def seed_blueprint() -> Blueprint:
    """The complete example of seed 001."""
    reading = read_blueprint(SEED_PATH.read_bytes(), source=SEED_PATH.name)
    if reading.blueprint is None:
        raise ValueError("; ".join(reading.told()))
    return reading.blueprint


def cases() -> list[Case]:
    """The table, in its order."""
    with _CASES.open(encoding="utf-8", newline="") as file:
        return [
            Case(
                int(row["replicas"]),
                _number(row["cpu_percent"]),
                _number(row["memory_percent"]),
                _number(row["latency_p95_ms"]),
                int(row["expected"]),
                row["derivation"],
            )
            for row in csv.DictReader(file)
        ]


def _number(text: str) -> int | None:
    return int(text) if text else None


def state_of(case: Case, blueprint: Blueprint) -> ObservedState:
    """Every pod uses the same. p50 and p99 follow p95 at a quarter and at once and a half."""
    used_m = None if case.cpu_percent is None else case.cpu_percent * _REQUEST_M // 100
    used_bytes = None if case.memory_percent is None else case.memory_percent * _REQUEST_BYTES // 100
    pods = tuple(
        PodState(
            name=f"pod-{index}",
            ready=True,
            started_ms=0,
            ready_changed_ms=30_000,
            cpu_m=used_m,
            memory_bytes=used_bytes,
            usage_at_ms=_NOW_MS,
        )
        for index in range(case.replicas)
    )
    values = dict(_HEALTHY)
    if case.latency_p95_ms is not None:
        p95_us = case.latency_p95_ms * 1000
        values |= {"latency_p50_us": p95_us // 4, "latency_p95_us": p95_us, "latency_p99_us": p95_us * 3 // 2}
    return ObservedState(
        target=blueprint.unread_target,
        at_ms=_NOW_MS,
        replicas=case.replicas,
        ready_replicas=case.replicas,
        pods=pods,
        metrics=tuple(Sample(name=name, value=value, at_ms=_NOW_MS) for name, value in values.items()),  # type: ignore[arg-type]
        container=blueprint.target.container,
        pod_cpu_request_m=_REQUEST_M,
        pod_memory_request_bytes=_REQUEST_BYTES,
    )


def replicas_after(case: Case, blueprint: Blueprint) -> int:
    """What is decided for a service that has been watched for an hour, during which nothing higher was wanted."""
    watched = History(digest=blueprint.digest, since_ms=_NOW_MS - 3_600_000, seen_ms=_NOW_MS - 15_000)
    decision = decide(blueprint, state_of(case, blueprint), watched, _NOW_MS)
    return decision.operation.replicas if isinstance(decision.operation, Scale) else case.replicas


def accuracy() -> Score:
    """SC-002."""
    blueprint, table = seed_blueprint(), cases()
    wrong = [case for case in table if replicas_after(case, blueprint) != case.expected]
    good = len(table) - len(wrong)
    told = tuple(f"{case.replicas} replicas: {case.derivation}: expected {case.expected}" for case in wrong)
    return Score(
        criterion="SC-002",
        title="Agent decision accuracy",
        target="> 95 % as the blueprint's rules expect",
        met=good * 100 > 95 * len(table),
        measured=share(good, len(table)),
        evidence=(f"{len(table)} cases derived by hand for seed 001's blueprint, in {_CASES.name}", *told),
    )
