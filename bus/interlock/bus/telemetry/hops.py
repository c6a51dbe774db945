"""A hop as spans: sent by one role, processed by another, in the one trace of its goal (OPS-01).

The producer's span has the id that the signed envelope names, and the consumer's is its child. What is not authentic
belongs to no goal: it gets a trace of its own, linked to the one it claims.
"""

from __future__ import annotations

import logging
import time
from contextvars import Token
from typing import TYPE_CHECKING

from interlock.bus.hop import Disposition, Hop, Outcome
from interlock.bus.telemetry.logs import handles
from interlock.bus.telemetry.propagation import BAGGAGE, TRACEPARENT, Parent, carry, read_traceparent
from interlock.bus.telemetry.spans import Span, Tracing, Value, active, enter, leave, new_span_id, new_trace_id
from interlock.envelope.ids import id_time_ms, role_of, span_of
from interlock.envelope.model import Envelope

if TYPE_CHECKING:
    from interlock.bus.telemetry.metrics import HopMetrics

log = logging.getLogger("interlock.telemetry")

SYSTEM: dict[str, Value] = {"messaging.system": "nats"}


class HopSpan(Span):
    """A hop being processed. gates_ns: when the receiving gates had spoken; refused_by: the one that refused."""

    __slots__ = ("gates_ns", "refused_by")
    gates_ns: int
    refused_by: str


def gates_done(hop: Hop, refused_by: str = "") -> None:
    """The receiving gates have spoken: from here on the hop's place in its goal's trace is known, if it has one."""
    entered = active()
    if isinstance(entered, HopSpan):
        entered.gates_ns = time.time_ns()
        entered.refused_by = refused_by
        if hop.authentic:
            entered.trace_id, entered.parent_id = hop.envelope.trace_id, hop.envelope.span_id
            for name, value in carry(hop.message.headers.get(BAGGAGE)).items():
                entered.attributes[f"interlock.baggage.{name}"] = value


class HopCounts:
    """What a process has handled, for whoever asks it directly. busy_ns: time spent on hops, waiting included."""

    __slots__ = ("busy_ns", "handled", "last_problem", "not_done")

    def __init__(self) -> None:
        self.handled = self.not_done = self.busy_ns = 0
        self.last_problem = ""

    def ended(self, outcome: Outcome | None, seconds: float) -> None:
        self.handled += 1
        self.busy_ns += int(seconds * 1e9)
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            self.not_done += 1
            self.last_problem = str(outcome.reason)


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
        span, token = None, None
        if self._tracer is not None:
            claimed = read_traceparent(hop.message.headers.get(TRACEPARENT)) or Parent(new_trace_id(), "", False)
            span = HopSpan(
                self._tracer,
                "process",
                "consumer",
                claimed.trace_id,
                new_span_id(),
                claimed.span_id,
                time.time_ns(),
                dict(SYSTEM),
            )
            span.gates_ns, span.refused_by = 0, ""
            token = enter(span)
        return WatchedHop(self, hop, span, token)

    def ended(self, watched: WatchedHop, outcome: Outcome | None) -> None:
        hop, seconds = watched.hop, time.perf_counter() - watched.began_s
        self._counts.ended(outcome, seconds)
        if self._metrics is not None:
            self._metrics.ended(self._role, hop, outcome, seconds)
        if self._tracer is not None and watched.span is not None:
            self._told(self._tracer, hop, watched.span, outcome)

    def _told(self, tracer: Tracing, hop: Hop, span: HopSpan, outcome: Outcome | None) -> None:
        if not hop.authentic:
            if span.parent_id:
                span.links = ((span.trace_id, span.parent_id),)
            span.trace_id, span.parent_id = new_trace_id(), ""
        span.attributes |= self._attributes(hop, outcome)
        if hop.authentic:
            span.name = f"process {self._role}.{hop.envelope.intent}"
        if span.gates_ns:
            gates = Span(
                tracer,
                "gates",
                "internal",
                span.trace_id,
                new_span_id(),
                span.span_id,
                span.start_ns,
                {"interlock.refused_by": span.refused_by} if span.refused_by else {},
            )
            gates.end_ns = max(span.gates_ns, span.start_ns)
            if span.refused_by and outcome is not None:
                gates.fail(outcome.reason)
            tracer.ended(gates)
        why = self._worth_keeping(hop, outcome)
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            span.fail(f"{outcome.reason}: {outcome.detail}"[:500])
        tracer.end(span)
        if why:
            tracer.keep(span.trace_id, why)

    def _attributes(self, hop: Hop, outcome: Outcome | None) -> dict[str, Value]:
        message = hop.message
        told: dict[str, Value] = {
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": message.subject,
            "messaging.consumer.group.name": self._consumer,
            "messaging.message.body.size": len(message.data),
            "interlock.agent": self._agent,
            "interlock.role": self._role,
            "interlock.hop.delivered": message.delivered,
            "interlock.hop.sequence": message.sequence,
            "interlock.hop.outcome": "held" if outcome is None else outcome.disposition.value,
        }
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            told["interlock.reason"] = str(outcome.reason)
        if hop.authentic:
            told |= envelope_attributes(hop.envelope)
        return told

    def _worth_keeping(self, hop: Hop, outcome: Outcome | None) -> str:
        if outcome is not None and outcome.disposition is not Disposition.DONE:
            return str(outcome.reason)
        if self._slow_ms and hop.authentic and hop.now_ms - id_time_ms(hop.envelope.goal_id) > self._slow_ms:
            return "slow"
        return ""


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


def envelope_attributes(envelope: Envelope) -> dict[str, Value]:
    """What an authentic envelope says of itself."""
    return {
        "messaging.message.id": envelope.id,
        "messaging.message.conversation_id": envelope.goal_id,
        "interlock.workspace": envelope.workspace,
        "interlock.goal.id": envelope.goal_id,
        "interlock.sender": envelope.sender,
        "interlock.intent": envelope.intent,
        "interlock.payload": type(envelope.payload).__name__,
        "interlock.risk_tier": envelope.risk_tier,
    }


def begin_sending(tracer: Tracing, envelope: Envelope, size: int) -> Span:
    """The producer's span of an envelope. Under a hop it is that hop's child; else that of the envelope's parent."""
    entered, parent = active(), envelope.parent_id
    if entered is not None and entered.trace_id == envelope.trace_id:
        parent_span = entered.span_id
    else:
        parent_span = span_of(parent if isinstance(parent, str) else envelope.goal_id)
    to = role_of(envelope.to if isinstance(envelope.to, str) else envelope.to[0])
    return tracer.begin(
        f"send {to}.{envelope.intent}",
        kind="producer",
        trace_id=envelope.trace_id,
        parent_id=parent_span,
        span_id=envelope.span_id,
        attributes=SYSTEM
        | envelope_attributes(envelope)
        | {
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": envelope.subject,
            "messaging.message.body.size": size,
            "interlock.agent": envelope.sender,
        },
    )
