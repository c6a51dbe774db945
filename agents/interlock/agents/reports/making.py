"""One report, by its kind: gathers its facts and hands them to the pure part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from interlock.agents.deviations.fold import Deviation
from interlock.agents.reports.attestation import attestation
from interlock.agents.reports.brief import readiness_brief
from interlock.agents.reports.carbon import carbon_report
from interlock.agents.reports.compliance import compliance_report
from interlock.agents.reports.cost import Ceilings, Day, cost_report
from interlock.agents.reports.gathering import Sources, first_goals, goals_of
from interlock.agents.reports.periods import DAY_MS, Length, Period, ending
from interlock.agents.reports.signatures import signature_report

Kind = Literal["cost", "signatures", "attestation", "brief", "carbon", "compliance"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LENGTHS: dict[Kind, Length] = {
    "cost": "day",
    "signatures": "day",
    "carbon": "day",
    "attestation": "week",
    "compliance": "week",
    "brief": "day",
}
FIRST_GOALS = 7
REMEMBERED_DAYS = 30


async def make_report(
    sources: Sources,
    kind: Kind,
    period: Period,
    *,
    config: Path,
    region: str,
    deviations: Sequence[Deviation],
    days: Sequence[Day] | None = None,
    first: int = FIRST_GOALS,
) -> dict[str, Any]:
    """JSON-ready; the same log gives the same report. days: what earlier cost reports say, oldest first; None: it is
    gathered again. first: how many goals a brief looks at. Raises BusError, ValueError for a broken configuration.
    """
    workspace = sources.workspace
    if kind == "brief":
        return readiness_brief(workspace, period, await first_goals(sources, first), first)
    goals = await goals_of(sources, period, replayed=kind == "attestation")
    match kind:
        case "cost":
            before = await days_before(sources, period) if days is None else days
            return cost_report(workspace, period, goals, ceilings(sources), before)
        case "carbon":
            from interlock.skills.cost import load_prices

            prices = load_prices(config / "prices.yaml", region)
            return carbon_report(workspace, period, goals, prices.region, prices.energy.assumption)
        case "attestation":
            known = [one for one in deviations if one.opened_ms < period.end_ms]
            return attestation(workspace, period, goals, ceilings(sources), known)
        case "compliance":
            return compliance_report(workspace, period, goals, _act(config))
        case "signatures":
            return signature_report(workspace, period, goals)


def ceilings(sources: Sources) -> Ceilings:
    """Of the contract in force; without one there are none."""
    chain = sources.chain()
    if chain is None:
        return Ceilings(0, 0)
    quotas = chain.head.contract.quotas
    return Ceilings(quotas.per_goal.amount.usd_micro, quotas.per_day.amount.usd_micro, tuple(quotas.kinds_of_work))


async def days_before(sources: Sources, period: Period) -> list[Day]:
    """What the thirty days before cost, from the log: those in which a goal ended."""
    goals = await goals_of(sources, Period("day", period.start_ms - REMEMBERED_DAYS * DAY_MS, period.start_ms))
    if not goals:
        return []
    found = []
    for number in range(REMEMBERED_DAYS, 0, -1):
        day = ending("day", period.end_ms - number * DAY_MS)
        those = [goal for goal in goals if day.holds(goal.ended_ms)]
        found.append(Day(day.name, sum(goal.usd_micro for goal in those), sum(goal.tokens for goal in those)))
    return found


def _act(config: Path) -> Any:
    from interlock.bus.yaml12 import load_yaml
    from interlock.skills.release.ai_act import Act

    path = config / "ai-act.yaml"
    return msgspec.convert(load_yaml(path.read_bytes(), source=str(path)).value, type=Act)
