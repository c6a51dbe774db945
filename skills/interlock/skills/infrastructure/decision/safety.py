"""What stops runaway automation (FR-018, SC-010): a breaker that only a human closes, and a limit on actions per hour.

One Breaker stands for each target, another for the whole fleet; both follow the same rules.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Safety
from interlock.skills.infrastructure.decision.reasons import Reason, Why

Outcome = Literal["done", "rolled_back", "unknown", "refused"]
HOUR_MS = 3_600_000
FLEET_LIMITS = Safety(max_consecutive_failures=3, max_actions_per_hour=600)


class Breaker(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """failures: actions in a row that did not end well. open: no more actions until a human resets it.
    actions_ms: when the actions of the last hour were begun.
    """

    failures: int = 0
    open: bool = False
    actions_ms: tuple[int, ...] = ()

    def began(self, limits: Safety, now_ms: int) -> Breaker:
        """After an action was begun."""
        recent = tuple(at_ms for at_ms in self.actions_ms if now_ms - at_ms < HOUR_MS)
        return msgspec.structs.replace(self, actions_ms=(*recent, now_ms)[-limits.max_actions_per_hour :])

    def ended(self, limits: Safety, outcome: Outcome) -> Breaker:
        """After its outcome is known, or known to be unknown. A refusal is neither good nor bad: nothing was tried."""
        if outcome == "refused":
            return self
        failures = 0 if outcome == "done" else self.failures + 1
        return msgspec.structs.replace(
            self, failures=failures, open=self.open or failures >= limits.max_consecutive_failures
        )

    def reset(self) -> Breaker:
        """A human has looked: closed again, from zero."""
        return msgspec.structs.replace(self, failures=0, open=False)

    def forbids(self, limits: Safety, now_ms: int, whose: str) -> Reason | None:
        """Why no action may begin now; None if one may. whose: `this service` or `all services`."""
        if self.open:
            return Reason(
                code=Why.BREAKER_OPEN,
                text=f"the breaker of {whose} is open after {self.failures} failures in a row; a human must reset it",
                reference="spec.safety.max_consecutive_failures",
            )
        begun = sum(now_ms - at_ms < HOUR_MS for at_ms in self.actions_ms)
        if begun >= limits.max_actions_per_hour:
            return Reason(
                code=Why.TOO_MANY_ACTIONS,
                text=f"{whose}: {begun} actions within an hour, the limit is {limits.max_actions_per_hour}",
                reference="spec.safety.max_actions_per_hour",
            )
        return None
