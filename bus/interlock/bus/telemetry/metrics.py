"""Metrics of the bus: rate, errors and duration of hops per role (OPS-02). Labels are roles, intents and reasons of closed
lists; never an id of a goal, an envelope or a person.

Every hop counts here, so it counts in plain numbers; they become series when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.bus.telemetry.watching import DONE, HELD
from interlock.envelope.ids import role_of

UNKNOWN = "unknown"
MAX_SENDERS = 1_024
HOP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROLES = frozenset(("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human"))


class _Durations:
    """Hops of one role and intent: how many took how long."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(HOP_BUCKETS) + 1)
        self.seconds = 0.0

    def cumulated(self) -> list[tuple[str, float]]:
        total, found = 0, []
        for bound, count in zip([*map(str, HOP_BUCKETS), "+Inf"], self.buckets, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class _Hops:
    """How many of one role, sender, intent and outcome; their durations are those of the role and intent."""

    __slots__ = ("count", "durations")

    def __init__(self, durations: _Durations) -> None:
        self.count = 0
        self.durations = durations


class RoleHops:
    """The numbers of one role."""

    __slots__ = ("_found", "durations", "hops", "in_flight", "refusals")

    def __init__(self) -> None:
        self.in_flight = 0
        self.hops: dict[tuple[str, str, str], _Hops] = {}
        # The same by the whole name of the sender, as the hop has it.
        self._found: dict[tuple[str, str, str], _Hops] = {}
        self.refusals: dict[str, int] = {}
        self.durations: dict[str, _Durations] = {}

    def ended(self, hop: Hop, outcome: Outcome | None, seconds: float) -> None:
        """outcome: None when it was not answered."""
        self.in_flight -= 1
        how = DONE
        if outcome is None:
            how = HELD
        elif outcome.disposition is not Disposition.DONE:
            how, reason = outcome.disposition.value, str(outcome.reason)
            self.refusals[reason] = self.refusals.get(reason, 0) + 1
        key = UNKNOWN, UNKNOWN, how
        if hop.authentic:  # only then are these of the closed lists
            envelope = hop.envelope
            key = envelope.sender, envelope.intent, how
        found = self._found.get(key) or self._hops_of(*key)
        found.count += 1
        durations = found.durations
        durations.buckets[bisect_left(HOP_BUCKETS, seconds)] += 1
        durations.seconds += seconds

    def _hops_of(self, sender: str, intent: str, how: str) -> _Hops:
        role = role_of(sender)
        key = (role if role in ROLES else UNKNOWN, intent, how)
        if key not in self.hops:
            self.hops[key] = _Hops(self.durations.setdefault(intent, _Durations()))
        if len(self._found) < MAX_SENDERS:
            self._found[(sender, intent, how)] = self.hops[key]
        return self.hops[key]


class HopMetrics(Collector):
    """Of all actors of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._roles: dict[str, RoleHops] = {}
        registry.register(self)

    def of(self, role: str) -> RoleHops:
        """Those of one role, to count in."""
        return self._roles.setdefault(role, RoleHops())

    def collect(self) -> Iterator[Metric]:
        roles = list(self._roles.items())
        hops = CounterMetricFamily(
            "interlock_hops",
            "Hops by how they ended: done, dead, retry, or held by a halt or an absent broker.",
            labels=["role", "sender", "intent", "outcome"],
        )
        for role, numbers in roles:
            for key, found in list(numbers.hops.items()):
                hops.add_metric([role, *key], found.count)
        yield hops
        refusals = CounterMetricFamily(
            "interlock_hop_refusals", "Hops not done, by reason code.", labels=["role", "reason"]
        )
        for role, numbers in roles:
            for reason, count in list(numbers.refusals.items()):
                refusals.add_metric([role, reason], count)
        yield refusals
        durations = HistogramMetricFamily(
            "interlock_hop_duration_seconds", "From taking a hop up to answering it.", labels=["role", "intent"]
        )
        for role, numbers in roles:
            for intent, series in list(numbers.durations.items()):
                durations.add_metric([role, intent], series.cumulated(), series.seconds)
        yield durations
        in_flight = GaugeMetricFamily(
            "interlock_hops_in_flight", "Hops taken up and not yet answered.", labels=["role"]
        )
        for role, numbers in roles:
            in_flight.add_metric([role], numbers.in_flight)
        yield in_flight
