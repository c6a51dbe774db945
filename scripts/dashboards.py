"""Writes deploy/observability/grafana/*.json: Grafana dashboards as code. `python scripts/dashboards.py`; a test holds the
files to what stands here, and every metric here to the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parents[1] / "deploy" / "observability" / "grafana"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDE, HALF, THIRD = 24, 12, 8
Query = tuple[str, str]
RUNS, COST, ENDED = "skill_executions_total", "skill_execution_cost_sum", "interlock_goals_ended_total"
A_DAY = " * 86400"


def panel(title: str, kind: str, unit: str, width: int, *queries: Query, text: str = "") -> dict[str, Any]:
    """queries: (PromQL, legend). unit: Grafana's name of it."""
    defaults: dict[str, Any] = {"unit": unit, "custom": {}}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    return {
        "title": title,
        "description": text,
        "type": kind,
        "datasource": SOURCE,
        "width": width,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "instant": kind in ("stat", "table", "bargauge"),
                "format": "table" if kind == "table" else "time_series",
            }
            for at, (expr, legend) in enumerate(queries)
        ],
    }


def dashboard(name: str, title: str, *panels: dict[str, Any]) -> dict[str, Any]:
    """Panels from left to right, in rows."""
    placed, x, y = [], 0, 0
    for number, one in enumerate(panels, 1):
        width = one.pop("width")
        if x + width > WIDE:
            x, y = 0, y + 8
        placed.append({"id": number, **one, "gridPos": {"x": x, "y": y, "w": width, "h": 8}})
        x += width
    return {
        "uid": f"interlock-{name}",
        "title": f"Interlock: {title}",
        "tags": ["interlock"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "workspace",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": "label_values(interlock_broker_connected, workspace)",
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "panels": placed,
    }


def graph(title: str, unit: str, *queries: Query) -> dict[str, Any]:
    return panel(title, "timeseries", unit, HALF, *queries)


def number(title: str, unit: str, query: Query) -> dict[str, Any]:
    return panel(title, "stat", unit, THIRD, query)


def of(metric: str, **labels: str) -> str:
    """A metric in the workspaces that are looked at."""
    wanted = ",".join(['workspace=~"$workspace"', *(f'{name}="{value}"' for name, value in labels.items())])
    return f"{metric}{{{wanted}}}"


def total(inner: str, by: str = "", how: str = "sum") -> str:
    return f"{how} by ({by}) ({inner})" if by else f"{how}({inner})"


def rate(metric: str, window: str, by: str = "", how: str = "sum", offset: str = "", **labels: str) -> str:
    """A second, over the window."""
    return total(f"rate({of(metric, **labels)}[{window}]{offset and f' offset {offset}'})", by, how)


def increase(metric: str, window: str, **labels: str) -> str:
    return total(f"increase({of(metric, **labels)}[{window}])")


def percentile(part: str, histogram: str, window: str, by: str = "") -> str:
    return f"histogram_quantile({part}, {rate(f'{histogram}_bucket', window, 'le' + (by and f', {by}'))})"


DASHBOARDS = {
    "agents": dashboard(
        "agents",
        "agent activity map",
        number("Roles connected", "short", (total(of("interlock_broker_connected"), "role"), "{{role}}")),
        number("Hops in flight", "short", (total(of("interlock_hops_in_flight"), "role"), "{{role}}")),
        number("Approvals waiting", "short", (total(of("interlock_approvals_waiting")), "waiting")),
        panel(
            "Who tells whom",
            "table",
            "ops",
            HALF,
            (rate("interlock_hops_total", "5m", "sender, role, intent") + " > 0", ""),
            text="Hops a second by sender, receiver and intent.",
        ),
        graph("Hops by role", "ops", (rate("interlock_hops_total", "5m", "role"), "{{role}}")),
        graph(
            "Hops not done", "ops", (rate("interlock_hop_refusals_total", "5m", "role, reason"), "{{role}} {{reason}}")
        ),
        graph("Runs that wait", "short", (total(of("skill_execution_queue_depth"), "skill"), "{{skill}}")),
    ),
    "quality": dashboard(
        "quality",
        "quality regression",
        graph(
            "Success of skills, last 100 runs",
            "percentunit",
            (total(of("skill_success_rate"), "domain, skill", "avg"), "{{skill}}"),
        ),
        panel(
            "Points lost against the week before",
            "bargauge",
            "percentunit",
            HALF,
            (
                f"{rate(RUNS, '7d', 'skill', offset='1h', outcome='done')} / {rate(RUNS, '7d', 'skill', offset='1h')}"
                f" - {rate(RUNS, '1h', 'skill', outcome='done')} / {rate(RUNS, '1h', 'skill')}",
                "{{skill}}",
            ),
        ),
        graph("Runs by outcome", "ops", (rate(RUNS, "15m", "outcome"), "{{outcome}}")),
        graph(
            "Gates that fail", "ops", (rate("interlock_gates_decided_total", "15m", "gate", passed="false"), "{{gate}}")
        ),
        graph("Goals by outcome", "ops", (rate(ENDED, "15m", "outcome"), "{{outcome}}")),
        graph("Goals handed in", "ops", (rate("interlock_goals_submitted_total", "15m", "outcome"), "{{outcome}}")),
    ),
    "costs": dashboard(
        "costs",
        "cost attribution",
        number("Used today", "currencyUSD", (total(of("interlock_budget_used_usd")), "used")),
        number("Reserved", "currencyUSD", (total(of("interlock_budget_reserved_usd")), "reserved")),
        number(
            "Used of the limit",
            "percentunit",
            (f"{total(of('interlock_budget_used_usd'))} / {total(of('interlock_budget_limit_usd'))}", "share"),
        ),
        graph("USD a day by domain", "currencyUSD", (rate(COST, "1h", "domain") + A_DAY, "{{domain}}")),
        graph("USD a day by skill", "currencyUSD", (f"topk(10, {rate(COST, '1h', 'skill')}{A_DAY})", "{{skill}}")),
        graph(
            "USD a run",
            "currencyUSD",
            (f"{rate(COST, '1h', 'skill')} / {rate('skill_execution_cost_count', '1h', 'skill')}", "{{skill}}"),
        ),
        graph(
            "Tokens a minute", "short", (rate("skill_execution_tokens_total", "15m", "skill") + " * 60", "{{skill}}")
        ),
        panel("Tokens used today", "stat", "short", HALF, (total(of("interlock_budget_used_tokens")), "tokens")),
        graph(
            "USD a day of ended goals", "currencyUSD", (rate("interlock_goals_cost_usd_total", "1h") + A_DAY, "goals")
        ),
    ),
    "bus": dashboard(
        "bus",
        "bus health",
        number("Dead letters", "short", (total(of("interlock_dead_letters")), "kept")),
        number("Deviations open", "short", (total(of("interlock_deviations_open"), "kind"), "{{kind}}")),
        number("Deviations overdue", "short", (total(of("interlock_deviations_overdue")), "overdue")),
        graph("Pending", "short", (total(of("interlock_consumer_pending"), "consumer", "max"), "{{consumer}}")),
        graph(
            "Unanswered, of what may be",
            "percentunit",
            (
                f"{total(of('interlock_consumer_ack_pending'), 'consumer', 'max')}"
                f" / {total(of('interlock_consumer_ack_pending_limit'), 'consumer', 'max')}",
                "{{consumer}}",
            ),
        ),
        graph("Redelivered", "short", (total(of("interlock_consumer_redelivered"), "consumer", "max"), "{{consumer}}")),
        graph("Memory by process", "bytes", (total(of("process_resident_memory_bytes"), "agent", "max"), "{{agent}}")),
        graph("CPU by process", "percentunit", (rate("process_cpu_seconds_total", "5m", "agent", "max"), "{{agent}}")),
        graph(
            "Telemetry lost",
            "ops",
            (rate("interlock_spans_dropped_total", "5m", "agent, reason"), "{{agent}} spans {{reason}}"),
            (rate("interlock_log_lines_total", "5m", "agent", outcome="lost"), "{{agent}} lines"),
        ),
    ),
    "slos": dashboard(
        "slos",
        "SLOs",
        number(
            "Goals released, 7 days",
            "percentunit",
            (f"{increase(ENDED, '7d', outcome='released')} / {increase(ENDED, '7d')}", "released"),
        ),
        number(
            "Hops done, 1 hour",
            "percentunit",
            (
                f"{increase('interlock_hops_total', '1h', outcome='done')} / {increase('interlock_hops_total', '1h')}",
                "done",
            ),
        ),
        number("Goals open", "short", (total(of("interlock_goals_open")), "open")),
        graph(
            "Hop, 95th percentile",
            "s",
            (percentile("0.95", "interlock_hop_duration_seconds", "5m", "role"), "{{role}}"),
        ),
        graph(
            "Skill, 95th percentile",
            "s",
            (percentile("0.95", "skill_execution_duration_seconds", "10m", "skill"), "{{skill}}"),
        ),
        graph(
            "Goal, 50th and 95th percentile",
            "s",
            (percentile("0.50", "interlock_goal_duration_seconds", "15m"), "p50"),
            (percentile("0.95", "interlock_goal_duration_seconds", "15m"), "p95"),
        ),
        graph("Processes up", "short", ('sum by (role) (up{job="interlock",workspace=~"$workspace"})', "{{role}}")),
    ),
}


def text_of(name: str) -> str:
    return json.dumps(DASHBOARDS[name], indent=1) + "\n"


def main() -> None:
    for name in DASHBOARDS:
        (PLACE / f"{name}.json").write_text(text_of(name))


if __name__ == "__main__":
    main()
