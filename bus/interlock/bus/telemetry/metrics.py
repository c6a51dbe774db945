"""Metrics of the bus: rate, errors and duration of hops per role (OPS-02). Labels are roles, intents and reasons of closed
lists; never an id of a goal, an envelope or a person.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.envelope.ids import role_of

HELD = "held"
UNKNOWN = "unknown"
HOP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ROLES = frozenset(("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human"))


class HopMetrics:
    """Of all actors of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._hops = Counter(
            "interlock_hops",
            "Hops by how they ended: done, dead, retry, or held by a halt or an absent broker.",
            ["role", "sender", "intent", "outcome"],
            registry=registry,
        )
        self._refusals = Counter(
            "interlock_hop_refusals", "Hops not done, by reason code.", ["role", "reason"], registry=registry
        )
        self._duration = Histogram(
            "interlock_hop_duration_seconds",
            "From taking a hop up to answering it.",
            ["role", "intent"],
            buckets=HOP_BUCKETS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "interlock_hops_in_flight", "Hops taken up and not yet answered.", ["role"], registry=registry
        )
        self._taken: dict[str, int] = {}
        self._known: dict[tuple[str, str, str, str], tuple[Counter, Histogram]] = {}

    def taken(self, role: str) -> None:
        if role not in self._taken:
            self._taken[role] = 0
            self._in_flight.labels(role).set_function(lambda: self._taken[role])
        self._taken[role] += 1

    def ended(self, role: str, hop: Hop, outcome: Outcome | None, seconds: float) -> None:
        """outcome: None when it was not answered."""
        self._taken[role] -= 1
        sender = intent = UNKNOWN
        if hop.authentic:  # only then are these of the closed lists
            envelope = hop.envelope
            intent, said = envelope.intent, role_of(envelope.sender)
            sender = said if said in ROLES else UNKNOWN
        key = (role, sender, intent, HELD if outcome is None else outcome.disposition.value)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = (self._hops.labels(*key), self._duration.labels(role, intent))
        known[0].inc()
        known[1].observe(seconds)
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            self._refusals.labels(role, str(outcome.reason)).inc()
