"""A hop as spans: sent by one role, processed by another, in the one trace of its goal (OPS-01).

The producer's span has the id that the signed envelope names, and the consumer's is its child. What is not authentic
belongs to no goal: it gets a trace of its own, linked to the one it claims.

Most spans are never exported, so a hop makes one object and calls little; of the hop itself a few values are kept, from
which attributes and the span of gates and policy are made when a span leaves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.bus.telemetry.counting import HopCounts, RoleHops
from interlock.bus.telemetry.propagation import BAGGAGE, TRACEPARENT, carried, carry, read_traceparent
from interlock.bus.telemetry.spans import (
    Kind,
    Link,
    Span,
    Tracing,
    Value,
    active,
    handles,
    new_number,
    new_span_id,
    new_trace_id,
    span_id_of,
)
from interlock.bus.telemetry.watching import DONE, HELD, Watched
from interlock.envelope.ids import role_of, span_of
from interlock.envelope.model import Envelope

if TYPE_CHECKING:
    from interlock.bus.telemetry.metrics import HopMetrics

log = logging.getLogger("interlock.telemetry")
SYSTEM: dict[str, Value] = {"messaging.system": "nats"}
Shared = tuple[tuple[str, Value], ...]
_PROCESS: Shared = (
    *SYSTEM.items(),
    ("messaging.operation.name", "process"),
    ("messaging.operation.type", "process"),
)
_SEND: Shared = (*SYSTEM.items(), ("messaging.operation.name", "send"), ("messaging.operation.type", "send"))
# Between what is kept of a hop in one text: kept one by one, its strings would hold the memory that the next hop is to find.
_NEXT = "\n"
SAME_TIME = range(100)  # ms, for which the age of a goal is not looked at anew


class HopSpan(Span):
    """A hop being processed, and its watch. gates_ns, policy_ns: when the receiving gates and the policies had spoken, 0:
    they have not. refused_by: the gate that refused; decision: the policies'. Said here is what most hops are; a hop itself
    says only what it is besides.
    """

    name = "process"
    kind: Kind = "consumer"
    links: tuple[Link, ...] = ()
    trace_id = parent_id = problem = refused_by = decision = ""
    gates_ns = policy_ns = end_ns = 0
    outcome = DONE
    _kept: str  # the subject; of an authentic hop also its id, goal, sender, intent, and the span that sent it
    _hop: Hop | None

    def __init__(self, watch: HopTelemetry, tracer: Tracing, hop: Hop) -> None:
        # Once a hop, so without the detour over the class above.
        self.tracer, self.attributes, self._number = tracer, {}, new_number()
        self._watch, self._hop = watch, hop
        self.start_ns = time.time_ns()

    @property
    def span_id(self) -> str:  # type: ignore[override]  # asked for by few, so made when it is
        return span_id_of(self._number)

    def gates_done(self, hop: Hop, refused_by: str = "") -> None:
        """The receiving gates have spoken: from here on the hop's place in its goal's trace is known, if it has one."""
        self.gates_ns = time.time_ns()
        if refused_by:
            self.refused_by = refused_by
        if hop.authentic:
            envelope = hop.envelope
            self.trace_id, self.parent_id = envelope.trace_id, envelope.span_id
            header = hop.message.headers.get(BAGGAGE)
            if header or carried():
                for name, value in carry(header).items():
                    self.attributes[f"interlock.baggage.{name}"] = value

    def policy_done(self, decision: str) -> None:
        """The policies have spoken, right after the gates."""
        self.policy_ns = time.time_ns()
        self.decision = decision

    def end(self, outcome: Outcome | None) -> None:
        """The hop was answered so; None: it was not."""
        hop, self._hop = self._hop, None
        self.end_ns = max(time.time_ns(), self.start_ns)
        handles(None)
        try:
            if hop is not None:
                self._watch.hops.ended(hop, outcome, self.end_ns - self.start_ns)
                self._end(hop, outcome)
        except Exception:
            log.exception("telemetry failed; the hop is not harmed")

    def _end(self, hop: Hop, outcome: Outcome | None) -> None:
        message, watch, why = hop.message, self._watch, ""
        self._delivered, self._sequence = message.delivered, message.sequence
        if hop.authentic:
            envelope = hop.envelope
            kept = message.subject, envelope.id, envelope.goal_id, envelope.sender, envelope.intent, self.parent_id
            self._kept = _NEXT.join(kept)
            self.parent_id = ""
            if hop.now_ms - watch.looked_ms not in SAME_TIME:
                watch.look(hop.now_ms)
            if envelope.goal_id < watch.slow_before:
                why = "slow"
        else:
            claimed = read_traceparent(message.headers.get(TRACEPARENT))
            if claimed is not None:
                self.links = ((claimed.trace_id, claimed.span_id),)
            self.trace_id, self._kept = new_trace_id(), message.subject
        if outcome is None:
            self.outcome = HELD
        elif outcome.disposition is not Disposition.DONE:
            self.outcome = outcome.disposition.value
            why = self.attributes["interlock.reason"] = str(outcome.reason)
            self.fail(f"{why}: {outcome.detail}"[:500])
        self.tracer.ended(self)
        if why:
            self.tracer.keep(self.trace_id, why)

    def leaving(self) -> Iterator[Span]:
        subject, *facts = self._kept.split(_NEXT)
        self.shared = self._watch.shared
        told = self.attributes
        told["messaging.destination.name"] = subject
        told["interlock.hop.outcome"] = self.outcome
        told["interlock.hop.sequence"] = self._sequence
        if self._delivered > 1:
            told["interlock.hop.delivered"] = self._delivered
        if facts:
            told["messaging.message.id"], told["interlock.goal.id"], told["interlock.sender"] = facts[:3]
            self.name, self.parent_id = f"process {self._watch.role}.{facts[3]}", facts[4]
        yield self
        if self.gates_ns:
            yield self._gates()

    def _gates(self) -> Span:
        """All that had to allow it: the receiving gates in a row, and the policies after them."""
        refused: dict[str, Value] = {}
        if self.refused_by:
            refused["interlock.refused_by"] = self.refused_by
        elif self.decision not in ("", "allow"):
            refused |= {"interlock.refused_by": "policy", "interlock.decision": self.decision}
        start_ns, trace_id = self.start_ns, self.trace_id
        gates = Span(self.tracer, "gates", "internal", trace_id, new_span_id(), self.span_id, start_ns, refused)
        gates.end_ns = max(self.policy_ns or self.gates_ns, start_ns)
        if refused:
            gates.fail(f"refused by {refused['interlock.refused_by']}")
        return gates


class HopTelemetry:
    """Watches the hops of one actor. slow_ms: how old a goal is when its trace is kept whole, 0: never."""

    def __init__(
        self,
        agent: str,
        consumer: str,
        *,
        counts: HopCounts,
        tracer: Tracing | None = None,
        metrics: HopMetrics | None = None,
        slow_ms: int = 0,
    ) -> None:
        self.role = role_of(agent)
        self.shared: Shared = (*_PROCESS, ("messaging.consumer.group.name", consumer))
        self._slow_ms = slow_ms
        self.looked_ms, self.slow_before = 0, ""
        self._tracer = tracer
        self.hops = RoleHops(counts) if metrics is None else metrics.of(self.role, counts)

    def begin(self, hop: Hop) -> Watched:
        handles(hop)
        self.hops.in_flight += 1
        if self._tracer is None:
            return WatchedHop(self.hops, hop)
        span = hop.span = HopSpan(self, self._tracer, hop)
        return span

    def look(self, now_ms: int) -> None:
        """From now on goals with an id below slow_before are slow: ids sort by the time they were made at."""
        bound = f"{max(now_ms - self._slow_ms, 0):012x}" if self._slow_ms else ""
        self.looked_ms, self.slow_before = now_ms, f"{bound[:8]}-{bound[8:]}"


class WatchedHop:
    """A hop between its taking up and its answer, where nobody traces."""

    __slots__ = ("_began_ns", "_hop", "_hops")

    def __init__(self, hops: RoleHops, hop: Hop) -> None:
        self._hops = hops
        self._hop = hop
        self._began_ns = time.perf_counter_ns()

    def end(self, outcome: Outcome | None) -> None:
        handles(None)
        try:
            self._hops.ended(self._hop, outcome, time.perf_counter_ns() - self._began_ns)
        except Exception:
            log.exception("telemetry failed; the hop is not harmed")


class SendSpan(Span):
    """An envelope on its way to be stored: under a hop of its goal that hop's child, else (parent_id empty, until it
    leaves) that of the message that it was derived from.
    """

    name = "send"
    kind: Kind = "producer"
    shared = _SEND
    links: tuple[Link, ...] = ()
    problem, end_ns = "", 0

    def __init__(self, tracer: Tracing, envelope: Envelope) -> None:
        self.tracer, self.attributes = tracer, {}
        self.trace_id, self.span_id, under = envelope.trace_id, envelope.span_id, active()
        self.parent_id = under.span_id if under is not None and under.trace_id == envelope.trace_id else ""
        parent = envelope.parent_id
        derived_from = parent if isinstance(parent, str) else envelope.goal_id
        self._kept = _NEXT.join((envelope.subject, envelope.id, envelope.goal_id, envelope.intent, derived_from))
        self.start_ns = time.time_ns()

    def end(self, error: Exception | None = None) -> None:
        """It is stored, or could not be."""
        if error is not None:
            self.fail(f"{type(error).__name__}: {error}"[:300])
        self.end_ns = time.time_ns()
        self.tracer.ended(self)

    def leaving(self) -> Iterator[Span]:
        subject, message_id, goal_id, intent, derived_from = self._kept.split(_NEXT)
        told = self.attributes
        told["messaging.destination.name"] = subject
        told["messaging.message.id"], told["interlock.goal.id"] = message_id, goal_id
        if not self.parent_id:
            self.parent_id = span_of(derived_from)
        self.end_ns = max(self.end_ns, self.start_ns)
        self.name = f"send {subject.split('.')[3]}.{intent}"
        yield self
