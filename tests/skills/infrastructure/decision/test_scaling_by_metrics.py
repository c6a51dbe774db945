"""What the metrics alone ask for: thresholds, weights, violations, and what cannot be seen. The words are scaling.py's."""

from __future__ import annotations

import pytest

from interlock.skills.infrastructure.decision.decide import decide
from tests.skills.infrastructure.decision.scaling import FULL, Case, check, latency
from tests.skills.infrastructure.decision.services import NOW, blueprint, pod, starting, state, watched, weights

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


CASES = THRESHOLDS + WEIGHTED + VIOLATIONS + BLIND


@pytest.mark.parametrize("case", CASES, ids=[case.derivation for case in CASES])
def test_case(case: Case) -> None:
    check(case)


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
