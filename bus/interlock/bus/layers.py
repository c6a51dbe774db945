"""Layers that know the past: rate limits and circuit breakers (BUS-06)."""

from __future__ import annotations

from collections.abc import Callable

from interlock.bus.breaker import Breakers
from interlock.bus.errors import BusError
from interlock.bus.hop import Disposition, Handler, Hop, Middleware, Outcome, Postpone
from interlock.bus.rates import Buckets
from interlock.envelope.verdict import Reason

KeyOf = Callable[[Hop], str]


def rate_layer(agents: Buckets, workspaces: Buckets) -> Middleware:
    """At most so many hops a minute of one sender and of one workspace; what is too many comes again later."""

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            envelope = hop.envelope
            wait_ms = agents.take(envelope.sender, hop.now_ms) or workspaces.take(envelope.workspace, hop.now_ms)
            if wait_ms:
                return Outcome(Disposition.RETRY, Reason.RATE_LIMITED, f"{envelope.sender}: again in {wait_ms} ms")
            return await handle_next(hop)

        return handle

    return middleware


def breaker_layer(breakers: Breakers, key_of: KeyOf) -> Middleware:
    """After failures in a row the work is not even tried for a while. key_of: which circuit a hop belongs to, empty
    for none. A failure is a handler that raised; a skill's own refusal is an answer.
    """

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            key = key_of(hop)
            if not key:
                return await handle_next(hop)
            if not breakers.allows(key, hop.now_ms):
                return Outcome(Disposition.RETRY, Reason.CIRCUIT_OPEN, f"{key} failed too often; it rests")
            try:
                outcome = await handle_next(hop)
            except Exception as error:
                if isinstance(error, Postpone) and error.reason is Reason.HALTED:
                    raise  # whoever was halted did not fail
                if isinstance(error, BusError) and error.retryable:
                    raise  # the broker was away: that says nothing of the skill
                breakers.report(key, succeeded=False, now_ms=hop.now_ms)
                raise
            breakers.report(key, succeeded=True, now_ms=hop.now_ms)
            return outcome

        return handle

    return middleware
