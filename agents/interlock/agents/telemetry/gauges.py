"""How things stand, asked when somebody looks: budgets, open goals, approvals waited for, deviations, dead letters."""

from __future__ import annotations

import math
from collections.abc import Callable

from interlock.agents.deviations.fold import KINDS, State
from interlock.agents.telemetry.metrics import RoleMetrics
from interlock.bus.ledger.balance import Balance
from interlock.bus.streams import DEAD
from interlock.bus.transport import Transport
from interlock.envelope.subjects import workspace_subject


def show_day(metrics: RoleMetrics, day: Callable[[], Balance | None]) -> None:
    """The workspace's budget of today (UTC): what may be spent, was spent, and is held for work under way. No number before
    the day's first goal.
    """
    limit = metrics.gauge("interlock_budget_limit_usd", "What may be spent today.")
    used = metrics.gauge("interlock_budget_used_usd", "What was spent today.")
    reserved = metrics.gauge("interlock_budget_reserved_usd", "What is held for goals that have not ended.")
    tokens = metrics.gauge("interlock_budget_used_tokens", "Tokens used today.")

    async def refresh() -> None:
        balance = day()
        if balance is None:
            for gauge in (limit, used, reserved, tokens):
                gauge.set(math.nan)
            return
        limit.set(balance.limit.usd_micro / 1e6)
        used.set(balance.used.usd_micro / 1e6)
        reserved.set(balance.reserved.usd_micro / 1e6)
        tokens.set(balance.used.tokens)

    metrics.on_scrape("budget", refresh)


def show_open(metrics: RoleMetrics, open_now: Callable[[], tuple[int, int]]) -> None:
    goals = metrics.gauge("interlock_goals_open", "Goals that have not ended, as this orchestrator knows.")
    approvals = metrics.gauge("interlock_approvals_waiting", "Approvals that humans have not decided yet.")

    async def refresh() -> None:
        found = open_now()
        goals.set(found[0])
        approvals.set(found[1])

    metrics.on_scrape("goals", refresh)


def show_deviations(metrics: RoleMetrics, transport: Transport, workspace: str, state: Callable[[], State]) -> None:
    open_ones = metrics.gauge("interlock_deviations_open", "Deviations no human has resolved yet.", ["kind"])
    overdue = metrics.gauge("interlock_deviations_overdue", "Open deviations past their deadline.")
    letters = metrics.gauge("interlock_dead_letters", "Dead letters that are kept.")

    async def deviations() -> None:
        standing = [one for one in state().values() if one.is_open]
        for kind in KINDS:
            open_ones.labels(kind).set(len([one for one in standing if one.kind == kind]))
        overdue.set(len([one for one in standing if one.escalated_ms]))

    async def dead() -> None:
        letters.set(await transport.count(DEAD.name, workspace_subject(workspace, "dead", ">")))

    metrics.on_scrape("deviations", deviations)
    metrics.on_scrape("dead_letters", dead, [letters])


def show_witness(metrics: RoleMetrics, behind_ms: Callable[[], int]) -> None:
    behind = metrics.gauge(
        "interlock_witness_behind_seconds", "For how long the witness has not taken what the auditor signed."
    )

    async def refresh() -> None:
        behind.set(behind_ms() / 1000)

    metrics.on_scrape("witness", refresh)
