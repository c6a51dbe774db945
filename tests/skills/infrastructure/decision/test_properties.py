"""What holds for every blueprint, every state and every sequence of them."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from interlock.skills.infrastructure.blueprint.model import Blueprint, Cpu, Performance, Resources
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.remembering import began, ended, looked
from interlock.skills.infrastructure.observed import MetricName, ObservedState, PodState, RolloutState, Sample
from interlock.skills.infrastructure.operations import PatchResources, Scale
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

PERFORMANCE = {
    "latency_p95_us": 200_000,
    "throughput_min_mrps": 50_000,
    "throughput_target_mrps": 100_000,
    "error_rate_max_ppm": 10_000,
    "queue_depth_max": 100,
}
WEIGHTS = st.sampled_from(
    [
        weights(cpu=100),
        weights(cpu=50, memory=50),
        weights(cpu=50, memory=30, latency=20),
        weights(cpu=20, memory=20, latency=20, throughput=20, error_rate=10, queue_depth=10),
    ]
)


@st.composite
def blueprints(draw: st.DrawFn) -> Blueprint:
    least = draw(st.integers(1, 4))
    lower = draw(st.integers(5, 60))
    return blueprint(
        min_replicas=least,
        max_replicas=draw(st.integers(least, 12)),
        target_replicas=draw(st.none() | st.integers(least, 12)),
        mode=draw(st.sampled_from(["thresholds", "target_utilization"])),
        scale_down_threshold_ppm=lower * 10_000,
        scale_up_threshold_ppm=draw(st.integers(lower + 1, 100)) * 10_000,
        scale_up_increment=draw(st.integers(1, 4)),
        scale_down_increment=draw(st.integers(1, 4)),
        scale_up_cooldown_ms=draw(st.sampled_from([0, 30_000, 60_000])),
        scale_down_cooldown_ms=draw(st.sampled_from([0, 60_000, 180_000])),
        stabilization_window_ms=draw(st.sampled_from([0, 60_000, 300_000])),
        on_missing_metrics=draw(st.sampled_from(["hold", "shrink"])),
        metrics=draw(WEIGHTS),
        performance=draw(st.sampled_from([{}, PERFORMANCE])),
        cost=draw(
            st.sampled_from(
                [
                    {"optimization_priority": priority, **budget}
                    for priority in ("cost", "balanced", "performance")
                    for budget in ({}, {"monthly_budget_micro_usd": 100, "cost_per_replica_micro_usd": 20})
                ]
            )
        ),
    )


SHARES = st.none() | st.integers(0, 300)
SAMPLES: st.SearchStrategy[dict[MetricName, int]] = st.fixed_dictionaries(
    {},
    optional={
        "latency_p95_us": st.integers(0, 600_000),
        "throughput_mrps": st.integers(0, 900_000),
        "error_rate_ppm": st.integers(0, 30_000),
        "queue_depth": st.integers(0, 300),
    },
)
ALL: dict[MetricName, int] = {
    "latency_p95_us": 100_000,
    "throughput_mrps": 90_000,
    "error_rate_ppm": 0,
    "queue_depth": 0,
}


@st.composite
def looks(draw: st.DrawFn) -> tuple[int, list[tuple[str, int | None, int | None]], dict[MetricName, int], bool]:
    """Milliseconds since the look before, the pods, the metrics, whether a rollout is under way."""
    kinds = st.tuples(st.sampled_from(["ready"] * 6 + ["new", "sick"]), SHARES, SHARES)
    return (
        draw(st.sampled_from([0, 1, 15_000, 15_000, 60_000, 400_000])),
        draw(st.lists(kinds, min_size=0, max_size=6)),
        draw(SAMPLES),
        draw(st.booleans()),
    )


def at(now_ms: int, replicas: int, kinds: list[Any], metrics: dict[MetricName, int], rolling: bool) -> ObservedState:
    """The state at another time than services.NOW."""
    later = now_ms - NOW
    pods: list[PodState] = []
    for index in range(replicas):
        kind, cpu, memory = kinds[index % len(kinds)] if kinds else ("ready", None, None)
        made = starting(f"p{index}") if kind == "new" else pod(f"p{index}", cpu, memory)
        made = REPLACE(made, failing="CrashLoopBackOff") if kind == "sick" else made
        shifted = {
            name: value + later
            for name in ("ready_changed_ms", "started_ms", "usage_at_ms")
            if (value := getattr(made, name)) is not None
        }
        pods.append(REPLACE(made, **shifted))
    seen = state(replicas, pods=tuple(pods))
    return REPLACE(
        seen,
        at_ms=now_ms,
        metrics=tuple(Sample(name=name, value=value, at_ms=now_ms) for name, value in metrics.items()),
        rollout=RolloutState(revision=2, previous_revision=1, complete=not rolling),
    )


def run(like: Blueprint, replicas: int, sequence: list[Any]) -> list[tuple[ObservedState, Decision]]:
    """Every decision is carried out at once and ends well."""
    history, now_ms, decided = History(), NOW, []
    for passed_ms, kinds, metrics, rolling in sequence:
        now_ms += passed_ms
        seen = at(now_ms, replicas, kinds, metrics, rolling)
        decision = decide(like, seen, history, now_ms)
        decided.append((seen, decision))
        history = looked(history, like, decision)
        history = ended(began(history, like, decision, now_ms), like, decision, "done")
        if isinstance(decision.operation, Scale):
            replicas = decision.operation.replicas
    return decided


RUNS = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@RUNS
@given(blueprints(), st.integers(0, 15), st.lists(looks(), min_size=1, max_size=25))
def test_limits_steps_and_rate_hold_under_any_sequence(like: Blueprint, replicas: int, sequence: list[Any]) -> None:
    rules = like.scaling
    last_ms: int | None = None
    for seen, decision in run(like, replicas, sequence):
        assert decision.reasons, "a decision without a reason"
        assert all(reason.reference.startswith("spec.") for reason in decision.reasons)
        operation = decision.operation
        if not isinstance(operation, Scale):
            continue
        before, after = seen.replicas, operation.replicas
        assert operation.from_replicas == before != after
        assert rules.min_replicas <= after <= rules.max_replicas
        if rules.min_replicas <= before <= rules.max_replicas:
            assert -rules.scale_down_increment <= after - before <= rules.scale_up_increment
        cooldown_ms = rules.scale_up_cooldown_ms if after > before else rules.scale_down_cooldown_ms
        assert last_ms is None or decision.at_ms - last_ms >= cooldown_ms
        last_ms = decision.at_ms


def is_known(like: Blueprint, seen: ObservedState) -> bool:
    """Everything the blueprint asks about was measured; of each resource, at least in one pod."""
    names = {sample.name for sample in seen.metrics}
    types = {metric.type for metric in like.scaling.metrics}
    asked = set(PERFORMANCE) & {
        f for f in like.performance.__struct_fields__ if getattr(like.performance, f) is not None
    }
    answers = {
        "throughput_min_mrps": "throughput_mrps",
        "throughput_target_mrps": "throughput_mrps",
        "error_rate_max_ppm": "error_rate_ppm",
        "queue_depth_max": "queue_depth",
    }
    cpu = any(each.cpu_m is not None for each in seen.pods)
    memory = any(each.memory_bytes is not None for each in seen.pods)
    return (
        {answers.get(field, field) for field in asked} <= names
        and (cpu or "cpu" not in types)
        and (memory or "memory" not in types)
    )


@RUNS
@given(blueprints(), st.integers(1, 15), st.lists(looks(), min_size=1, max_size=25))
def test_never_down_on_missing_metrics(like: Blueprint, replicas: int, sequence: list[Any]) -> None:
    for seen, decision in run(like, replicas, sequence):
        assert decision.kind != "scale_down" or is_known(like, seen)


@RUNS
@given(blueprints(), st.integers(1, 12), st.integers(0, 100), st.integers(120_001, 10_000_000))
def test_never_anything_on_stale_metrics(like: Blueprint, replicas: int, share: int, age_ms: int) -> None:
    assume(like.scaling.min_replicas <= replicas <= like.scaling.max_replicas)
    old = state(
        replicas,
        pods=tuple(pod(f"p{i}", share, share, usage_at_ms=NOW - age_ms) for i in range(replicas)),
        metrics=ALL,
        metrics_at_ms=NOW - age_ms,
    )
    decision = decide(like, old, watched(like), NOW)
    assert decision.kind == "hold"
    assert decision.confidence_percent == 0


def size(decision: Decision, seen: ObservedState) -> int:
    return decision.operation.replicas if isinstance(decision.operation, Scale) else seen.replicas


@RUNS
@given(
    blueprints(),
    st.integers(1, 12),
    st.integers(0, 150),
    st.integers(0, 150),
    SAMPLES,
    st.dictionaries(
        st.sampled_from(["cpu", "memory", "latency_p95_us", "error_rate_ppm", "queue_depth"]), st.integers(0, 300)
    ),
)
def test_monotone_in_load(
    like: Blueprint, replicas: int, cpu: int, memory: int, samples: dict[MetricName, int], more: dict[str, int]
) -> None:
    """More of anything that load makes more of never leads to fewer replicas. throughput alone may: more of it is also
    what a target asks for.
    """
    past = watched(like)
    busier = {name: value + more.get(name, 0) * (1000 if name.endswith("us") else 1) for name, value in samples.items()}
    first = state(replicas, cpu, memory, metrics=samples)
    second = state(replicas, cpu + more.get("cpu", 0), memory + more.get("memory", 0), metrics=busier)
    assert size(decide(like, first, past, NOW), first) <= size(decide(like, second, past, NOW), second)


@RUNS
@given(blueprints(), st.integers(1, 12), st.data())
def test_missing_metrics_never_widen_an_action(like: Blueprint, replicas: int, data: st.DataObject) -> None:
    """Taking away pods' usage or a sample brings the answer nearer to what is, never farther away."""
    assume(like.scaling.min_replicas <= replicas <= like.scaling.max_replicas)
    cpu, memory = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 200))
    samples = {name: data.draw(st.integers(0, 400)) * (1000 if "_m" in name or "_u" in name else 10) for name in ALL}
    whole = state(replicas, cpu, memory, metrics=samples)
    gone = data.draw(st.sets(st.integers(0, replicas - 1)))
    dropped = data.draw(st.sets(st.sampled_from(sorted(samples))))
    blind = REPLACE(
        whole,
        pods=tuple(REPLACE(p, cpu_m=None, memory_bytes=None) if i in gone else p for i, p in enumerate(whole.pods)),
        metrics=tuple(s for s in whole.metrics if s.name not in dropped),
    )
    past = watched(like)
    known, less = size(decide(like, whole, past, NOW), whole), size(decide(like, blind, past, NOW), blind)
    assert min(known, replicas) <= less <= max(known, replicas)


@RUNS
@given(
    blueprints(), st.integers(20, 1500), st.integers(1, 12), st.lists(st.integers(-100, 100), min_size=60, max_size=60)
)
def test_no_flapping_under_noise_of_the_tolerance(like: Blueprint, load: int, replicas: int, noise: list[int]) -> None:
    """A steady load, measured with errors of up to the tolerance: no number of replicas is found too small twice, and
    once it was, it is never gone back to.
    """
    like = REPLACE(
        like,
        performance=Performance(),
        scaling=REPLACE(like.scaling, metrics=weights(cpu=100)),
        resources=Resources(cpu=Cpu(request_m=100, limit_m=4000), memory=like.resources.memory),
    )
    replicas = min(max(replicas, like.scaling.min_replicas), like.scaling.max_replicas)
    history, now_ms, too_small, adjusted = History(), NOW, set[int](), 0
    resources = like.resources.of_container()
    for permille in noise:
        now_ms += 60_000
        used = load + int(load * permille / 1000)  # towards load: never more than the tolerance away from it
        pods = tuple(
            pod(f"p{i}", 0, cpu_m=used // replicas + (i < used % replicas), usage_at_ms=now_ms) for i in range(replicas)
        )
        seen = REPLACE(
            state(replicas, pods=pods), at_ms=now_ms, resources=resources, pod_cpu_request_m=resources.cpu_request_m
        )
        decision = decide(like, seen, history, now_ms)
        history = ended(began(looked(history, like, decision), like, decision, now_ms), like, decision, "done")
        if isinstance(decision.operation, PatchResources):
            resources, adjusted = decision.operation.after, adjusted + 1
            too_small.clear()
        if isinstance(decision.operation, Scale):
            assert decision.operation.replicas not in too_small
            if decision.operation.replicas > replicas:
                too_small.add(replicas)
            replicas = decision.operation.replicas
    assert adjusted <= 6


@RUNS
@given(blueprints(), st.integers(0, 15), st.lists(looks(), min_size=1, max_size=20))
def test_the_history_stays_small(like: Blueprint, replicas: int, sequence: list[Any]) -> None:
    history, now_ms = History(), NOW
    for passed_ms, kinds, metrics, rolling in sequence * 3:
        now_ms += passed_ms
        decision = decide(like, at(now_ms, replicas, kinds, metrics, rolling), history, now_ms)
        history = ended(began(looked(history, like, decision), like, decision, now_ms), like, decision, "done")
    assert len(msgspec.json.encode(history)) < 8_192


@given(blueprints(), st.integers(0, 15), st.lists(looks(), min_size=1, max_size=8))
@RUNS
def test_the_same_question_has_the_same_answer(like: Blueprint, replicas: int, sequence: list[Any]) -> None:
    first, second = run(like, replicas, sequence), run(like, replicas, sequence)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
