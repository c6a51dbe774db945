"""Cost of the plan as it ran, with projections."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

from interlock.bus.yaml12 import YamlError, load_yaml
from interlock.envelope.amounts import micro_usd, usd_text
from interlock.skills.release.documents import json_text
from interlock.skills.repository.findings import Finding, told
from interlock.skills.sdk import Task

RUNS_PER_DAY = (1, 10, 100)
DAYS_PER_MONTH = 30
ALERT_PER_MILLE = 800


def run(task: Task) -> dict[str, Any]:
    goal, plan = task.input["goal"], task.input["plan"]
    ended = [entry for entry in plan if entry["status"] in ("done", "failed")]
    total = sum(entry["costUsdMicro"] for entry in ended)
    wall = sum(entry["wallMs"] for entry in ended)
    tokens = sum(entry["tokens"] for entry in ended)
    limit = micro_usd((goal.get("budget_limits") or {}).get("costUSD", "0"))
    share = total * 1000 // limit if limit else 0
    document = {
        "specVersion": "3.2",
        "analysedAt": task.now,
        "currency": "USD",
        "total": {"costUSD": usd_text(total), "wallMs": wall, "tokens": tokens, "tasks": len(ended)},
        "budget": {"costUSD": usd_text(limit), "usedPerMille": share},
        "tasks": [_line(entry) for entry in plan],
        "bySkill": _by_skill(ended),
        "notEnded": [entry["id"] for entry in plan if entry not in ended],
        "projections": [_projection(total, runs) for runs in RUNS_PER_DAY],
        **_carbon(wall, task.config),
    }
    (task.out / "cost_analysis.json").write_text(json_text(document), encoding="utf-8")
    return {
        "tasks": len(ended),
        "costUSD": usd_text(total),
        "wallMs": wall,
        "tokens": tokens,
        "budgetPerMille": share,
        **told(_findings(share)),
    }


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": entry["id"],
        "skill": entry["skill"],
        "status": entry["status"],
        "costUSD": usd_text(entry["costUsdMicro"]),
        "wallMs": entry["wallMs"],
        "tokens": entry["tokens"],
        "attempts": entry["attempt"],
    }


def _by_skill(ended: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By name, so that the order does not depend on the figures."""
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in ended:
        groups[entry["skill"]].append(entry)
    return [
        {
            "skill": skill,
            "runs": len(entries),
            "costUSD": usd_text(sum(entry["costUsdMicro"] for entry in entries)),
            "wallMs": sum(entry["wallMs"] for entry in entries),
        }
        for skill, entries in sorted(groups.items())
    ]


def _projection(total: int, runs: int) -> dict[str, Any]:
    monthly = total * runs * DAYS_PER_MONTH
    return {
        "runsPerDay": runs,
        "monthlyCostUSD": usd_text(monthly),
        "yearlyCostUSD": usd_text(total * runs * 365),
        "assumption": "every run costs what this one did",
    }


def _carbon(wall_ms: int, config: Path) -> dict[str, Any]:
    """An upper estimate: one core busy for all the wall time. Absent where no energy figures are configured."""
    path = config / "prices.yaml"
    try:
        prices = load_yaml(path.read_bytes(), source=path.name).value
        energy, region = prices["energy"], prices["region"]
        watts, pue, intensity = energy["watts_per_core"], energy["pue"], prices["grid_grams_per_kwh"][region]
    except (OSError, YamlError, KeyError, TypeError):
        return {}
    watt_hours = Decimal(wall_ms) / 3_600_000 * Decimal(str(watts)) * Decimal(str(pue))
    grams = watt_hours / 1000 * Decimal(str(intensity))
    micro = int((grams * 1_000_000).to_integral_value(ROUND_UP))
    return {
        "carbon": {
            "gramsCO2": usd_text(micro),
            "region": str(region),
            "assumption": f"upper estimate: one core at {watts} W for all the wall time, PUE {pue}, {intensity} g CO2 per kWh",
        }
    }


def _findings(share: int) -> list[Finding]:
    if share < ALERT_PER_MILLE:
        return []
    return [Finding("budget-nearly-spent", "medium", f"{share // 10} % of the goal's budget is spent")]
