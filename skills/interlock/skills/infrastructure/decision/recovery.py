"""Pods that cannot run (FR-013): restart them, waiting longer each time, up to the limit; then back to the revision before,
once there were failures enough; then a human.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint, Reliability
from interlock.skills.infrastructure.decision.history import History, Sickness
from interlock.skills.infrastructure.decision.reasons import Reason, Why, seconds
from interlock.skills.infrastructure.observed import ObservedState, PodState
from interlock.skills.infrastructure.operations import PodName, RestartPods, RolloutUndo

# What a new pod of the same template would meet again: restarting it helps nobody.
NOT_MENDED_BY_RESTART = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"}
)


class Cure(Struct, frozen=True, kw_only=True):
    """What is done about failing pods. operation None: wait, or, with human set, ask."""

    operation: RestartPods | RolloutUndo | None
    reasons: tuple[Reason, ...]
    human: bool = False


def failing_pods(state: ObservedState) -> tuple[PodState, ...]:
    """Pods that something says cannot run. Those that are being deleted are on their way out already."""
    return tuple(pod for pod in state.pods if not pod.deleting and (pod.failing or pod.phase == "Failed"))


def cure(blueprint: Blueprint, state: ObservedState, history: History, now_ms: int) -> Cure | None:
    """None while every pod can run and the rollout has not failed."""
    failing = failing_pods(state)
    rollout_failed = state.rollout is not None and bool(state.rollout.failing)
    if not failing and not rollout_failed:
        return None
    rules = blueprint.reliability
    sickness = history.sickness or Sickness(since_ms=now_ms, seen_ms=now_ms)
    why = [_what_fails(failing, state)]
    restartable = tuple(pod for pod in failing if pod.failing not in NOT_MENDED_BY_RESTART)
    failed = strikes(history, sickness, rules, rollout_failed, now_ms)
    enough = history.breaker.failures >= rules.rollback_threshold and _way_back(state, rules, history) is not None
    if restartable and not enough:
        waited = _waited(sickness, rules, now_ms)
        used_up = sickness.restarts >= rules.max_restart_count
        if used_up:
            text = f"{sickness.restarts} restarts did not help, max_restart_count is {rules.max_restart_count}"
            why.append(Reason(code=Why.RESTARTS_USED_UP, text=text, reference="spec.reliability.max_restart_count"))
        if waited is not None:
            return Cure(operation=None, reasons=(*why, waited))
        if not used_up:
            pods = tuple(PodName(name=pod.name, uid=pod.uid) for pod in restartable)
            text = f"restart {sickness.restarts + 1} of {rules.max_restart_count}"
            why.append(Reason(code=Why.WITHIN_LIMITS, text=text, reference="spec.reliability.max_restart_count"))
            return Cure(operation=RestartPods(target=state.target, pods=pods), reasons=tuple(why))
    return _go_back(state, rules, history, failed, why)


def strikes(history: History, sickness: Sickness, rules: Reliability, rollout_failed: bool, now_ms: int) -> int:
    """Failures in a row: actions that did not end well, restarts that did not help, times that a health check had to come
    right and did not; a failed rollout is enough by itself.
    """
    in_vain = max(0, now_ms - sickness.since_ms) // max(1, rules.health_check_timeout_ms)
    enough = rules.rollback_threshold if rollout_failed else 0
    return max(history.breaker.failures, sickness.restarts, in_vain, enough)


def backoff_ms(rules: Reliability, restarts: int) -> int:
    """How long to wait after the n-th restart before the next: doubled each time, with a ceiling."""
    if restarts <= 0:
        return 0
    doubled = rules.restart_backoff_initial_ms * 2 ** min(restarts - 1, 32)
    wanted = doubled if rules.restart_backoff == "exponential" else rules.restart_backoff_initial_ms
    return min(wanted, rules.restart_backoff_max_ms)


def _waited(sickness: Sickness, rules: Reliability, now_ms: int) -> Reason | None:
    wait_ms = backoff_ms(rules, sickness.restarts)
    if sickness.restarted_ms is None or now_ms - sickness.restarted_ms >= wait_ms:
        return None
    since = seconds(now_ms - sickness.restarted_ms)
    return Reason(
        code=Why.BACKING_OFF,
        text=f"restarted {since} ago, the backoff after restart {sickness.restarts} is {seconds(wait_ms)}",
        reference="spec.reliability.restart_backoff",
    )


def _what_fails(failing: tuple[PodState, ...], state: ObservedState) -> Reason:
    if failing:
        causes = ", ".join(sorted({pod.failing or pod.phase for pod in failing}))
        text = f"{len(failing)} of {len(state.pods)} pods cannot run: {causes}"
    else:
        text = f"the rollout failed: {state.rollout.failing if state.rollout is not None else ''}"
    return Reason(code=Why.PODS_FAILING, text=text, reference="spec.reliability.health_check_timeout")


def _way_back(state: ObservedState, rules: Reliability, history: History) -> int | None:
    """The revision to go back to: the one before, unless that was rolled back itself."""
    previous = state.rollout.previous_revision if state.rollout is not None else None
    return previous if rules.rollback_on_failure and previous not in history.undone else None


def _go_back(state: ObservedState, rules: Reliability, history: History, failed: int, why: list[Reason]) -> Cure:
    if failed < rules.rollback_threshold:
        text = f"{failed} failures in a row, the way back is taken after {rules.rollback_threshold}"
        why.append(Reason(code=Why.FAILURES_IN_A_ROW, text=text, reference="spec.reliability.rollback_threshold"))
        return Cure(operation=None, reasons=tuple(why))
    revision = _way_back(state, rules, history)
    if revision is None:
        text = "no earlier revision is left to go back to" if rules.rollback_on_failure else "no rollback is wanted"
        why.append(Reason(code=Why.NO_WAY_BACK, text=text, reference="spec.reliability.rollback_on_failure"))
        return Cure(operation=None, reasons=tuple(why), human=True)
    text = f"{failed} failures in a row, the threshold is {rules.rollback_threshold}: back to revision {revision}"
    why.append(Reason(code=Why.FAILURES_IN_A_ROW, text=text, reference="spec.reliability.rollback_threshold"))
    return Cure(operation=RolloutUndo(target=state.target, to_revision=revision), reasons=tuple(why))


def still_sick(history: History, failing: int, blueprint: Blueprint, now_ms: int) -> Sickness | None:
    """The sickness after one more look. It is over when no pod was seen failing for as long as the longest backoff."""
    past = history.sickness
    if failing:
        if past is None:
            return Sickness(since_ms=now_ms, seen_ms=now_ms)
        return msgspec.structs.replace(past, seen_ms=now_ms)
    if past is None or now_ms - past.seen_ms >= blueprint.reliability.restart_backoff_max_ms:
        return None
    return past
