"""Waits for an effect, measures, compares; what is not as wanted is taken back, and that is verified too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from interlock.skills.infrastructure.cluster.client import Cluster
from interlock.skills.infrastructure.cluster.errors import ClusterError
from interlock.skills.infrastructure.cluster.outcomes import Outcome
from interlock.skills.infrastructure.cluster.patience import Patience
from interlock.skills.infrastructure.cluster.restoring import WITHIN_MS, recovered, roll_back
from interlock.skills.infrastructure.observed import ObservedState

_LOOKS_WITHIN_MS = 10_000


class Judged(Protocol):
    """What was made of a measurement: met, and why not in one line."""

    @property
    def met(self) -> bool: ...

    @property
    def rationale(self) -> str: ...


class Verification(Struct, frozen=True, kw_only=True):
    """outcome: as it was, or rolled back, or unknown. after: the last measurement, None if there was none.

    took_ms: what a rollback took, its own verification included.
    """

    outcome: Outcome
    met: bool
    rationale: str
    after: ObservedState | None
    took_ms: int = 0


async def verify_or_roll_back(
    cluster: Cluster,
    outcome: Outcome,
    observe: Callable[[], Awaitable[ObservedState]],
    judge: Callable[[ObservedState], Judged],
    *,
    waiting: Patience,
    within: Callable[[int], Patience],
    may_roll_back: bool = True,
) -> Verification:
    """waiting: how long the effect takes; then it is measured. within: makes the patience for so many ms
    from now, for looking and for the 60 s of a rollback. A state that cannot be measured is not met.
    """
    looking = within(_LOOKS_WITHIN_MS)
    after, met, rationale = await _measured(observe, judge, waiting, looking)
    began_ms = waiting.now_ms()
    if met or not may_roll_back or outcome.status != "done" or outcome.dry_run:
        return Verification(outcome=outcome, met=met, rationale=rationale, after=after)
    patience = within(WITHIN_MS)
    back = await roll_back(cluster, outcome, patience)
    if back.status == "rolled_back" and back.prior is not None and not await recovered(cluster, back.prior, patience):
        back = replace(back, reason="not_recovered", detail=f"{back.detail}; its pods are not all ready yet")
    took_ms = waiting.now_ms() - began_ms
    return Verification(outcome=back, met=False, rationale=rationale, after=after, took_ms=took_ms)


async def _measured(
    observe: Callable[[], Awaitable[ObservedState]],
    judge: Callable[[ObservedState], Judged],
    waiting: Patience,
    looking: Patience,
) -> tuple[ObservedState | None, bool, str]:
    # To the end, also if all looks well before: a pod that is killed for its memory was ready first.
    await waiting.wait(waiting.left_ms)
    while True:
        try:
            after = await observe()
        except ClusterError as error:
            if not error.retryable or not await looking.pause(error.retry_after_ms):
                return None, False, f"cannot be measured: {error.detail}"
        else:
            judged = judge(after)
            return after, judged.met, judged.rationale
