"""Errors of the skills portion: reason code, one line, mend."""

from __future__ import annotations

from interlock.envelope.failure import Failure


class SkillsError(Failure):
    """A skill cannot be loaded or run as asked."""

    def __init__(self, reason: str, detail: str, mend: str = "") -> None:
        super().__init__(detail, mend)
        self.reason = reason
