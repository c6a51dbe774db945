"""What a process counts of the hops it handles (OPS-02, OPS-04): in plain numbers, since every hop counts. They become
series when somebody looks (metrics.py).
"""

from __future__ import annotations

from bisect import bisect_left

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.bus.telemetry.watching import DONE, HELD
from interlock.envelope.ids import role_of

UNKNOWN = "unknown"
MAX_SENDERS = 1_024
HOP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BUCKETS_NS = tuple(round(bound * 1e9) for bound in HOP_BUCKETS)
ROLES = frozenset(("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human"))


class HopCounts:
    """What a process has handled, for whoever asks it directly. busy_ns: time spent on hops, waiting included."""

    __slots__ = ("busy_ns", "handled", "last_problem", "not_done")

    def __init__(self) -> None:
        self.handled = self.not_done = self.busy_ns = 0
        self.last_problem = ""


class Durations:
    """Hops of one role and intent: how many took how long."""

    __slots__ = ("buckets", "spent_ns")

    def __init__(self) -> None:
        self.buckets = [0] * (len(HOP_BUCKETS) + 1)
        self.spent_ns = 0

    def cumulated(self) -> list[tuple[str, float]]:
        total, found = 0, []
        for bound, count in zip([*map(str, HOP_BUCKETS), "+Inf"], self.buckets, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class _Hops:
    """How many of one role, sender, intent and outcome; their durations are those of the role and intent."""

    __slots__ = ("count", "durations")

    def __init__(self, durations: Durations) -> None:
        self.count = 0
        self.durations = durations


class RoleHops:
    """The numbers of one role. counts: those of the process, counted with them."""

    __slots__ = ("_counts", "_found", "durations", "hops", "in_flight", "refusals")

    def __init__(self, counts: HopCounts) -> None:
        self._counts = counts
        self.in_flight = 0
        self.hops: dict[tuple[str, str, str], _Hops] = {}
        # The same by the whole name of the sender, as the hop has it.
        self._found: dict[tuple[str, str, str], _Hops] = {}
        self.refusals: dict[str, int] = {}
        self.durations: dict[str, Durations] = {}

    def ended(self, hop: Hop, outcome: Outcome | None, spent_ns: int) -> None:
        """outcome: None when it was not answered."""
        self.in_flight -= 1
        counts = self._counts
        counts.handled += 1
        counts.busy_ns += spent_ns
        how = DONE
        if outcome is None:
            how = HELD
        elif outcome.disposition is not Disposition.DONE:
            how, reason = outcome.disposition.value, str(outcome.reason)
            counts.not_done += 1
            counts.last_problem = reason
            self.refusals[reason] = self.refusals.get(reason, 0) + 1
        key = UNKNOWN, UNKNOWN, how
        if hop.authentic:  # only then are these of the closed lists
            envelope = hop.envelope
            key = envelope.sender, envelope.intent, how
        found = self._found.get(key) or self._hops_of(*key)
        found.count += 1
        durations = found.durations
        durations.buckets[bisect_left(_BUCKETS_NS, spent_ns)] += 1
        durations.spent_ns += spent_ns

    def _hops_of(self, sender: str, intent: str, how: str) -> _Hops:
        role = role_of(sender)
        key = (role if role in ROLES else UNKNOWN, intent, how)
        if key not in self.hops:
            self.hops[key] = _Hops(self.durations.setdefault(intent, Durations()))
        if len(self._found) < MAX_SENDERS:
            self._found[(sender, intent, how)] = self.hops[key]
        return self.hops[key]
