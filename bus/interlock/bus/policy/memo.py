"""Decisions remembered by their input: a policy is a pure function of it, the bundle being fixed. Bounded."""

from __future__ import annotations

from collections import OrderedDict

from interlock.bus.policy.worker import PASSING
from interlock.envelope.verdict import Verdict


class Memo:
    """Forgets what was asked longest ago."""

    def __init__(self, max_entries: int = 8_192) -> None:
        self._max_entries = max_entries
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()

    def __len__(self) -> int:
        return len(self._verdicts)

    def find(self, document: bytes) -> Verdict | None:
        verdict = self._verdicts.get(document)
        if verdict is not None:
            self._verdicts.move_to_end(document)
        return verdict

    def keep(self, document: bytes, verdict: Verdict) -> None:
        """Whatever says something of the input; a timeout does not."""
        if verdict.grounds and verdict.grounds[0].code in PASSING:
            return
        self._verdicts[document] = verdict
        if len(self._verdicts) > self._max_entries:
            self._verdicts.popitem(last=False)
