"""What holds for all services of a watcher together: one breaker, one rate (FR-018)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from interlock.skills.infrastructure.blueprint.model import Safety
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.decision.reasons import Reason
from interlock.skills.infrastructure.decision.safety import FLEET_LIMITS, Breaker, Outcome


class Fleet:
    """The breaker of all services, kept over restarts. Limits are those of the policies beside the service that acts."""

    def __init__(self, keep: Path) -> None:
        """keep: the directory for its memory."""
        self._file = keep / "_fleet.json"
        kept = self._file.read_bytes() if self._file.is_file() else b"{}"
        self.breaker = msgspec.json.decode(kept, type=Breaker)

    def stop(self, policies: Policies | None, now_ms: int) -> Reason | None:
        """Why nobody may act now, None if somebody may."""
        return self.breaker.forbids(_limits(policies), now_ms, "all services")

    def began(self, policies: Policies | None, now_ms: int) -> None:
        """An action begins."""
        self._keep(self.breaker.began(_limits(policies), now_ms))

    def ended(self, policies: Policies | None, outcome: Outcome) -> None:
        """Its outcome is known."""
        self._keep(self.breaker.ended(_limits(policies), outcome))

    def reset(self) -> None:
        """A human has looked."""
        self._keep(self.breaker.reset())

    def _keep(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(breaker))
        partial.replace(self._file)


def _limits(policies: Policies | None) -> Safety:
    if policies is None:
        return FLEET_LIMITS
    return Safety(
        max_consecutive_failures=policies.max_consecutive_failures, max_actions_per_hour=policies.max_actions_per_hour
    )
