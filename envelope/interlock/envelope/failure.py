"""What every error says that people or programs act on, whoever raises it."""

from __future__ import annotations


class Failure(Exception):
    """reason: stable code; detail: one line; mend: what its reader can do. retryable: the same may do better later;
    may_have_happened: what was asked for may have been done all the same.
    """

    reason = "failed"
    retryable = False
    may_have_happened = False

    def __init__(self, detail: str, mend: str = "") -> None:
        super().__init__(f"{detail}. {mend}" if mend else detail)
        self.detail = detail
        self.mend = mend
