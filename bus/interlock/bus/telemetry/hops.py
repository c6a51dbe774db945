"""A hop as spans: sent by one role, processed by another, in the one trace of its goal (OPS-01).

The producer's span has the id that the signed envelope names, and the consumer's is its child. What is not authentic
belongs to no goal: it gets a trace of its own, linked to the one it claims.

Most spans are never exported, so while a hop is handled only a few values are kept, not the hop itself; attributes and the
spans of gates and policy are made from them when a span leaves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextvars import Token
from typing import TYPE_CHECKING

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.bus.telemetry.logs import handles
from interlock.bus.telemetry.propagation import BAGGAGE, TRACEPARENT, carried, carry, read_traceparent
from interlock.bus.telemetry.spans import Span, Tracing, Value, active, enter, leave, new_span_id, new_trace_id
from interlock.envelope.ids import id_time_ms, role_of, span_of
from interlock.envelope.model import Envelope

if TYPE_CHECKING:
    from interlock.bus.telemetry.metrics import HopMetrics

log = logging.getLogger("interlock.telemetry")
SYSTEM: dict[str, Value] = {"messaging.system": "nats"}
_PROCESS = SYSTEM | {"messaging.operation.name": "process", "messaging.operation.type": "process"}
_SEND = SYSTEM | {"messaging.operation.name": "send", "messaging.operation.type": "send"}
# Of an envelope: id, goal, sender, intent.
Facts = tuple[str, str, str, str]


class HopSpan(Span):
    """A hop being processed. gates_ns, policy_ns: when the receiving gates and the policies had spoken, 0: they have not.
    refused_by: the gate that refused; decision: the policies'.
    """

    __slots__ = ("decision", "facts", "gates_ns", "outcome", "policy_ns", "refused_by", "where")
    facts: Facts | None
    outcome: str
    where: tuple[str, str, str, int, int]

    def __init__(self, tracer: Tracing) -> None:
        # Once a hop, so without the detour over the class above.
        self.tracer, self.name, self.kind, self.attributes, self.links = tracer, "process", "consumer", {}, ()
        self.trace_id = self.parent_id = self.problem = self.refused_by = self.decision = ""
        self.gates_ns = self.policy_ns = self.end_ns = 0
        self.span_id, self.facts, self.start_ns = new_span_id(), None, time.time_ns()

    def leaving(self) -> Iterator[Span]:
        role, consumer, subject, delivered, sequence = self.where
        told = self.attributes
        told |= _PROCESS
        told["messaging.destination.name"] = subject
        told["messaging.consumer.group.name"] = consumer
        told["interlock.hop.outcome"] = self.outcome
        told["interlock.hop.sequence"] = sequence
        if delivered > 1:
            told["interlock.hop.delivered"] = delivered
        if self.facts is not None:
            told["messaging.message.id"], told["interlock.goal.id"], told["interlock.sender"] = self.facts[:3]
            self.name = f"process {role}.{self.facts[3]}"
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


class SendSpan(Span):
    """An envelope on its way to be stored."""

    __slots__ = ("facts", "subject")
    facts: Facts
    subject: str

    def leaving(self) -> Iterator[Span]:
        told = self.attributes
        told |= _SEND
        told["messaging.destination.name"] = self.subject
        told["messaging.message.id"], told["interlock.goal.id"] = self.facts[:2]
        self.name = f"send {self.subject.split('.')[3]}.{self.facts[3]}"
        yield self


def gates_done(hop: Hop, refused_by: str = "") -> None:
    """The receiving gates have spoken: from here on the hop's place in its goal's trace is known, if it has one."""
    entered = active()
    if isinstance(entered, HopSpan):
        entered.gates_ns = time.time_ns()
        entered.refused_by = refused_by
        if hop.authentic:
            entered.trace_id, entered.parent_id = hop.envelope.trace_id, hop.envelope.span_id
            header = hop.message.headers.get(BAGGAGE)
            if header or carried():
                for name, value in carry(header).items():
                    entered.attributes[f"interlock.baggage.{name}"] = value


def policy_done(decision: str) -> None:
    """The policies have spoken, right after the gates."""
    entered = active()
    if isinstance(entered, HopSpan):
        entered.policy_ns = time.time_ns()
        entered.decision = decision


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
        self._counts = counts
        self._agent = agent
        self._role = role_of(agent)
        self._consumer = consumer
        self._tracer = tracer
        self._metrics = metrics
        self._slow_ms = slow_ms

    def begin(self, hop: Hop) -> WatchedHop:
        handles(hop)
        if self._metrics is not None:
            self._metrics.taken(self._role)
        if self._tracer is None:
            return WatchedHop(self, hop, None, None)
        span = HopSpan(self._tracer)
        return WatchedHop(self, hop, span, enter(span))

    def ended(self, watched: WatchedHop, outcome: Outcome | None) -> None:
        hop, seconds = watched.hop, time.perf_counter() - watched.began_s
        counts = self._counts
        counts.handled += 1
        counts.busy_ns += int(seconds * 1e9)
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            counts.not_done += 1
            counts.last_problem = str(outcome.reason)
        if self._metrics is not None:
            self._metrics.ended(self._role, hop, outcome, seconds)
        if watched.span is not None:
            self._end(hop, watched.span, outcome)

    def _end(self, hop: Hop, span: HopSpan, outcome: Outcome | None) -> None:
        message = hop.message
        span.where = (self._role, self._consumer, message.subject, message.delivered, message.sequence)
        if hop.authentic:
            envelope = hop.envelope
            span.facts = (envelope.id, envelope.goal_id, envelope.sender, envelope.intent)
        else:
            claimed = read_traceparent(message.headers.get(TRACEPARENT))
            if claimed is not None:
                span.links = ((claimed.trace_id, claimed.span_id),)
            span.trace_id, span.parent_id = new_trace_id(), ""
        why = ""
        span.outcome = "held" if outcome is None else outcome.disposition.value
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            why = span.attributes["interlock.reason"] = str(outcome.reason)
            span.fail(f"{why}: {outcome.detail}"[:500])
        if not why and self._slow_ms and hop.authentic:
            why = "slow" if hop.now_ms - id_time_ms(hop.envelope.goal_id) > self._slow_ms else ""
        span.tracer.end(span)
        if why:
            span.tracer.keep(span.trace_id, why)


class WatchedHop:
    """A hop between its taking up and its answer."""

    __slots__ = ("_telemetry", "_token", "began_s", "hop", "span")

    def __init__(
        self, telemetry: HopTelemetry, hop: Hop, span: HopSpan | None, token: Token[Span | None] | None
    ) -> None:
        self._telemetry = telemetry
        self._token = token
        self.hop = hop
        self.span = span
        self.began_s = time.perf_counter()

    def end(self, outcome: Outcome | None) -> None:
        handles(None)
        if self._token is not None:
            leave(self._token)
        try:
            self._telemetry.ended(self, outcome)
        except Exception:
            log.exception("telemetry failed; the hop is not harmed")


def begin_sending(tracer: Tracing, envelope: Envelope) -> Span:
    """The producer's span of an envelope. Under a hop it is that hop's child; else that of the envelope's parent."""
    entered, parent = active(), envelope.parent_id
    if entered is not None and entered.trace_id == envelope.trace_id:
        parent_span = entered.span_id
    else:
        parent_span = span_of(parent if isinstance(parent, str) else envelope.goal_id)
    span = SendSpan(tracer, "send", "producer", envelope.trace_id, envelope.span_id, parent_span, time.time_ns(), {})
    span.facts = (envelope.id, envelope.goal_id, envelope.sender, envelope.intent)
    span.subject = envelope.subject
    return span
