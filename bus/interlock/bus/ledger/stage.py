"""The budget layer of the onion: reserve before the handler, settle after it (BUS-05)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from interlock.bus.failpoints import failpoint
from interlock.bus.hop import Disposition, Handler, Hop, Middleware, Outcome
from interlock.bus.ledger.balance import Request
from interlock.bus.ledger.client import Ask, Lease, goal_scope
from interlock.bus.telemetry.spans import span
from interlock.envelope.amounts import Amount, usd_text
from interlock.envelope.verdict import Reason

Estimate = Callable[[Hop], Amount]


class Charge(Struct, frozen=True):
    """estimate: what handling a hop may cost at most (zero: nothing is reserved). grace_ms: how much longer than the
    envelope lives its reservation may stand before it is taken for spent.
    """

    estimate: Estimate
    grace_ms: int = 60_000


def granted_budget(hop: Hop) -> Amount:
    """The envelope's own grant: what its signer allowed the work to cost."""
    return hop.envelope.budget.amount


def budget_layer(ledger: Ask, charge: Charge) -> Middleware:
    """Work whose cost exceeds the grant or the ledger's balance does not start."""

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            amount = charge.estimate(hop)
            if not amount.within(hop.envelope.budget.amount):
                return Outcome(Disposition.DEAD, Reason.OVER_BUDGET, "the work would cost more than its grant")
            if amount.is_zero:
                return await handle_next(hop)
            scope, key = goal_scope(hop.envelope.goal_id), hop.envelope.id
            expires_ms = hop.origin.deadline_ms + charge.grace_ms
            request = Request(op="reserve", scope=scope, key=key, amount=amount, slack=amount, expires_ms=expires_ms)
            with span("reserve") as shown:
                answer = await ledger.ask(request)
                shown.set("interlock.granted", answer.granted)
                shown.set("interlock.cost_limit_usd", usd_text(amount.usd_micro))
                if not answer.granted:
                    shown.fail(answer.reason)
            if not answer.granted:
                if answer.reason == "unavailable":
                    return Outcome(Disposition.RETRY, Reason.LEDGER_UNAVAILABLE, answer.detail)
                return Outcome(Disposition.DEAD, Reason.OVER_BUDGET, f"{answer.reason}: {answer.detail}")
            failpoint("amount_reserved")
            outcome = await handle_next(hop)
            failpoint("amount_due")
            if outcome.disposition is not Disposition.RETRY:
                with span("settle") as shown:
                    shown.set("interlock.cost_usd", usd_text(outcome.spent.usd_micro))
                    await ledger.ask(Request(op="settle", scope=scope, key=key, amount=outcome.spent))
            return outcome

        return handle

    return middleware


def lease_layer(lease: Lease, charge: Charge) -> Middleware:
    """The same on a hot path: the amount comes out of a lease, without asking anybody. A lease that is used up or not
    yet reported makes the hop come again.
    """

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            amount = charge.estimate(hop)
            if not amount.within(hop.envelope.budget.amount):
                return Outcome(Disposition.DEAD, Reason.OVER_BUDGET, "the work would cost more than its grant")
            if not lease.spend(amount, hop.now_ms):
                return Outcome(Disposition.RETRY, Reason.OVER_BUDGET, "the lease is used up")
            return await handle_next(hop)

        return handle

    return middleware
