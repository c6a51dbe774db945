"""What the loop says while it works, for whoever shows or draws it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.record import DecisionRecord
from interlock.skills.infrastructure.observed import ObservedState

Fate = Literal["done", "would_ask", "forbidden", "nothing"]


class Told(Struct, frozen=True, kw_only=True):
    """Something people should hear. kind: `decision`, `executed`, `verified`, `blueprint`, `problem`, `breaker`,
    `escalation`, `asks`, `withdrawn`, `proposal`; `look` is not for people: what was seen and decided, and what governance makes of
    it.
    """

    at_ms: int
    service: str
    kind: str
    text: str
    record: DecisionRecord | None = None
    seen: tuple[ObservedState, Decision] | None = None
    fate: Fate = "nothing"
