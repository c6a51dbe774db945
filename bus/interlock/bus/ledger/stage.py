"""The budget layer of the onion: reserve before the handler, settle after it (BUS-05). In the goal's scope, and where the kind
of work is limited, in its day's as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from interlock.bus.failpoints import failpoint
from interlock.bus.hop import Disposition, Handler, Hop, Middleware, Outcome
from interlock.bus.ledger.balance import Answer, Request
from interlock.bus.ledger.client import Ask, Lease, goal_scope, kind_scope
from interlock.bus.telemetry.spans import span
from interlock.envelope.amounts import Amount, usd_text
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.verdict import Reason

Estimate = Callable[[Hop], Amount]


class Charge(Struct, frozen=True):
    """estimate: what handling a hop may cost at most (zero: nothing is reserved). grace_ms: how much longer than the
    envelope lives its reservation may stand before it is taken for spent. kind: what kind of work it is, if its kind is limited.
    """

    estimate: Estimate
    grace_ms: int = 60_000
    kind: Callable[[Hop], KindQuota | None] = lambda hop: None


def granted_budget(hop: Hop) -> Amount:
    """The envelope's own grant: what its signer allowed the work to cost."""
    return hop.envelope.budget.amount


def budget_layer(ledger: Ask, charge: Charge) -> Middleware:
    """Work whose cost exceeds the grant or the ledger's balance does not start."""

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            amount, kind = charge.estimate(hop), charge.kind(hop)
            if not amount.within(hop.envelope.budget.amount):
                return Outcome(Disposition.DEAD, Reason.OVER_BUDGET, "the work would cost more than its grant")
            if kind is not None and not amount.within(kind.per_task.amount):
                detail = f"granted {usd_text(amount.usd_micro)} USD; a task of the kind {kind.kind} may cost {kind.per_task.told}"
                return Outcome(Disposition.DEAD, Reason.OVER_QUOTA, detail)
            if amount.is_zero and kind is None:
                return await handle_next(hop)
            holds = [_Hold(goal_scope(hop.envelope.goal_id), amount)]
            if kind is not None:  # a run is one action, whatever it was granted
                holds.append(_Hold(kind_scope(kind.kind, hop.envelope.created_at), replace(amount, actions=1), kind))
            key = hop.envelope.id
            refusal = await _reserve(ledger, holds, key, hop.origin.deadline_ms + charge.grace_ms)
            if refusal is not None:
                return refusal
            failpoint("amount_reserved")
            outcome = await handle_next(hop)
            failpoint("amount_due")
            if outcome.disposition is not Disposition.RETRY:
                with span("settle") as shown:
                    shown.set("interlock.cost_usd", usd_text(outcome.spent.usd_micro))
                    for hold in holds:
                        await ledger.ask(Request(op="settle", scope=hold.scope, key=key, amount=outcome.spent))
            return outcome

        return handle

    return middleware


class _Hold(Struct, frozen=True):
    """What work is to hold in one scope. kind: whose day the scope is, if it is that of a kind of work."""

    scope: str
    amount: Amount
    kind: KindQuota | None = None


async def _reserve(ledger: Ask, holds: Sequence[_Hold], key: str, expires_ms: int) -> Outcome | None:
    """None if all of it is held; else what becomes of the hop, and nothing is held that would not be asked for again."""
    for number, hold in enumerate(holds):
        amount = hold.amount
        request = Request(op="reserve", scope=hold.scope, key=key, amount=amount, slack=amount, expires_ms=expires_ms)
        with span("reserve") as shown:
            answer = await ledger.ask(request)
            shown.set("interlock.granted", answer.granted)
            shown.set("interlock.cost_limit_usd", usd_text(amount.usd_micro))
            if not answer.granted:
                shown.fail(answer.reason)
        if answer.granted:
            continue
        if answer.reason == "unavailable":
            return Outcome(Disposition.RETRY, Reason.LEDGER_UNAVAILABLE, answer.detail)
        for held in holds[:number]:
            await ledger.ask(Request(op="settle", scope=held.scope, key=key))
        reason = Reason.OVER_BUDGET if hold.kind is None else Reason.OVER_QUOTA
        return Outcome(Disposition.DEAD, reason, _why_not(answer, hold))
    return None


def _why_not(answer: Answer, hold: _Hold) -> str:
    if hold.kind is None or answer.reason != "over_budget":
        return f"{answer.reason}: {answer.detail}"
    mend = "again tomorrow, or under a contract version that allows more"
    return f"{hold.scope} holds no more: {hold.kind.per_day.told} a day; {mend}"


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
