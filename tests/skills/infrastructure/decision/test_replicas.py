"""The arithmetic of the HorizontalPodAutoscaler, each case derived by hand from its documented rules.

R = ceil(pods x utilisation / target); nothing changes within 10 % of the target; pods without metrics count as 0 on the
way up and as their whole request on the way down; pods that are not ready count as 0 on the way up, not at all on the way
down; what turns the direction round changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.infrastructure.decision.replicas import replicas_for_target
from interlock.skills.infrastructure.decision.utilisation import Resource, utilisation
from interlock.skills.infrastructure.observed import PodState
from tests.skills.infrastructure.decision.services import MIB, NOW, pod, starting

TENTH = Fraction(1, 10)


def desired(
    pods: tuple[PodState, ...], target: int, *, replicas: int | None = None, resource: Resource = "cpu"
) -> int | None:
    current = len(pods) if replicas is None else replicas
    request = 100 if resource == "cpu" else 100 * MIB
    wanted = Fraction(target, 100)
    seen = utilisation(pods, resource, request, replicas=current, now_ms=NOW, stale_after_ms=120_000, target=wanted)
    return None if seen is None else replicas_for_target(current, seen, wanted, TENTH)


def used(*shares: int) -> tuple[PodState, ...]:
    return tuple(pod(f"p{index}", share) for index, share in enumerate(shares))


def blind(count: int) -> tuple[PodState, ...]:
    return tuple(pod(f"b{index}", None, None) for index in range(count))


def new(count: int) -> tuple[PodState, ...]:
    return tuple(starting(f"n{index}") for index in range(count))


PLAIN = [
    # pods, target %, expected: how it is derived
    (used(200), 100, 2, "documented: 200m against 100m doubles: ceil(1 x 2.0)"),
    (used(50, 50), 100, 1, "documented: 50m against 100m halves: ceil(2 x 0.5)"),
    (used(*[90] * 50), 75, 60, "documented (KEP 4951): ceil(50 x 90/75) = 60"),
    (used(85, 85), 70, 3, "seed 001: ceil(2 x 85/70 = 2.43)"),
    (used(70, 70), 70, 2, "ratio 1: on target"),
    (used(77, 77), 70, 2, "ratio 1.1 is still within the tolerance"),
    (used(78, 78), 70, 3, "ratio 1.114 is not: ceil(2.23)"),
    (used(63, 63), 70, 2, "ratio 0.9 is still within the tolerance"),
    (used(62, 62), 70, 2, "ratio 0.886 is not, but ceil(1.77) = 2"),
    (used(*[62] * 10), 70, 9, "ratio 0.886: ceil(8.86)"),
    (used(*[35] * 10), 70, 5, "ratio 0.5: ceil(5.0)"),
    (used(*[35] * 9), 70, 5, "ceil(4.5)"),
    (used(0, 0, 0), 70, 0, "ratio 0: ceil(0); min_replicas is put on later"),
    (used(100, 40), 70, 2, "mean 70: on target"),
    (used(140, 70, 70), 70, 4, "mean 93.3, ratio 1.333: ceil(3 x 4/3 = 4), exactly 4 in fractions"),
    (used(10, 20, 30), 70, 1, "mean 20: ceil(3 x 2/7 = 0.86)"),
    (used(210, 210, 210), 70, 9, "ratio 3: 9"),
    (used(400), 50, 8, "ratio 8: 8"),
    (used(1), 100, 1, "ceil(0.01)"),
]

WITH_BLIND = [
    (used(100, 100) + blind(1), 70, 3, "up 1.43; again with 0: 200/300 = 0.667/0.7 < 1 turns round: stay at 3"),
    (used(150, 150) + blind(1), 70, 5, "up 2.14; again: 100 %/70 % = 1.43: ceil(3 x 1.43 = 4.29)"),
    (used(110, 110) + blind(1), 70, 3, "up 1.57; again: 73.3/70 = 1.048, within the tolerance: stay"),
    (used(20, 20) + blind(1), 70, 2, "down 0.29; again with 100: 140/300 = 46.7/70 = 0.667: ceil(3 x 0.667) = 2"),
    (used(20) + blind(2), 70, 3, "down; again: 220/300 = 73.3/70 turns round: stay at 3"),
    (used(*[20] * 9) + blind(1), 70, 4, "down; again: 280/1000 = 28/70 = 0.4: 4"),
    (used(60) + blind(1), 100, 2, "down 0.6; again: 160/200 = 0.8: ceil(1.6) = 2"),
    (used(20, 20) + blind(1), 150, 2, "target above 100 %: a blind pod counts as 150: 190/300/1.5 = 0.42: ceil(1.27)"),
    (used(70, 70) + blind(2), 70, 4, "ratio exactly 1: neither up nor down"),
    (used(400) + blind(3), 70, 6, "up; again: 100/70 = 1.43: ceil(4 x 1.43 = 5.71)"),
]

NOT_READY = [
    (used(100, 100) + new(1), 70, 3, "up 1.43; the new one as 0: 66.7/70 turns round: stay at 3"),
    (used(140, 140) + new(1), 70, 4, "up 2; again: 93.3/70 = 1.33: ceil(4.0)"),
    (used(140, 140) + new(2), 70, 4, "again: 70/70 = 1: stay at 4"),
    (used(35, 35) + new(2), 70, 1, "down 0.5: not-ready pods do not count: ceil(2 x 0.5)"),
    (used(140, 140) + new(1) + blind(1), 70, 4, "both as 0: 70/70: stay at 4"),
    (used(300, 300) + new(1) + blind(1), 70, 9, "both as 0: 150/70 = 2.14: ceil(4 x 2.14 = 8.57)"),
    (used(20, 20) + new(1) + blind(1), 70, 2, "down: the blind one as 100, the new one not at all: 140/300/0.7: 2"),
]


@pytest.mark.parametrize(("pods", "target", "expected", "why"), PLAIN + WITH_BLIND + NOT_READY)
def test_arithmetic(pods: tuple[PodState, ...], target: int, expected: int, why: str) -> None:
    assert desired(pods, target) == expected, why


def test_pods_that_count_for_nothing() -> None:
    gone = pod("g", 500, deleting=True), pod("f", 500, phase="Failed"), pod("s", 500, phase="Succeeded")
    assert desired((*used(35, 35), *gone), 70, replicas=2) == 1, "shut down, failed, ended: discarded"
    pending = pod("q", 500, phase="Pending")
    assert desired((*used(140, 140), pending), 70) == 4, "a pending pod is not ready: 280/300 = 93.3/70: ceil(4.0)"
    assert desired((pending,), 70) is None, "nobody to measure"


def test_replicas_that_were_not_made_yet_are_not_ready() -> None:
    assert desired(used(84, 84), 70, replicas=5) == 5, "168/500 = 33.6 turns round: never fewer at high load"
    assert desired(used(280, 280), 70, replicas=5) == 8, "560/500 = 112/70 = 1.6: ceil(5 x 1.6)"


def test_a_pod_unready_after_its_start_still_counts() -> None:
    sick = pod("x", 140, ready=False, ready_changed_ms=NOW - 60_000)
    assert desired((sick, *used(140)), 70) == 4, "it was ready once, an hour ago: its use counts: ceil(2 x 2)"
    never = pod("x", 140, ready=False, ready_changed_ms=NOW - 3_600_000 + 5_000)
    assert desired((never, *used(140)), 70) == 2, "unready 5 s after its start and ever since: 0: 70/70"


def test_cpu_from_before_a_pod_was_ready_does_not_count() -> None:
    young = {"started_ms": NOW - 100_000}
    early = pod("x", 140, ready_changed_ms=NOW - 20_000, **young)
    assert desired((early, *used(140)), 70) == 2, "the sample's 30 s reach back before it was ready: 70/70"
    later = pod("x", 140, ready_changed_ms=NOW - 30_000, **young)
    assert desired((later, *used(140)), 70) == 4
    assert desired((pod("x", 140, ready=None), *used(140)), 70) == 2, "no Ready condition yet"


def test_memory_counts_from_pods_that_start() -> None:
    new_one = starting("n")
    assert new_one.memory_bytes == 50 * MIB
    pods = (pod("a", 0, 90), pod("b", 0, 90), new_one)
    assert desired(pods, 70, resource="memory") == 3, "(90 + 90 + 50)/300 = 76.7/70 is within the tolerance"


def test_undefined() -> None:
    assert utilisation(used(5), "cpu", None, replicas=1, now_ms=NOW, stale_after_ms=1000) is None
    assert utilisation(used(5), "cpu", 0, replicas=1, now_ms=NOW, stale_after_ms=1000) is None
    assert desired((), 70) is None
    assert desired(blind(3), 70) is None


@pytest.mark.parametrize(
    ("age_ms", "known"), [(0, True), (120_000, True), (120_001, False), (-120_000, True), (-120_001, False)]
)
def test_old_and_future_usage_is_missing(age_ms: int, known: bool) -> None:
    assert (desired((pod("p", 70, usage_at_ms=NOW - age_ms),), 70) is not None) is known


def test_usage_without_a_time_is_missing() -> None:
    assert desired((pod("p", 70, usage_at_ms=None),), 70) is None


PODS = st.lists(st.tuples(st.sampled_from(["counted", "blind", "new"]), st.integers(0, 300)), min_size=1, max_size=12)


def made(kinds: list[tuple[str, int]], more: int = 0) -> tuple[PodState, ...]:
    makers: dict[str, Callable[[str, int], PodState]] = {
        "counted": lambda n, u: pod(n, u + more),
        "blind": lambda n, _: blind(1)[0],
        "new": lambda n, _: starting(n),
    }
    return tuple(makers[kind](f"p{index}", use) for index, (kind, use) in enumerate(kinds))


@given(PODS, st.integers(1, 200), st.integers(0, 300), st.integers(1, 20))
def test_more_load_never_asks_for_fewer(kinds: list[tuple[str, int]], target: int, more: int, replicas: int) -> None:
    less, busier = (desired(made(kinds, extra), target, replicas=replicas) for extra in (0, more))
    assert (less is None) == (busier is None)
    assert less is None or busier is None or less <= busier


@given(PODS, st.integers(1, 200))
def test_blind_and_new_pods_only_dampen(kinds: list[tuple[str, int]], target: int) -> None:
    """Against the same pods if every one of them could be measured at the mean of the others."""
    known = [use for kind, use in kinds if kind == "counted"]
    got = desired(made(kinds), target)
    if not known:
        assert got is None
        return
    assert got is not None
    ratio = Fraction(sum(known), len(known) * target)
    full = -(-len(kinds) * ratio // 1)
    assert len(kinds) <= got <= full if ratio > 1 else got <= len(kinds)
