"""Errors of the skills portion: reason code, one line, mend."""

from __future__ import annotations


class SkillsError(Exception):
    """A skill cannot be loaded or run as asked. reason: stable code."""

    def __init__(self, reason: str, detail: str, mend: str = "") -> None:
        super().__init__(f"{detail}. {mend}" if mend else detail)
        self.reason = reason
        self.detail = detail
        self.mend = mend
