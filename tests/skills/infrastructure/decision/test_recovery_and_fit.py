"""Failing pods, requests that do not fit, settings that differ, breakers: case by case, each derived by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from interlock.skills.infrastructure.blueprint.model import Reliability, Safety
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.history import History, Sickness
from interlock.skills.infrastructure.decision.recovery import backoff_ms
from interlock.skills.infrastructure.decision.remembering import asked, began, ended, looked, reset
from interlock.skills.infrastructure.decision.resources import CPU_STEP_M, Band, fit
from interlock.skills.infrastructure.decision.safety import Breaker
from interlock.skills.infrastructure.decision.window import Peak
from interlock.skills.infrastructure.observed import ObservedState, RolloutState
from interlock.skills.infrastructure.operations import (
    ChangeProbes,
    ModifyStrategy,
    PatchResources,
    PodName,
    RestartPods,
    RolloutUndo,
)
from interlock.skills.infrastructure.target import ContainerResources, Probe, RolloutSettings
from tests.skills.infrastructure.decision.services import MIB, NOW, REPLACE, blueprint, pod, state, watched

CRASH = "CrashLoopBackOff"
ROLLOUT = RolloutState(revision=4, previous_revision=3)


def crashing(failing: str = CRASH, **given: Any) -> ObservedState:
    pods = (pod("a", 50), pod("b", None, None, failing=failing, restarts=4, ready=False))
    return state(2, pods=pods, **{"rollout": ROLLOUT, **given})


def sick(since_ago_ms: int, restarts: int = 0, restarted_ago_ms: int | None = None) -> Sickness:
    restarted = None if restarted_ago_ms is None else NOW - restarted_ago_ms
    return Sickness(since_ms=NOW - since_ago_ms, seen_ms=NOW - 15_000, restarts=restarts, restarted_ms=restarted)


STEPS: list[tuple[str, Sickness | None, ObservedState, dict[str, Any], str, str]] = [
    ("first seen: restart at once", None, crashing(), {}, "restart", "pods_failing"),
    ("backoff after the 1st restart is 10 s, 9.999 s over", sick(10_000, 1, 9_999), crashing(), {}, "hold", "backing_off"),
    ("10 s over: 2nd restart", sick(10_000, 1, 10_000), crashing(), {}, "restart", "within_limits"),
    ("after the 2nd it is 20 s", sick(40_000, 2, 19_999), crashing(), {}, "hold", "backing_off"),
    ("constant: still 10 s", sick(40_000, 2, 10_000), crashing(), {"restart_backoff": "constant"}, "restart", "within_limits"),
    ("after the 3rd it is 40 s; then nothing is left but the way back", sick(90_000, 3, 39_999), crashing(), {}, "hold", "restarts_used_up"),
    ("3 restarts did not help, 3 >= 2: back", sick(90_000, 3, 40_000), crashing(), {}, "roll_back", "failures_in_a_row"),
    ("limit 1, threshold 4, 119 s / 30 s = 3 checks in vain", sick(119_999, 1, 60_000), crashing(), {"max_restart_count": 1, "rollback_threshold": 4}, "hold", "failures_in_a_row"),
    ("limit 1, threshold 4, 120 s / 30 s = 4", sick(120_000, 1, 60_000), crashing(), {"max_restart_count": 1, "rollback_threshold": 4}, "roll_back", "failures_in_a_row"),
    ("limit 0: no restarts; 0 checks in vain", None, crashing(), {"max_restart_count": 0}, "hold", "failures_in_a_row"),
    ("no rollback wanted: a human", sick(90_000, 3, 40_000), crashing(), {"rollback_on_failure": False}, "escalate", "no_way_back"),
    ("no revision before this one: a human", sick(90_000, 3, 40_000), crashing(rollout=RolloutState(revision=1)), {}, "escalate", "no_way_back"),
    ("nothing known of revisions: a human", sick(90_000, 3, 40_000), crashing(rollout=None), {}, "escalate", "no_way_back"),
    ("a restart cannot mend a missing image; 59.999 s / 30 s = 1", sick(59_999), crashing("ImagePullBackOff"), {}, "hold", "failures_in_a_row"),
    ("60 s / 30 s = 2: back", sick(60_000), crashing("ImagePullBackOff"), {}, "roll_back", "failures_in_a_row"),
    ("the rollout itself failed: that is enough", None, crashing("ErrImagePull", rollout=RolloutState(revision=4, previous_revision=3, complete=False, failing="ProgressDeadlineExceeded")), {}, "roll_back", "failures_in_a_row"),
    ("the rollout failed though no pod says why", None, state(2, rollout=RolloutState(revision=4, previous_revision=3, failing="ProgressDeadlineExceeded")), {}, "roll_back", "pods_failing"),
    ("a pod on its way out is nobody's business", None, state(1, pods=(pod("a", 50), pod("b", 5, failing=CRASH, deleting=True))), {}, "hold", "between_thresholds"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "sickness", "seen", "rules", "kind", "code"), STEPS, ids=[row[0] for row in STEPS])
def test_failing_pods(
    why: str, sickness: Sickness | None, seen: ObservedState, rules: dict[str, Any], kind: str, code: str
) -> None:
    like = blueprint(reliability=rules)
    decision = decide(like, seen, watched(like, 2, sickness=sickness), NOW)
    assert decision.kind == kind, why
    assert code in {str(reason.code) for reason in decision.reasons}
    if kind == "restart":
        assert decision.operation == RestartPods(target=seen.target, pods=(PodName(name="b", uid="uid-b"),))
    if kind == "roll_back":
        assert decision.operation == RolloutUndo(target=seen.target, to_revision=3)
    if kind in ("hold", "escalate"):
        assert decision.operation is None


def test_two_failed_actions_in_a_row_are_enough_before_the_breaker_opens() -> None:
    like = blueprint()
    past = watched(like, 2, sickness=sick(30_000, 2, 25_000), breaker=Breaker(failures=2))
    assert decide(like, crashing(), past, NOW).kind == "roll_back"
    nowhere = crashing(rollout=RolloutState(revision=1))
    assert decide(like, nowhere, past, NOW).kind == "restart", "where there is no way back, restarts go on to the limit"


def test_what_was_rolled_back_is_never_returned_to() -> None:
    like = blueprint()
    past = watched(like, 2, sickness=sick(90_000, 3, 40_000))
    first = decide(like, crashing(), past, NOW)
    after = ended(began(looked(past, like, first), like, first, NOW), like, first, "done", revision=4)
    assert after.undone == (4,)
    assert after.sickness is None
    again = crashing(rollout=RolloutState(revision=5, previous_revision=4))
    assert decide(like, again, REPLACE(after, sickness=sick(90_000, 3, 40_000)), NOW).kind == "escalate"


def test_a_whole_illness() -> None:
    """Look every 5 s: restarts at 0, 10 and 30 s (10 s and 20 s later), the way back at 70 s (40 s later)."""
    like, history, done = blueprint(), History(), []
    for second in range(0, 75, 5):
        now_ms = NOW + second * 1000
        decision = decide(like, REPLACE(crashing(), at_ms=now_ms), history, now_ms)
        history = looked(history, like, decision)
        if decision.operation is not None:
            done.append((second, decision.kind))
            history = ended(began(history, like, decision, now_ms), like, decision, "done")
    assert done == [(0, "restart"), (10, "restart"), (30, "restart"), (70, "roll_back")]


def test_restarts_are_forgiven_after_the_longest_backoff_in_health() -> None:
    like = blueprint()
    for healthy_ms, restarts in ((299_999, 2), (300_000, 0)):
        past = watched(like, 2, sickness=Sickness(since_ms=0, seen_ms=NOW - healthy_ms, restarts=2, restarted_ms=0))
        after = looked(past, like, decide(like, state(2), past, NOW))
        assert (after.sickness.restarts if after.sickness else 0) == restarts


@pytest.mark.parametrize(
    ("restarts", "kind", "wait_ms"),
    [(0, "exponential", 0), (1, "exponential", 10_000), (2, "exponential", 20_000), (5, "exponential", 160_000), (6, "exponential", 300_000), (10**9, "exponential", 300_000), (7, "constant", 10_000)],
)  # fmt: skip
def test_backoff(restarts: int, kind: Any, wait_ms: int) -> None:
    assert backoff_ms(Reliability(restart_backoff=kind), restarts) == wait_ms


FITS = [
    # used, request, limit, target %, threshold %: (request, limit) or None
    (30, 100, 400, 70, 10, (50, 400), "US3: 30/0.7 = 42.9, in steps of 10: 50"),
    (70, 100, 400, 70, 10, None, "on target"),
    (63, 100, 400, 70, 10, None, "63/70 = 0.9 is 10 % off, not more"),
    (62, 100, 400, 70, 10, (90, 400), "62/0.7 = 88.6: 90"),
    (77, 100, 400, 70, 10, None, "77/70 = 1.1"),
    (78, 100, 400, 70, 10, (120, 400), "78/0.7 = 111.4: 120"),
    (300, 100, 400, 70, 10, (400, 400), "300/0.7 = 428.6, but not above the limit"),
    (360, 100, 400, 70, 10, (520, 520), "360 is 90 % of the limit: 360/0.7 = 514.3: both 520"),
    (359, 100, 400, 70, 10, (400, 400), "89.75 % of the limit is not near"),
    (95, 100, 100, 100, 10, None, "near the limit, but 95/1 rounds up to 100: it fits"),
    (0, 100, 400, 70, 10, (10, 400), "nothing used: one step is the least"),
    (85, 100, 400, 70, 50, None, "85/70 = 1.21 within 50 %"),
]


@pytest.mark.parametrize(("used", "request_", "limit", "target", "threshold", "expected", "why"), FITS)
def test_fit(
    used: int, request_: int, limit: int, target: int, threshold: int, expected: tuple[int, int] | None, why: str
) -> None:
    band = Band(target=Fraction(target, 100), threshold=Fraction(threshold, 100))
    got = fit("cpu", used, request_, limit, band, CPU_STEP_M)
    assert (got and (got.request, got.limit)) == expected, why


def used(cpu: int, memory: int) -> dict[str, Any]:
    return {"cpu_peaks": (Peak(NOW - 1, cpu),), "memory_peaks": (Peak(NOW - 1, memory * MIB),)}


def test_optimisation_is_the_busiest_pod_of_a_whole_window() -> None:
    like = blueprint(target_replicas=2)
    decision = decide(like, state(2, 30, 80), watched(like, 2, **used(30, 80)), NOW)
    assert decision.kind == "optimise"
    assert isinstance(decision.operation, PatchResources)
    assert decision.operation.after == ContainerResources(
        cpu_request_m=50, cpu_limit_m=400, memory_request_bytes=100 * MIB, memory_limit_bytes=400 * MIB
    )
    assert {r.reference for r in decision.reasons} == {"spec.resources.cpu.optimization_threshold"}
    busy_once = REPLACE(watched(like, 2), cpu_peaks=(Peak(NOW - 899_999, 65), Peak(NOW - 1, 30)))
    assert decide(like, state(2, 30, 80), busy_once, NOW).kind == "hold"


def test_above_the_usual_number_fewer_replicas_come_before_smaller_pods() -> None:
    like = blueprint(target_replicas=2)
    less, more = used(30, 80), used(79, 80)
    assert decide(like, state(3, 30, 80), watched(like, 3, **less), NOW).kind == "hold"
    assert decide(like, state(3, 79, 80), watched(like, 3, **more), NOW).kind == "optimise", "larger pods are no matter"
    bare = blueprint()
    assert decide(bare, state(2, 30, 80), watched(bare, 2, **less), NOW).kind == "hold", "1 is the usual number"
    assert decide(bare, state(1, 30, 80), watched(bare, 1, **less), NOW).kind == "optimise"


@pytest.mark.parametrize(
    ("past", "seen"),
    [
        ({"since_ms": NOW - 899_999}, {}),
        ({"since_ms": None}, {}),
        ({"adjusted_ms": NOW - 299_999}, {}),
        ({"asked_ms": NOW - 3_599_999}, {}),
        ({"scaled_ms": NOW - 899_999}, {}),
        ({}, {"resources": None}),
        ({}, {"pod_cpu_request_m": 150}),
        ({}, {"rollout": RolloutState(revision=1, complete=False)}),
        ({}, {"resources": ContainerResources(cpu_request_m=100, memory_request_bytes=100 * MIB)}),
    ],
)
def test_no_optimisation_where_too_little_is_known(past: dict[str, Any], seen: dict[str, Any]) -> None:
    like = blueprint(target_replicas=2)
    history = REPLACE(watched(like, 2, **used(31, 80)), **past)
    decision = decide(like, state(2, 31, 80, **seen), history, NOW)
    assert decision.kind in ("hold", "reconcile")


def test_a_human_is_not_asked_about_settings_again_before_an_approval_would_have_timed_out() -> None:
    like = blueprint(target_replicas=2)
    history = watched(like, 2, **used(30, 80))
    decision = decide(like, state(2, 30, 80), history, NOW)
    waiting = asked(history, decision, NOW)
    assert decide(like, state(2, 30, 80), REPLACE(waiting, asked_ms=NOW - 3_599_999), NOW).kind == "hold"
    assert decide(like, state(2, 30, 80), REPLACE(waiting, asked_ms=NOW - 3_600_000), NOW).kind == "optimise"
    urgent = decide(like, state(2, 95, 80), waiting, NOW)
    assert urgent.kind == "scale_up"
    assert asked(waiting, urgent, NOW + 1) == waiting


def test_what_was_set_on_purpose_is_not_set_back_until_the_blueprint_changes() -> None:
    like = blueprint(target_replicas=2)
    history = watched(like, 2, **used(30, 80))
    decision = decide(like, state(2, 30, 80), history, NOW)
    after = ended(began(looked(history, like, decision), like, decision, NOW), like, decision, "done")
    assert isinstance(decision.operation, PatchResources)
    fitted = state(2, 30, 80, resources=decision.operation.after, pod_cpu_request_m=50)
    assert decide(like, fitted, after, NOW + 600_000).kind == "hold"
    changed = blueprint(target_replicas=2, max_replicas=6)
    back = decide(changed, fitted, after, NOW + 600_000)
    assert back.kind == "reconcile"
    assert isinstance(back.operation, PatchResources)
    assert back.operation.after == changed.resources.of_container()


PROBE = Probe(initial_delay_s=10, period_s=10, timeout_s=5, failure_threshold=3)
OTHER = Probe(initial_delay_s=1, period_s=10, timeout_s=5, failure_threshold=3)


def test_settings_go_back_to_the_blueprint_one_at_a_time() -> None:
    wanted = RolloutSettings(strategy="RollingUpdate", max_surge="1", max_unavailable="0")
    like = REPLACE(blueprint(reliability={"readiness_probe": PROBE, "liveness_probe": PROBE}), deployment=wanted)
    bad: dict[str, Any] = {"settings": RolloutSettings(strategy="Recreate"), "readiness": OTHER, "liveness": PROBE}
    first = decide(like, state(2, **bad), History(), NOW)
    assert first.operation == ModifyStrategy(target=first.target, settings=wanted)
    second = decide(like, state(2, **{**bad, "settings": wanted}), History(), NOW)
    assert second.operation == ChangeProbes(target=second.target, container="web", readiness=PROBE)
    assert second.references == ("spec.reliability.readiness_probe",)
    assert decide(like, state(2, settings=wanted, readiness=PROBE, liveness=PROBE), History(), NOW).kind == "hold"
    unread = decide(like, state(2), History(), NOW)
    assert unread.kind == "hold", "what was not read is not known to differ"


def test_what_somebody_keeps_changing_back_is_not_fought_over_at_every_look() -> None:
    like, history, done = blueprint(), History(), []
    foreign = ContainerResources(cpu_request_m=1, cpu_limit_m=2, memory_request_bytes=3, memory_limit_bytes=4)
    for minute in range(11):
        now_ms = NOW + minute * 60_000
        decision = decide(like, REPLACE(state(2, resources=foreign), at_ms=now_ms), history, now_ms)
        history = ended(began(looked(history, like, decision), like, decision, now_ms), like, decision, "done")
        if decision.kind == "reconcile":
            done.append(minute)
    assert done == [0, 5, 10]


def test_the_breaker_opens_after_three_failures_and_only_a_human_closes_it() -> None:
    like, history = blueprint(), watched(blueprint(), 2)
    seen = state(2, 95)
    for failures in (1, 2, 3):
        decision = decide(like, seen, REPLACE(history, scaled_ms=None), NOW)
        assert decision.kind == "scale_up"
        history = ended(
            began(history, like, decision, NOW), like, decision, "rolled_back" if failures < 3 else "unknown"
        )
        assert history.breaker.failures == failures
    stopped = decide(like, seen, REPLACE(history, scaled_ms=None), NOW)
    assert stopped.kind == "hold"
    assert stopped.operation is None
    assert "breaker_open" in {str(reason.code) for reason in stopped.reasons}
    fresh = REPLACE(reset(history), scaled_ms=None)
    assert decide(like, seen, fresh, NOW).kind == "scale_up"


def test_one_success_begins_the_count_anew_and_a_refusal_counts_for_nothing() -> None:
    breaker, limits = Breaker(failures=2), Safety()
    assert breaker.ended(limits, "done").failures == 0
    assert breaker.ended(limits, "refused") == breaker
    assert breaker.ended(limits, "unknown").open


def test_the_breaker_of_the_fleet_stops_every_service() -> None:
    like = blueprint()
    decision = decide(like, state(2, 95), watched(like), NOW, fleet=Breaker(open=True, failures=3))
    assert decision.kind == "hold"
    assert decision.reasons[-1].text.startswith("the breaker of all services")


def test_so_many_actions_an_hour() -> None:
    like = REPLACE(blueprint(), safety=Safety(max_actions_per_hour=2))
    for ago_ms, kind in ((3_599_999, "hold"), (3_600_000, "scale_up")):
        past = watched(like, breaker=Breaker(actions_ms=(NOW - ago_ms, NOW - 60_000)))
        assert decide(like, state(2, 95), past, NOW).kind == kind


def test_a_gap_in_the_watch_begins_the_window_anew() -> None:
    """Window 300 s and metrics good for 120 s: after 420 s without a look nobody knows what was wanted meanwhile."""
    like = blueprint()
    past = REPLACE(watched(like), seen_ms=NOW - 420_000)
    assert looked(past, like, decide(like, state(2), past, NOW)).since_ms == NOW
    close = REPLACE(watched(like), seen_ms=NOW - 419_999)
    assert looked(close, like, decide(like, state(2), close, NOW)).since_ms == close.since_ms
    ahead = REPLACE(watched(like), seen_ms=NOW + 1)
    assert looked(ahead, like, decide(like, state(2), ahead, NOW)).since_ms == NOW, "the clock went back"


def test_a_history_survives_a_journey_as_json() -> None:
    like = blueprint()
    past = watched(like, 2, sickness=sick(1, 2, 3), breaker=Breaker(failures=1, actions_ms=(1, 2)))
    assert msgspec.json.decode(msgspec.json.encode(past), type=History) == past
