"""What holds the metrics back: limits, cooldown, the window, what came back before, cost; and scaling by target. The words are
scaling.py's."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.skills.infrastructure.decision.history import Load, Raised
from interlock.skills.infrastructure.decision.window import Peak
from interlock.skills.infrastructure.observed import RolloutState
from tests.skills.infrastructure.decision import test_scaling_by_metrics
from tests.skills.infrastructure.decision.scaling import Case, check, latency
from tests.skills.infrastructure.decision.services import NOW, pod, starting, state, weights

HPA = {"mode": "target_utilization", "max_replicas": 20, "scale_up_increment": 20, "scale_down_increment": 20}
WIDE = {"max_replicas": 20}


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


CASES = LIMITS + COOLDOWN + STABLE + HYSTERESIS + COST + BY_TARGET


@pytest.mark.parametrize("case", CASES, ids=[case.derivation for case in CASES])
def test_case(case: Case) -> None:
    check(case)


def test_there_are_many_and_they_differ() -> None:
    every = CASES + test_scaling_by_metrics.CASES
    assert len({case.derivation for case in every}) == len(every) >= 100
