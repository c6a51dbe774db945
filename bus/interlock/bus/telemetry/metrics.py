"""Metrics of the bus: rate, errors and duration of hops per role (OPS-02). Labels are roles, intents and reasons of closed
lists; never an id of a goal, an envelope or a person.

Every hop counts here, so it counts in plain numbers; they become series when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from interlock.bus.telemetry.counting import HopCounts, RoleHops


class HopMetrics(Collector):
    """Of all actors of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._roles: dict[str, RoleHops] = {}
        registry.register(self)

    def of(self, role: str, counts: HopCounts) -> RoleHops:
        """Those of one role, to count in. counts: of the process."""
        return self._roles.setdefault(role, RoleHops(counts))

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
                durations.add_metric([role, intent], series.cumulated(), series.spent_ns / 1e9)
        yield durations
        in_flight = GaugeMetricFamily(
            "interlock_hops_in_flight", "Hops taken up and not yet answered.", labels=["role"]
        )
        for role, numbers in roles:
            in_flight.add_metric([role], numbers.in_flight)
        yield in_flight
