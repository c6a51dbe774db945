"""The receiving onion: each layer takes the next handler and returns a handler (bus.md). The order is data, here.

gates → policy → rate → breaker → budget → handler
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from interlock.bus.gates import CONSEQUENCE, Gate
from interlock.bus.hop import Handler, Hop, Middleware, Outcome
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked

Stage = tuple[str, Middleware]


def gate_stage(name: str, gate: Gate) -> Stage:
    """One gate as a layer of its own, so that its cost can be measured."""
    return name, gates_stage([(name, gate)])[1]


def gates_stage(gates: Sequence[tuple[str, Gate]]) -> Stage:
    """All gates in a row as one layer: the same verdicts as a layer each, for a seventh of the calls."""

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            name, refused = first_refusal(gates, hop)
            if hop.span is not None:
                hop.span.gates_done(hop, name)
            if refused is not None:
                return Outcome(CONSEQUENCE[refused.reason], refused.reason, refused.detail)
            return await handle_next(hop)

        return handle

    return "gates", middleware


def first_refusal(gates: Sequence[tuple[str, Gate]], hop: Hop) -> tuple[str, Checked | None]:
    """The gate that does not let the hop through, and its answer. Whatever it raises is a refusal: gates fail closed."""
    name = ""
    try:
        for name, gate in gates:
            checked = gate(hop)
            if checked.reason is not Reason.OK:
                return name, checked
    except Exception as error:  # gates fail closed
        return name, Checked(Reason.GATE_FAILED, f"{name}: {type(error).__name__}: {error}"[:300])
    return "", None


def onion(stages: Sequence[Stage], handler: Handler) -> Handler:
    """Wraps the handler; the first stage is the outermost."""
    for _, middleware in reversed(stages):
        handler = middleware(handler)
    return handler


class Profile:
    """CPU time per stage, without what it hands on to: for `make bench`, never on in production."""

    def __init__(self) -> None:
        self.spent_ns: dict[str, int] = {}

    def add(self, stage: str, ns: int) -> None:
        self.spent_ns[stage] = self.spent_ns.get(stage, 0) + ns

    def watched(self, stages: Sequence[Stage]) -> list[Stage]:
        return [(name, self._watch(name, middleware)) for name, middleware in stages]

    def _watch(self, name: str, middleware: Middleware) -> Middleware:
        def watching(handle_next: Handler) -> Handler:
            async def timed_next(hop: Hop) -> Outcome:
                began = time.process_time_ns()
                try:
                    return await handle_next(hop)
                finally:
                    self.add(name, began - time.process_time_ns())

            inner = middleware(timed_next)

            async def timed(hop: Hop) -> Outcome:
                began = time.process_time_ns()
                try:
                    return await inner(hop)
                finally:
                    self.add(name, time.process_time_ns() - began)

            return timed

        return watching
