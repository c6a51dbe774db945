"""Goals as spans and metrics: taken in by the gateway, decided and ended by the orchestrator."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from interlock.agents.intake.handed_in import INVALID
from interlock.agents.telemetry.telemetry import Telemetry
from interlock.bus.errors import BusError
from interlock.bus.telemetry.hops import SYSTEM
from interlock.bus.telemetry.propagation import BAGGAGE, TRACEPARENT, carry, read_traceparent
from interlock.bus.telemetry.spans import Span, Value, enter, leave, moment
from interlock.bus.transport import Message
from interlock.envelope.amounts import micro_usd
from interlock.envelope.ids import span_of, trace_of
from interlock.envelope.payloads import Completion, GateOutcome

if TYPE_CHECKING:
    from prometheus_client import Counter

    from interlock.agents.telemetry.metrics import GoalMetrics

RELEASED = "released"


class Intake:
    """One goal on its way in. accepted stays False unless somebody says otherwise."""

    def __init__(self) -> None:
        self.accepted = False
        self.problem = ""


class IntakesShown:
    """What the gateway shows."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._submitted: Counter | None = None
        if telemetry.metrics is not None:
            self._submitted = telemetry.metrics.counter(
                "interlock_goals_submitted", "Goals handed in, by what came of it.", ["outcome"]
            )

    @contextmanager
    def taking_in(self, message: Message, goal_id: str) -> Iterator[Intake]:
        intake = Intake()
        span = self._begin(message, goal_id)
        token = None if span is None else enter(span)
        began_s = time.perf_counter()
        problem = INVALID
        try:
            yield intake
        except BusError as error:
            problem = error.reason
            raise
        finally:
            self._count(intake, problem, time.perf_counter() - began_s)
            if span is not None and token is not None:
                leave(token)
                self._end(span, intake)
            if self._submitted is not None:
                self._submitted.labels("accepted" if intake.accepted else "refused").inc()

    def _count(self, intake: Intake, problem: str, seconds: float) -> None:
        """A gateway's hops are the goals that it takes in."""
        counts = self._telemetry.counts
        if counts is None:
            return
        counts.handled += 1
        counts.busy_ns += int(seconds * 1e9)
        if not intake.accepted:
            counts.not_done += 1
            counts.last_problem = problem

    def _begin(self, message: Message, goal_id: str) -> Span | None:
        tracer = self._telemetry.tracer
        if tracer is None:
            return None
        attributes: dict[str, Value] = {
            **SYSTEM,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": message.subject,
            "messaging.message.body.size": len(message.data),
            "messaging.message.conversation_id": goal_id,
            "interlock.goal.id": goal_id,
            "interlock.role": "gateway",
        }
        for name, value in carry(message.headers.get(BAGGAGE)).items():
            attributes[f"interlock.baggage.{name}"] = value
        span = tracer.begin(
            "take in goal",
            kind="consumer",
            trace_id=trace_of(goal_id),
            parent_id=span_of(goal_id),
            attributes=attributes,
        )
        theirs = read_traceparent(message.headers.get(TRACEPARENT))
        if theirs is not None:  # a goal is one trace of its own; whoever asked for it finds it by this
            span.links = ((theirs.trace_id, theirs.span_id),)
        return span

    def _end(self, span: Span, intake: Intake) -> None:
        if not intake.accepted:
            span.parent_id = ""  # no goal came of it
            span.fail(intake.problem)
        span.tracer.end(span)
        if not intake.accepted:
            span.tracer.keep(span.trace_id, "goal_refused")


class GoalsShown:
    """What the orchestrator shows: gates as they are decided, and the span of the whole goal at its end."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._metrics: GoalMetrics | None = None
        if telemetry.metrics is not None:
            from interlock.agents.telemetry.metrics import GoalMetrics

            self._metrics = GoalMetrics(telemetry.metrics.registry)

    def gates(self, outcomes: Sequence[GateOutcome]) -> None:
        """Those that were decided just now."""
        for outcome in outcomes:
            if self._metrics is not None:
                self._metrics.gate(outcome)
            attributes: dict[str, Value] = {
                "interlock.gate": outcome.gate,
                "interlock.gate.name": outcome.name,
                "interlock.gate.owner": outcome.owner,
                "interlock.gate.passed": outcome.passed,
            }
            failing = "" if outcome.passed else "; ".join(said for said in outcome.evidence if said.startswith("fails"))
            moment(f"gate {outcome.gate}", attributes, problem=failing)

    def ended(self, goal_id: str, workspace: str, completion: Completion, began_ms: int, ended_ms: int) -> None:
        """A goal has come to its end."""
        if self._metrics is not None:
            cost = micro_usd(completion.cost_usd) / 1e6
            self._metrics.ended(completion.outcome, (ended_ms - began_ms) / 1000, cost)
        tracer = self._telemetry.tracer
        if tracer is None:
            return
        span = Span(
            tracer,
            "goal",
            "internal",
            trace_of(goal_id),
            span_of(goal_id),
            "",
            began_ms * 1_000_000,
            {
                "interlock.goal.id": goal_id,
                "interlock.workspace": workspace,
                "interlock.goal.outcome": completion.outcome,
                "interlock.goal.cost_usd": completion.cost_usd,
                "interlock.goal.gates_failed": len([one for one in completion.gates if not one.passed]),
            },
        )
        if completion.outcome != RELEASED:
            told = "; ".join(f"{ground.code}: {ground.message}" for ground in completion.grounds)
            span.fail(f"{completion.outcome}: {told}"[:500])
            tracer.keep(span.trace_id, completion.outcome)
        tracer.end(span)
