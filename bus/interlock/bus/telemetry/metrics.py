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
from interlock.envelope.ids import role_of

HELD = "held"
UNKNOWN = "unknown"
HOP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROLES = frozenset(("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human"))


class _Series:
    """Hops of one role and intent: how many took how long."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(HOP_BUCKETS) + 1)
        self.seconds = 0.0

    def cumulated(self) -> list[tuple[str, float]]:
        total, found = 0, []
        for bound, count in zip([*map(str, map(float, HOP_BUCKETS)), "+Inf"], self.buckets, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class HopMetrics(Collector):
    """Of all actors of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._hops: dict[tuple[str, str, str, str], int] = {}
        self._refusals: dict[tuple[str, str], int] = {}
        self._durations: dict[tuple[str, str], _Series] = {}
        self._in_flight: dict[str, int] = {}
        registry.register(self)

    def taken(self, role: str) -> None:
        self._in_flight[role] = self._in_flight.get(role, 0) + 1

    def ended(self, role: str, hop: Hop, outcome: Outcome | None, seconds: float) -> None:
        """outcome: None when it was not answered."""
        self._in_flight[role] -= 1
        sender = intent = UNKNOWN
        if hop.authentic:  # only then are these of the closed lists
            envelope = hop.envelope
            intent, said = envelope.intent, role_of(envelope.sender)
            sender = said if said in ROLES else UNKNOWN
        key = (role, sender, intent, HELD if outcome is None else outcome.disposition.value)
        self._hops[key] = self._hops.get(key, 0) + 1
        series = self._durations.get((role, intent))
        if series is None:
            series = self._durations[role, intent] = _Series()
        series.buckets[bisect_left(HOP_BUCKETS, seconds)] += 1
        series.seconds += seconds
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            refused = (role, str(outcome.reason))
            self._refusals[refused] = self._refusals.get(refused, 0) + 1

    def collect(self) -> Iterator[Metric]:
        hops = CounterMetricFamily(
            "interlock_hops",
            "Hops by how they ended: done, dead, retry, or held by a halt or an absent broker.",
            labels=["role", "sender", "intent", "outcome"],
        )
        for hop, count in list(self._hops.items()):
            hops.add_metric(hop, count)
        yield hops
        refusals = CounterMetricFamily(
            "interlock_hop_refusals", "Hops not done, by reason code.", labels=["role", "reason"]
        )
        for refusal, count in list(self._refusals.items()):
            refusals.add_metric(refusal, count)
        yield refusals
        durations = HistogramMetricFamily(
            "interlock_hop_duration_seconds", "From taking a hop up to answering it.", labels=["role", "intent"]
        )
        for of, series in list(self._durations.items()):
            durations.add_metric(of, series.cumulated(), series.seconds)
        yield durations
        in_flight = GaugeMetricFamily(
            "interlock_hops_in_flight", "Hops taken up and not yet answered.", labels=["role"]
        )
        for role, count in list(self._in_flight.items()):
            in_flight.add_metric([role], count)
        yield in_flight
