"""The cost report of a day (AUD-06; seed 004, §2.3): what goals cost, against which ceilings, put down to whom. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from interlock.agents.costs.attribution import DIMENSIONS, Item, totals
from interlock.agents.reports.facts import GoalFacts
from interlock.agents.reports.periods import Period
from interlock.envelope.amounts import usd_text
from interlock.envelope.kind_quota import KindQuota, kind_of

NEAR_PER_MILLE, HIGH_PER_MILLE, LATE_PER_MILLE = 900, 800, 900
SPIKE, TOKEN_SPIKE = 2, 3  # times the average of the seven days before
STEADY_PER_MILLE = 100  # a trend within a tenth is none


class Ceilings(Struct, frozen=True):
    """Of the contract: micro-USD a goal and a day, 0 for none; what work of a kind may cost."""

    goal_micro: int
    day_micro: int
    kinds: tuple[KindQuota, ...] = ()


class Day(Struct, frozen=True):
    """What an earlier report says of its day; name: `2026-11-20`."""

    name: str
    usd_micro: int
    tokens: int


def cost_report(
    workspace: str, period: Period, goals: Sequence[GoalFacts], ceilings: Ceilings, before: Sequence[Day]
) -> dict[str, Any]:
    """JSON-ready. Money as decimal strings of USD, shares in parts per thousand. before: earlier days, oldest first; a day
    without a report cost nothing. Attribution adds up to the total in every dimension, to the micro-USD.
    """
    costs = [goal.usd_micro for goal in goals]
    total, tokens = sum(costs), sum(goal.tokens for goal in goals)
    over = [goal for goal in goals if goal.usd_micro > goal.limit_micro]
    items = [item for goal in goals for item in _whole(goal)]
    week, month = _average(before, 7), _average(before, 30)
    return {
        "kind": "cost",
        "version": 1,
        "workspace": workspace,
        "period": period.name,
        "summary": {
            "goals": len(goals),
            "released": sum(goal.outcome == "released" for goal in goals),
            "totalCostUSD": usd_text(total),
            "meanCostUSD": usd_text(total // len(goals)) if goals else "0",
            "minCostUSD": usd_text(min(costs, default=0)),
            "maxCostUSD": usd_text(max(costs, default=0)),
            "tokens": tokens,
        },
        "ceilings": {
            "goalCostUSD": usd_text(ceilings.goal_micro),
            "dayCostUSD": usd_text(ceilings.day_micro),
            "goalBreaches": len(over),
            "dayBreached": bool(ceilings.day_micro) and total > ceilings.day_micro,
            "kinds": [_of_kind(one, items) for one in ceilings.kinds],
            "status": "FAIL" if over or (ceilings.day_micro and total > ceilings.day_micro) else "PASS",
        },
        "utilisation": {
            "dayPerMille": _share(total, ceilings.day_micro),
            "headroomUSD": usd_text(max(0, ceilings.day_micro - total)),
        },
        "trajectory": {
            "sevenDayMeanUSD": usd_text(week),
            "thirtyDayMeanUSD": usd_text(month),
            "trend": _trend(total, week) if before else "unknown",
            "days": [{"date": day.name, "costUSD": usd_text(day.usd_micro)} for day in before[-30:]]
            + [{"date": period.name, "costUSD": usd_text(total)}],
        },
        "attribution": {
            dimension: [
                {"name": part.name, "costUSD": usd_text(part.usd_micro), "tokens": part.tokens, "charges": part.charges}
                for part in totals(items, dimension)
            ]
            for dimension in DIMENSIONS
        },
        "alerts": _alerts(goals, over, total, tokens, ceilings, before),
    }


def _of_kind(quota: KindQuota, items: Sequence[Item]) -> dict[str, Any]:
    """What work of a kind cost, of the goals that ended in the period. A task is one charge."""
    costs = [item.usd_micro for item in items if kind_of([quota], item.skill) is not None]
    most = quota.per_task.amount.usd_micro
    return {
        "kind": quota.kind,
        "perTask": quota.per_task.told,
        "perDay": quota.per_day.told,
        "tasks": len(costs),
        "costUSD": usd_text(sum(costs)),
        "maxTaskCostUSD": usd_text(max(costs, default=0)),
        "taskBreaches": sum(cost > most for cost in costs),
    }


def _whole(goal: GoalFacts) -> list[Item]:
    """A goal's charges, and what none of them tells of, so that the sum is what the ledger says."""
    rest = goal.usd_micro - sum(item.usd_micro for item in goal.items)
    if not rest:
        return goal.items
    unknown = "unknown"
    missing = Item(
        goal=goal.goal_id,
        domain=unknown,
        agent=unknown,
        skill=unknown,
        model=unknown,
        tag=unknown,
        usd_micro=rest,
        tokens=0,
        at_ms=goal.ended_ms,
    )
    return [*goal.items, missing]


def _alerts(
    goals: Sequence[GoalFacts],
    over: Sequence[GoalFacts],
    total: int,
    tokens: int,
    ceilings: Ceilings,
    before: Sequence[Day],
) -> list[dict[str, str]]:
    found = [("goal_ceiling_breached", f"goal {goal.goal_id} cost {usd_text(goal.usd_micro)} USD") for goal in over]
    found += [
        ("goal_ceiling_near", f"goal {goal.goal_id} used {_share(goal.usd_micro, goal.limit_micro)} ‰ of its budget")
        for goal in goals
        if goal not in over and _share(goal.usd_micro, goal.limit_micro) >= NEAR_PER_MILLE
    ]
    used = _share(total, ceilings.day_micro)
    if used > 1000:
        found.append(("day_ceiling_breached", f"{usd_text(total)} of {usd_text(ceilings.day_micro)} USD"))
    elif used >= LATE_PER_MILLE:
        found.append(("day_budget_90", f"{used} ‰ of the day's budget are used"))
    elif used >= HIGH_PER_MILLE:
        found.append(("day_budget_80", f"{used} ‰ of the day's budget are used"))
    week, week_tokens = _average(before, 7), sum(day.tokens for day in before[-7:]) // 7
    if week and total > SPIKE * week:
        found.append(("cost_spike", f"{usd_text(total)} USD are more than {SPIKE} times the seven-day mean"))
    if week_tokens and tokens > TOKEN_SPIKE * week_tokens:
        found.append(("token_spike", f"{tokens} tokens are more than {TOKEN_SPIKE} times the seven-day mean"))
    return [{"code": code, "text": text} for code, text in found]


def _average(days: Sequence[Day], count: int) -> int:
    return sum(day.usd_micro for day in days[-count:]) // count


def _trend(total: int, mean: int) -> str:
    if abs(total - mean) * 1000 <= STEADY_PER_MILLE * mean:
        return "stable"
    return "increasing" if total > mean else "decreasing"


def _share(part: int, whole: int) -> int:
    return part * 1000 // whole if whole else 0
