"""How many replicas, case by case, each derived by hand. `+`, `-`, `=` and the number that follows is what is decided; the
code is one of the reasons given.

Utilisations are percent of the request. Where nothing else is said: weights cpu 1; thresholds 80 and 30; steps of 1;
1 to 5 replicas; cooldown 60 s; window 300 s, in which as many replicas were wanted as are wanted now.
"""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History, Load, Raised
from interlock.skills.infrastructure.decision.window import Peak
from interlock.skills.infrastructure.observed import ObservedState, RolloutState
from interlock.skills.infrastructure.operations import Scale
from tests.skills.infrastructure.decision.services import (
    NOW,
    REPLACE,
    blueprint,
    pod,
    starting,
    state,
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


FULL = {
    "metrics": weights(cpu=50, memory=30, latency=20),
    "performance": {"latency_p95_us": 200_000},
    "target_replicas": 2,
}
HPA = {"mode": "target_utilization", "max_replicas": 20, "scale_up_increment": 20, "scale_down_increment": 20}
WIDE = {"max_replicas": 20}


def latency(ms: int) -> dict[str, int]:
    return {"latency_p95_us": ms * 1000}


THRESHOLDS = [
    Case("81 > 80: one more", state(2, 81), "+3", "above_threshold"),
    Case("80 is not above 80", state(2, 80), "=2", "between_thresholds"),
    Case("31 is between", state(2, 31), "=2", "between_thresholds"),
    Case("30 is not below 30", state(2, 30), "=2", "between_thresholds"),
    Case("29 < 30; 2 x 29/65.45 = 0.89: 1", state(2, 29), "-1", "below_threshold"),
    Case("one of 5 at most, though ceil(5 x 5/65.45) = 1 would do", state(5, 5), "-4", "below_threshold"),
    Case("step 3: 2 + 3", state(2, 95), "+5", "above_threshold", {"scale_up_increment": 3}),
    Case("step 3 from 4: max 5", state(4, 95), "+5", "at_max", {"scale_up_increment": 3}),
    Case("max 5 reached", state(5, 95), "=5", "at_max"),
    Case("min 1 reached", state(1, 5), "=1", "at_min"),
    Case(
        "step 3: 5 - 3 = 2, ceil(5 x 10/65.45) = 1", state(5, 10), "-2", "below_threshold", {"scale_down_increment": 3}
    ),
    Case(
        "step 4: ceil(5 x 25/65.45 = 1.91) = 2, not 1",
        state(5, 25),
        "-2",
        "below_threshold",
        {"scale_down_increment": 4},
    ),
    Case(
        "min 3: step 3 from 4 ends at 3",
        state(4, 5),
        "-3",
        "below_threshold",
        {"min_replicas": 3, "scale_down_increment": 3},
    ),
    Case(
        "thresholds 80/60: ceil(2 x 50/65.45 = 1.53) = 2: it would come back",
        state(2, 50),
        "=2",
        "would_come_back",
        {"scale_down_threshold_ppm": 600_000},
    ),
    Case(
        "thresholds 80/60: ceil(2 x 32/65.45 = 0.98) = 1",
        state(2, 32),
        "-1",
        "below_threshold",
        {"scale_down_threshold_ppm": 600_000},
    ),
    Case("nothing is used at all: still one step", state(3, 0), "-2", "below_threshold"),
]

WEIGHTED = [
    Case(
        "seed 001: .5x85 + .3x75 + .2x110 = 87 > 80",
        state(2, 85, 75, metrics=latency(220)),
        "+3",
        "above_threshold",
        FULL,
    ),
    Case(
        "the latency is a reason of its own there",
        state(2, 85, 75, metrics=latency(220)),
        "+3",
        "target_violated",
        FULL,
    ),
    Case(".5x78 + .3x86 + .2x99 = 84.6 > 80", state(2, 78, 86, metrics=latency(198)), "+3", "above_threshold", FULL),
    Case(".5x60 + .3x60 + .2x60 = 60", state(2, 60, 60, metrics=latency(120)), "=2", "between_thresholds", FULL),
    Case(
        "cpu 85 > 80 alone, though the sum is .5x85 + .3x40 + .2x50 = 64.5",
        state(2, 85, 40, metrics=latency(100)),
        "+3",
        "above_threshold",
        FULL,
    ),
    Case(
        "memory 85 > 80, but within 10 % of its target 80; sum .5x40 + .3x85 + .2x50 = 55.5",
        state(2, 40, 85, metrics=latency(100)),
        "=2",
        "between_thresholds",
        FULL,
    ),
    Case("memory 89 > 88 = 80 + 10 %", state(2, 40, 89, metrics=latency(100)), "+3", "above_threshold", FULL),
    Case(
        ".5x10 + .3x40 + .2x50 = 27 < 30; ceil(2 x 27/65.45) = 1",
        state(2, 10, 40, metrics=latency(100)),
        "-1",
        "below_threshold",
        FULL,
    ),
    Case(
        ".5x16 + .3x40 + .2x50 = 30: not below",
        state(2, 16, 40, metrics=latency(100)),
        "=2",
        "between_thresholds",
        FULL,
    ),
    Case(
        "latency 210 > 200, though the sum is .5x10 + .3x20 + .2x105 = 32",
        state(2, 10, 20, metrics=latency(210)),
        "+3",
        "target_violated",
        FULL,
    ),
    Case(
        "latency exactly on target is no violation",
        state(2, 60, 60, metrics=latency(200)),
        "=2",
        "between_thresholds",
        FULL,
    ),
    Case(
        "throughput: 200 req/s for 2 replicas = 100 each; 170/(2 x 100) = 85 > 80",
        state(2, 10, metrics={"throughput_mrps": 170_000}),
        "+3",
        "above_threshold",
        {"metrics": weights(throughput=100), "performance": {"throughput_target_mrps": 200_000}, "target_replicas": 2},
    ),
    Case(
        "the same 170 req/s on 3 replicas: 57",
        state(3, 10, metrics={"throughput_mrps": 170_000}),
        "=3",
        "between_thresholds",
        {"metrics": weights(throughput=100), "performance": {"throughput_target_mrps": 200_000}, "target_replicas": 2},
    ),
    Case(
        "throughput_min 50 for min_replicas 1 = 50 each; 20/(2 x 50) = 20 < 30 and ceil(0.61) = 1; idle: 20 < 50 is demand",
        state(2, 10, metrics={"throughput_mrps": 20_000}),
        "-1",
        "not_scaling_matter",
        {"metrics": weights(throughput=100), "performance": {"throughput_min_mrps": 50_000}},
    ),
    Case(
        "errors: 0.9 % of at most 1 % = 90 > 80",
        state(2, 10, metrics={"error_rate_ppm": 9_000}),
        "+3",
        "above_threshold",
        {"metrics": weights(error_rate=100), "performance": {"error_rate_max_ppm": 10_000}},
    ),
    Case(
        "queue: .5x50 + .5x(180/150 = 120) = 85 > 80",
        state(2, 50, metrics={"queue_depth": 180}),
        "+3",
        "above_threshold",
        {"metrics": weights(cpu=50, queue_depth=50), "performance": {"queue_depth_max": 150}},
    ),
    Case(
        "a weight of 0 counts for nothing, even where it is not measured",
        state(2, 50),
        "=2",
        "between_thresholds",
        {"metrics": weights(cpu=100, queue_depth=0)},
    ),
]

VIOLATIONS = [
    Case(
        "p99 600 > 500: one more",
        state(2, 50, metrics={"latency_p99_us": 600_000}),
        "+3",
        "target_violated",
        {"performance": {"latency_p99_us": 500_000}},
    ),
    Case(
        "p50 110 > 100, idle or not",
        state(2, 5, metrics={"latency_p50_us": 110_000}),
        "+3",
        "target_violated",
        {"performance": {"latency_p50_us": 100_000}},
    ),
    Case(
        "80 of at least 100 req/s at cpu 71: pressed, so one more",
        state(2, 71, metrics={"throughput_mrps": 80_000}),
        "+3",
        "target_violated",
        {"performance": {"throughput_min_mrps": 100_000}},
    ),
    Case(
        "80 of at least 100 req/s at cpu 10: nobody asks for more; down",
        state(2, 10, metrics={"throughput_mrps": 80_000}),
        "-1",
        "not_scaling_matter",
        {"performance": {"throughput_min_mrps": 100_000}},
    ),
    Case(
        "availability 99.8 < 99.9 at cpu 71",
        state(2, 71, metrics={"availability_ppm": 998_000}),
        "+3",
        "target_violated",
        {"performance": {"availability_ppm": 999_000}},
    ),
    Case(
        "availability 99.8 at cpu 10: idle; not up, but not down either",
        state(2, 10, metrics={"availability_ppm": 998_000}),
        "=2",
        "not_scaling_matter",
        {"performance": {"availability_ppm": 999_000}},
    ),
    Case(
        "errors 2 % > 1 % at cpu 71",
        state(2, 71, metrics={"error_rate_ppm": 20_000}),
        "+3",
        "target_violated",
        {"performance": {"error_rate_max_ppm": 10_000}},
    ),
    Case(
        "errors 2 % at cpu 10: idle",
        state(2, 10, metrics={"error_rate_ppm": 20_000}),
        "=2",
        "not_scaling_matter",
        {"performance": {"error_rate_max_ppm": 10_000}},
    ),
    Case(
        "queue 11 > 10 though idle: it grows",
        state(2, 5, metrics={"queue_depth": 11}),
        "+3",
        "target_violated",
        {"performance": {"queue_depth_max": 10}},
    ),
    Case(
        "violated at max",
        state(5, 50, metrics=latency(300)),
        "=5",
        "at_max",
        {"performance": {"latency_p95_us": 200_000}},
    ),
    Case(
        "one of three still starts: its effect is not known yet",
        state(3, pods=(pod("a", 50), pod("b", 50), starting("c")), metrics=latency(300)),
        "=3",
        "pods_starting",
        {"performance": {"latency_p95_us": 200_000}},
    ),
    Case(
        "with cpu above the threshold it does not wait: (100+100+0)/3 = 66 no, (130+130+0)/3 = 87 yes",
        state(3, pods=(pod("a", 130), pod("b", 130), starting("c"))),
        "+4",
        "above_threshold",
    ),
]

VIOLATIONS += [
    Case(
        "80 of at least 100 req/s at cpu 66, above 65.45 = 80 x 0.9/1.1: pressed",
        state(2, 66, metrics={"throughput_mrps": 80_000}),
        "+3",
        "target_violated",
        {"performance": {"throughput_min_mrps": 100_000}},
    ),
    Case(
        "the same at cpu 65: comfortable, so it is demand",
        state(2, 65, metrics={"throughput_mrps": 80_000}),
        "=2",
        "not_scaling_matter",
        {"performance": {"throughput_min_mrps": 100_000}},
    ),
    Case(
        "errors 2 % at cpu 65: not from load",
        state(2, 65, metrics={"error_rate_ppm": 20_000}),
        "=2",
        "not_scaling_matter",
        {"performance": {"error_rate_max_ppm": 10_000}},
    ),
]

BLIND = [
    Case("no usage at all, hold", state(2, None, None), "=2", "metric_missing"),
    Case(
        "no usage at all, shrink: nothing presses, nothing goes",
        state(2, None, None),
        "=2",
        "metric_missing",
        {"on_missing_metrics": "shrink"},
    ),
    Case("cpu 95 but latency missing, hold", state(2, 95), "=2", "metric_missing", FULL),
    Case(
        "shrink: cpu 95 alone is above 80: one more",
        state(2, 95),
        "+3",
        "above_threshold",
        {**FULL, "on_missing_metrics": "shrink"},
    ),
    Case(
        "shrink: a step of 3 becomes 1",
        state(2, 95),
        "+3",
        "metric_missing",
        {**FULL, "on_missing_metrics": "shrink", "scale_up_increment": 3},
    ),
    Case(
        "shrink: .5x5 + .3x5 and unknown latency: never down",
        state(2, 5, 5),
        "=2",
        "metric_missing",
        {**FULL, "on_missing_metrics": "shrink"},
    ),
    Case(
        "latency two minutes and a bit old is missing",
        state(2, 95, metrics=latency(300), metrics_at_ms=NOW - 120_001),
        "=2",
        "metric_missing",
        FULL,
    ),
    Case(
        "two minutes old is not",
        state(2, 95, metrics=latency(300), metrics_at_ms=NOW - 120_000),
        "+3",
        "target_violated",
        FULL,
    ),
    Case(
        "a target nobody measures: never down",
        state(2, 5),
        "=2",
        "metric_missing",
        {"performance": {"availability_ppm": 999_000}},
    ),
    Case(
        "a target nobody measures does not stop the way up",
        state(2, 95),
        "+3",
        "above_threshold",
        {"performance": {"availability_ppm": 999_000}},
    ),
    Case(
        "one of 3 pods blind: (5+5+100)/3 = 37, not below 30",
        state(3, pods=(pod("a", 5), pod("b", 5), pod("c", None, None))),
        "=3",
        "between_thresholds",
    ),
    Case(
        "one of 5 pods blind: (4x5+100)/5 = 24 < 30; ceil(5 x 24/65.45) = 2, one step",
        state(5, pods=(*(pod(f"p{i}", 5) for i in range(4)), pod("c", None, None))),
        "-4",
        "below_threshold",
    ),
    Case(
        "one of 2 pods blind: (95+0)/2 = 47 is not above 80",
        state(2, pods=(pod("a", 95), pod("b", None, None))),
        "=2",
        "between_thresholds",
    ),
    Case("nothing requested: utilisation is not defined", state(2, 95, pod_cpu_request_m=None), "=2", "metric_missing"),
    Case(
        "a cpu sample from the future beyond any clock difference",
        state(2, pods=(pod("a", 95, usage_at_ms=NOW + 120_001),) * 2),
        "=2",
        "metric_missing",
    ),
]

LIMITS = [
    Case("0 < min 1", state(0), "+1", "below_min"),
    Case("1 < min 3: to 3 at once, without metrics", state(1, None, None), "+3", "below_min", {"min_replicas": 3}),
    Case("7 > max 5: to 5 at once", state(7, 50), "-5", "above_max"),
    Case("7 > max 5 at cpu 95: the blueprint is the authority", state(7, 95), "-5", "above_max"),
    Case("7 > max 5, no metrics: never down blind", state(7, None, None), "=7", "metric_missing"),
    Case(
        "below min inside the cooldown waits",
        state(1, 50),
        "=1",
        "cooldown",
        {"min_replicas": 3},
        {"scaled_ms": NOW - 59_999},
    ),
    Case("above max inside the cooldown waits", state(7, 50), "=7", "cooldown", {}, {"scaled_ms": NOW - 59_999}),
]

COOLDOWN = [
    Case("59.999 s ago", state(2, 95), "=2", "cooldown", {}, {"scaled_ms": NOW - 59_999}),
    Case("60 s ago", state(2, 95), "+3", "above_threshold", {}, {"scaled_ms": NOW - 60_000}),
    Case(
        "down has its own: 120 s not over",
        state(2, 5),
        "=2",
        "cooldown",
        {"scale_down_cooldown_ms": 120_000},
        {"scaled_ms": NOW - 60_000},
    ),
    Case(
        "up does not wait for that of down",
        state(2, 95),
        "+3",
        "above_threshold",
        {"scale_down_cooldown_ms": 120_000},
        {"scaled_ms": NOW - 60_000},
    ),
    Case("no cooldown", state(2, 95), "+3", "above_threshold", {"scale_up_cooldown_ms": 0}, {"scaled_ms": NOW}),
    Case(
        "the last change lies in the future: the clock went back, wait",
        state(2, 95),
        "=2",
        "cooldown",
        {},
        {"scaled_ms": NOW + 5_000},
    ),
    Case(
        "a violated target waits as well",
        state(2, 50, metrics=latency(300)),
        "=2",
        "cooldown",
        {"performance": {"latency_p95_us": 200_000}},
        {"scaled_ms": NOW - 1},
    ),
]

STABLE = [
    Case("3 were wanted 15 s ago: 3 - 1 = 2 is fewer", state(3, 10), "=3", "stabilising", {}, {"wanted": 3}),
    Case("2 were wanted 15 s ago: 3 - 1 = 2", state(3, 10), "-2", "below_threshold", {}, {"wanted": 2}),
    Case(
        "4 of 6 were wanted: step 3 ends at 4",
        state(6, 10),
        "-4",
        "below_threshold",
        {**WIDE, "scale_down_increment": 3},
        {"wanted": 4},
    ),
    Case(
        "6 were wanted 300 s ago: out of the window",
        state(6, 10),
        "-5",
        "below_threshold",
        WIDE,
        {"recommendations": (Peak(NOW - 300_000, 6), Peak(NOW - 15_000, 1))},
    ),
    Case(
        "6 were wanted 299.999 s ago",
        state(6, 10),
        "=6",
        "stabilising",
        WIDE,
        {"recommendations": (Peak(NOW - 299_999, 6), Peak(NOW - 15_000, 1))},
    ),
    Case("watched for 299.999 s only", state(3, 10), "=3", "stabilising", {}, {"since_ms": NOW - 299_999}),
    Case("never watched before", state(3, 10), "=3", "stabilising", {}, {"since_ms": None}),
    Case(
        "no window, never watched before",
        state(3, 10),
        "-2",
        "below_threshold",
        {"stabilization_window_ms": 0},
        {"since_ms": None},
    ),
    Case("the way up does not wait", state(3, 95), "+4", "above_threshold", {}, {"since_ms": None}),
    Case(
        "a rollout is under way: not down",
        state(3, 10, rollout=RolloutState(revision=2, complete=False)),
        "=3",
        "rolling_out",
    ),
    Case(
        "a rollout is under way: up all the same",
        state(3, 95, rollout=RolloutState(revision=2, complete=False)),
        "+4",
        "above_threshold",
    ),
]


def raised(at: int, cpu: int, *, ago_ms: int = 600_000, by_load: bool = True) -> dict[str, Any]:
    """at replicas were too few for cpu percent of one pod's request in all."""
    return {"raised": (Raised(replicas=at, at_ms=NOW - ago_ms, by_load=by_load, loads=(Load("cpu", cpu * 10_000),)),)}


LOW = {"scale_up_threshold_ppm": 900_000, "scale_down_threshold_ppm": 400_000}
HYSTERESIS = [
    Case(
        "2 were too few for 90; now 3 x 25 = 75 x 1.1 = 82.5 >= 81: cannot be told apart",
        state(3, 25),
        "=3",
        "would_come_back",
        LOW,
        raised(2, 90),
    ),
    Case(
        "now 3 x 24 = 72 x 1.1 = 79.2 < 90 x 0.9 = 81: really less",
        state(3, 24),
        "-2",
        "below_threshold",
        LOW,
        raised(2, 90),
    ),
    Case("1 was too few for 90: 2 is not 1", state(3, 25), "-2", "below_threshold", LOW, raised(1, 90)),
    Case(
        "step 3 from 5: not to 2, which was too few, but to 3",
        state(5, 18),
        "-3",
        "below_threshold",
        {**LOW, "scale_down_increment": 3},
        raised(2, 95),
    ),
    Case(
        "a violated target an hour ago may have had another cause",
        state(3, 25),
        "-2",
        "below_threshold",
        LOW,
        raised(2, 75, ago_ms=3_600_000, by_load=False),
    ),
    Case(
        "a violated target within the hour counts",
        state(3, 25),
        "=3",
        "would_come_back",
        LOW,
        raised(2, 75, ago_ms=3_599_999, by_load=False),
    ),
]

BUDGET = {"monthly_budget_micro_usd": 60_000_000, "cost_per_replica_micro_usd": 20_000_000}
COST = [
    Case("60 USD pay for 3 replicas of 20: 3 is the end", state(3, 95), "=3", "over_budget", {"cost": BUDGET}),
    Case(
        "max_replicas is 3 too: that is the nearer reason",
        state(3, 95),
        "=3",
        "at_max",
        {"cost": BUDGET, "max_replicas": 3},
    ),
    Case("2 to 3 is paid for", state(2, 95), "+3", "above_threshold", {"cost": BUDGET}),
    Case(
        "balanced: a violated target is worth more",
        state(3, 95, metrics=latency(300)),
        "+4",
        "target_violated",
        {"cost": BUDGET, "performance": {"latency_p95_us": 200_000}},
    ),
    Case(
        "cost: it is not",
        state(3, 95, metrics=latency(300)),
        "=3",
        "over_budget",
        {"cost": {**BUDGET, "optimization_priority": "cost"}, "performance": {"latency_p95_us": 200_000}},
    ),
    Case(
        "performance: the budget stops nothing",
        state(3, 95),
        "+4",
        "above_threshold",
        {"cost": {**BUDGET, "optimization_priority": "performance"}},
    ),
    Case(
        "a step of 3 from 2 ends at what is paid for",
        state(2, 95),
        "+3",
        "over_budget",
        {"cost": BUDGET, "scale_up_increment": 3},
    ),
    Case(
        "the budget pays for 3, min_replicas is 4", state(3, 50), "+4", "below_min", {"cost": BUDGET, "min_replicas": 4}
    ),
    Case(
        "cost: 4 at 40 where 2 are usual: 3 would carry ceil(4 x 40/65.45 = 2.44)",
        state(4, 40),
        "-3",
        "cost_target",
        {"cost": {"optimization_priority": "cost"}, "target_replicas": 2},
    ),
    Case(
        "cost: 3 at 50 where 2 are usual: ceil(3 x 50/65.45 = 2.29) = 3",
        state(3, 50),
        "=3",
        "between_thresholds",
        {"cost": {"optimization_priority": "cost"}, "target_replicas": 2},
    ),
    Case(
        "balanced: 4 at 40 is between the thresholds", state(4, 40), "=4", "between_thresholds", {"target_replicas": 2}
    ),
    Case(
        "performance: not below the usual 2",
        state(2, 5),
        "=2",
        "cost_target",
        {"cost": {"optimization_priority": "performance"}, "target_replicas": 2},
    ),
    Case("balanced: to 1", state(2, 5), "-1", "below_threshold", {"target_replicas": 2}),
]

BY_TARGET = [
    Case("ceil(2 x 85/70 = 2.43)", state(2, 85), "+3", "above_target", HPA),
    Case("ceil(10 x 35/70)", state(10, 35), "-5", "below_target", HPA),
    Case("ceil(5 x 140/70)", state(5, 140), "+10", "above_target", HPA),
    Case("77/70 = 1.1: within the tolerance", state(2, 77), "=2", "on_target", HPA),
    Case("63/70 = 0.9: within", state(10, 63), "=10", "on_target", HPA),
    Case(
        "a tolerance of 20 %: 84/70 = 1.2 is within",
        state(10, 84),
        "=10",
        "on_target",
        {**HPA, "tolerance_ppm": 200_000},
    ),
    Case("ceil(10 x 280/70) = 40, max 20", state(10, 280), "+20", "at_max", HPA),
    Case("ceil(10 x 0/70) = 0, min 1", state(10, 0), "-1", "below_target", HPA),
    Case("10 wanted, 2 at a time", state(5, 140), "+7", "step_limited", {**HPA, "scale_up_increment": 2}),
    Case(
        "memory asks ceil(4 x 120/80) = 6, cpu ceil(4 x 85/70) = 5: the larger",
        state(4, 85, 120),
        "+6",
        "above_target",
        {**HPA, "metrics": weights(cpu=50, memory=50)},
    ),
    Case(
        "memory is on target, cpu asks for fewer: the larger is 4",
        state(4, 10, 80),
        "=4",
        "on_target",
        {**HPA, "metrics": weights(cpu=50, memory=50)},
    ),
    Case(
        "throughput 450 at 100 each: ceil(4.5)",
        state(2, 70, metrics={"throughput_mrps": 450_000}),
        "+5",
        "above_target",
        {**HPA, "metrics": weights(cpu=50, throughput=50), "performance": {"throughput_target_mrps": 100_000}},
    ),
    Case(
        "latency 250/200: ceil(2 x 1.25) = 3",
        state(2, 70, metrics=latency(250)),
        "+3",
        "above_target",
        {
            **HPA,
            "scale_up_increment": 1,
            "metrics": weights(cpu=50, latency=50),
            "performance": {"latency_p95_us": 200_000},
        },
    ),
    Case(
        "a blind pod: (20+20+100)/3 = 46.7/70: ceil(3 x 2/3) = 2",
        state(3, pods=(pod("a", 20), pod("b", 20), pod("c", None, None))),
        "-2",
        "below_target",
        HPA,
    ),
    Case(
        "a new pod: (140+140+0)/3 = 93/70: ceil(3 x 1.33) = 4",
        state(3, pods=(pod("a", 140), pod("b", 140), starting("c"))),
        "+4",
        "above_target",
        HPA,
    ),
    Case("5 were wanted within the window: not 4", state(10, 28), "-5", "below_target", HPA, {"wanted": 5}),
    Case(
        "5 were too few for 400, now 10 x 35 = 350 x 1.1 >= 360: not 5 but 6",
        state(10, 35),
        "-6",
        "below_target",
        HPA,
        raised(5, 400),
    ),
]

CASES = THRESHOLDS + WEIGHTED + VIOLATIONS + BLIND + LIMITS + COOLDOWN + STABLE + HYSTERESIS + COST + BY_TARGET


@pytest.mark.parametrize("case", CASES, ids=[case.derivation for case in CASES])
def test_case(case: Case) -> None:
    got, codes = decided(case)
    assert got == case.expected
    assert case.code in codes


def test_there_are_many_and_they_differ() -> None:
    assert len({case.derivation for case in CASES}) == len(CASES) >= 100


def test_the_seeds_example_word_for_word() -> None:
    """Seed 001, decision log: 2 replicas at 85 % cpu, 75 % memory, p95 220 ms of 200: scale_up to 3, these references."""
    like = blueprint(**FULL)
    decision = decide(like, state(2, 85, 75, metrics=latency(220)), watched(like), NOW)
    assert decision.kind == "scale_up"
    assert decision.now == {
        "replicas": 2,
        "ready_replicas": 2,
        "cpu_utilization_ppm": 850_000,
        "memory_utilization_ppm": 750_000,
        "latency_p95_us": 220_000,
    }
    assert decision.then == {"replicas": 3}
    assert {
        "spec.scaling.scale_up_threshold",
        "spec.scaling.max_replicas",
        "spec.performance.latency_p95",
    } == set(decision.references)
    assert [(c.metric, c.part_ppm) for c in decision.contributions] == [
        ("cpu", 425_000),
        ("memory", 225_000),
        ("latency", 220_000),
    ]
    assert decision.score_ppm == 870_000
    assert decision.confidence_percent == 100
