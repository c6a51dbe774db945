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
from interlock.bus.telemetry.logs import handles
from interlock.bus.telemetry.propagation import BAGGAGE, TRACEPARENT, carried, carry, read_traceparent
from interlock.bus.telemetry.spans import (
    Kind,
    Link,
    Span,
    Tracing,
    Value,
    active,
    enter,
    leave,
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
# Of an envelope: id, goal, sender, intent.
Facts = tuple[str, str, str, str]
_SAME_TIME = range(100)  # ms, for which the age of a goal is not looked at anew


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
    facts: Facts | None = None
    where: tuple[str, int, int]
    _hop: Hop | None

    def __init__(self, watch: HopTelemetry, tracer: Tracing, hop: Hop) -> None:
        # Once a hop, so without the detour over the class above.
        self.tracer, self.attributes, self._number = tracer, {}, new_number()
        self._watch, self._hop = watch, hop
        self._token = enter(self)
        self.start_ns, self._began_s = time.time_ns(), time.perf_counter()

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
        handles(None)
        leave(self._token)
        del self._token  # spans wait, and this would keep a whole context
        try:
            if hop is not None:
                self._watch.count(hop, outcome, time.perf_counter() - self._began_s)
                self._end(hop, outcome)
        except Exception:
            log.exception("telemetry failed; the hop is not harmed")

    def _end(self, hop: Hop, outcome: Outcome | None) -> None:
        message, why = hop.message, ""
        self.where = (message.subject, message.delivered, message.sequence)
        if hop.authentic:
            envelope = hop.envelope
            self.facts = (envelope.id, envelope.goal_id, envelope.sender, envelope.intent)
            if envelope.goal_id < self._watch.slow_before(hop.now_ms):
                why = "slow"
        else:
            claimed = read_traceparent(message.headers.get(TRACEPARENT))
            if claimed is not None:
                self.links = ((claimed.trace_id, claimed.span_id),)
            self.trace_id, self.parent_id = new_trace_id(), ""
        if outcome is None:
            self.outcome = HELD
        elif outcome.disposition is not Disposition.DONE:
            self.outcome = outcome.disposition.value
            why = self.attributes["interlock.reason"] = str(outcome.reason)
            self.fail(f"{why}: {outcome.detail}"[:500])
        self.end_ns = time.time_ns()
        self.tracer.ended(self)
        if why:
            self.tracer.keep(self.trace_id, why)

    def leaving(self) -> Iterator[Span]:
        subject, delivered, sequence = self.where
        self.shared = self._watch.shared
        told = self.attributes
        told["messaging.destination.name"] = subject
        told["interlock.hop.outcome"] = self.outcome
        told["interlock.hop.sequence"] = sequence
        if delivered > 1:
            told["interlock.hop.delivered"] = delivered
        if self.facts is not None:
            told["messaging.message.id"], told["interlock.goal.id"], told["interlock.sender"] = self.facts[:3]
            self.name = f"process {self._watch.role}.{self.facts[3]}"
        self.end_ns = max(self.end_ns, self.start_ns)
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


class HopCounts:
    """What a process has handled, for whoever asks it directly. busy_ns: time spent on hops, waiting included."""

    __slots__ = ("busy_ns", "handled", "last_problem", "not_done")

    def __init__(self) -> None:
        self.handled = self.not_done = self.busy_ns = 0
        self.last_problem = ""


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
        self._slow: tuple[int, str] = (0, "")
        self._counts = counts
        self._tracer = tracer
        self._metrics = None if metrics is None else metrics.of(self.role)

    def begin(self, hop: Hop) -> Watched:
        handles(hop)
        if self._metrics is not None:
            self._metrics.in_flight += 1
        if self._tracer is None:
            return WatchedHop(self, hop)
        span = hop.span = HopSpan(self, self._tracer, hop)
        return span

    def slow_before(self, now_ms: int) -> str:
        """A goal with an id below this is slow: ids sort by the time they were made at."""
        if now_ms - self._slow[0] not in _SAME_TIME:
            bound = f"{max(now_ms - self._slow_ms, 0):012x}" if self._slow_ms else ""
            self._slow = (now_ms, f"{bound[:8]}-{bound[8:]}")
        return self._slow[1]

    def count(self, hop: Hop, outcome: Outcome | None, seconds: float) -> None:
        """A hop has ended."""
        counts = self._counts
        counts.handled += 1
        counts.busy_ns += int(seconds * 1e9)
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            counts.not_done += 1
            counts.last_problem = str(outcome.reason)
        if self._metrics is not None:
            self._metrics.ended(hop, outcome, seconds)


class WatchedHop:
    """A hop between its taking up and its answer, where nobody traces."""

    __slots__ = ("_began_s", "_hop", "_watch")

    def __init__(self, watch: HopTelemetry, hop: Hop) -> None:
        self._watch = watch
        self._hop = hop
        self._began_s = time.perf_counter()

    def end(self, outcome: Outcome | None) -> None:
        handles(None)
        try:
            self._watch.count(self._hop, outcome, time.perf_counter() - self._began_s)
        except Exception:
            log.exception("telemetry failed; the hop is not harmed")


class SendSpan(Span):
    """An envelope on its way to be stored. parent_id empty: that of the message that it was derived from."""

    name = "send"
    kind: Kind = "producer"
    shared = _SEND
    links: tuple[Link, ...] = ()
    problem, end_ns = "", 0

    def __init__(self, tracer: Tracing, envelope: Envelope, parent_id: str) -> None:
        self.tracer, self.attributes, self._subject = tracer, {}, envelope.subject
        self.trace_id, self.span_id, self.parent_id = envelope.trace_id, envelope.span_id, parent_id
        self._derived_from = envelope.parent_id
        self._facts = (envelope.id, envelope.goal_id, envelope.intent)
        self.start_ns = time.time_ns()

    def leaving(self) -> Iterator[Span]:
        message_id, goal_id, intent = self._facts
        told = self.attributes
        told["messaging.destination.name"] = self._subject
        told["messaging.message.id"], told["interlock.goal.id"] = message_id, goal_id
        if not self.parent_id:
            parent = self._derived_from
            self.parent_id = span_of(parent if isinstance(parent, str) else goal_id)
        self.name = f"send {self._subject.split('.')[3]}.{intent}"
        yield self


def begin_sending(tracer: Tracing, envelope: Envelope) -> Span:
    """The producer's span of an envelope. Under a hop it is that hop's child; else that of the envelope's parent."""
    entered = active()
    under = "" if entered is None or entered.trace_id != envelope.trace_id else entered.span_id
    return SendSpan(tracer, envelope, under)
