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


W = 'workspace=~"$workspace"'
DASHBOARDS = {
    "agents": dashboard(
        "agents",
        "agent activity map",
        panel("Roles connected", "stat", "short", THIRD, (f"sum by (role) (interlock_broker_connected{{{W}}})", "{{role}}")),
        panel("Hops in flight", "stat", "short", THIRD, (f"sum by (role) (interlock_hops_in_flight{{{W}}})", "{{role}}")),
        panel("Approvals waiting", "stat", "short", THIRD, (f"sum(interlock_approvals_waiting{{{W}}})", "waiting")),
        panel(
            "Who tells whom", "table", "ops", HALF,
            (f"sum by (sender, role, intent) (rate(interlock_hops_total{{{W}}}[5m])) > 0", ""),
            text="Hops a second by sender, receiver and intent.",
        ),
        panel("Hops by role", "timeseries", "ops", HALF, (f"sum by (role) (rate(interlock_hops_total{{{W}}}[5m]))", "{{role}}")),
        panel(
            "Hops not done", "timeseries", "ops", HALF,
            (f"sum by (role, reason) (rate(interlock_hop_refusals_total{{{W}}}[5m]))", "{{role}} {{reason}}"),
        ),
        panel(
            "Runs that wait", "timeseries", "short", HALF,
            (f"sum by (skill) (skill_execution_queue_depth{{{W}}})", "{{skill}}"),
        ),
    ),
    "quality": dashboard(
        "quality",
        "quality regression",
        panel(
            "Success of skills, last 100 runs", "timeseries", "percentunit", HALF,
            (f"avg by (domain, skill) (skill_success_rate{{{W}}})", "{{skill}}"),
        ),
        panel(
            "Points lost against the week before", "bargauge", "percentunit", HALF,
            (
                f'sum by (skill) (rate(skill_executions_total{{{W},outcome="done"}}[7d] offset 1h))'
                f" / sum by (skill) (rate(skill_executions_total{{{W}}}[7d] offset 1h))"
                f' - sum by (skill) (rate(skill_executions_total{{{W},outcome="done"}}[1h]))'
                f" / sum by (skill) (rate(skill_executions_total{{{W}}}[1h]))",
                "{{skill}}",
            ),
        ),
        panel(
            "Runs by outcome", "timeseries", "ops", HALF,
            (f"sum by (outcome) (rate(skill_executions_total{{{W}}}[15m]))", "{{outcome}}"),
        ),
        panel(
            "Gates that fail", "timeseries", "ops", HALF,
            (f'sum by (gate) (rate(interlock_gates_decided_total{{{W},passed="false"}}[15m]))', "{{gate}}"),
        ),
        panel(
            "Goals by outcome", "timeseries", "ops", HALF,
            (f"sum by (outcome) (rate(interlock_goals_ended_total{{{W}}}[15m]))", "{{outcome}}"),
        ),
        panel(
            "Goals handed in", "timeseries", "ops", HALF,
            (f"sum by (outcome) (rate(interlock_goals_submitted_total{{{W}}}[15m]))", "{{outcome}}"),
        ),
    ),
    "costs": dashboard(
        "costs",
        "cost attribution",
        panel("Used today", "stat", "currencyUSD", THIRD, (f"sum(interlock_budget_used_usd{{{W}}})", "used")),
        panel("Reserved", "stat", "currencyUSD", THIRD, (f"sum(interlock_budget_reserved_usd{{{W}}})", "reserved")),
        panel(
            "Used of the limit", "stat", "percentunit", THIRD,
            (f"sum(interlock_budget_used_usd{{{W}}}) / sum(interlock_budget_limit_usd{{{W}}})", "share"),
        ),
        panel(
            "USD a day by domain", "timeseries", "currencyUSD", HALF,
            (f"sum by (domain) (rate(skill_execution_cost_sum{{{W}}}[1h])) * 86400", "{{domain}}"),
        ),
        panel(
            "USD a day by skill", "timeseries", "currencyUSD", HALF,
            (f"topk(10, sum by (skill) (rate(skill_execution_cost_sum{{{W}}}[1h])) * 86400)", "{{skill}}"),
        ),
        panel(
            "USD a run", "timeseries", "currencyUSD", HALF,
            (
                f"sum by (skill) (rate(skill_execution_cost_sum{{{W}}}[1h]))"
                f" / sum by (skill) (rate(skill_execution_cost_count{{{W}}}[1h]))",
                "{{skill}}",
            ),
        ),
        panel(
            "Tokens a minute", "timeseries", "short", HALF,
            (f"sum by (skill) (rate(skill_execution_tokens_total{{{W}}}[15m])) * 60", "{{skill}}"),
        ),
        panel("Tokens used today", "stat", "short", HALF, (f"sum(interlock_budget_used_tokens{{{W}}})", "tokens")),
        panel(
            "USD a day of ended goals", "timeseries", "currencyUSD", HALF,
            (f"sum(rate(interlock_goals_cost_usd_total{{{W}}}[1h])) * 86400", "goals"),
        ),
    ),
    "bus": dashboard(
        "bus",
        "bus health",
        panel("Dead letters", "stat", "short", THIRD, (f"sum(interlock_dead_letters{{{W}}})", "kept")),
        panel("Deviations open", "stat", "short", THIRD, (f"sum by (kind) (interlock_deviations_open{{{W}}})", "{{kind}}")),
        panel("Deviations overdue", "stat", "short", THIRD, (f"sum(interlock_deviations_overdue{{{W}}})", "overdue")),
        panel("Pending", "timeseries", "short", HALF, (f"max by (consumer) (interlock_consumer_pending{{{W}}})", "{{consumer}}")),
        panel(
            "Unanswered, of what may be", "timeseries", "percentunit", HALF,
            (
                f"max by (consumer) (interlock_consumer_ack_pending{{{W}}})"
                f" / max by (consumer) (interlock_consumer_ack_pending_limit{{{W}}})",
                "{{consumer}}",
            ),
        ),
        panel(
            "Redelivered", "timeseries", "short", HALF,
            (f"max by (consumer) (interlock_consumer_redelivered{{{W}}})", "{{consumer}}"),
        ),
        panel(
            "Memory by process", "timeseries", "bytes", HALF,
            (f"max by (agent) (process_resident_memory_bytes{{{W}}})", "{{agent}}"),
        ),
        panel(
            "CPU by process", "timeseries", "percentunit", HALF,
            (f"max by (agent) (rate(process_cpu_seconds_total{{{W}}}[5m]))", "{{agent}}"),
        ),
        panel(
            "Telemetry lost", "timeseries", "ops", HALF,
            (f"sum by (agent, reason) (rate(interlock_spans_dropped_total{{{W}}}[5m]))", "{{agent}} spans {{reason}}"),
            (f'sum by (agent) (rate(interlock_log_lines_total{{{W},outcome="lost"}}[5m]))', "{{agent}} lines"),
        ),
    ),
    "slos": dashboard(
        "slos",
        "SLOs",
        panel(
            "Goals released, 7 days", "stat", "percentunit", THIRD,
            (
                f'sum(increase(interlock_goals_ended_total{{{W},outcome="released"}}[7d]))'
                f" / sum(increase(interlock_goals_ended_total{{{W}}}[7d]))",
                "released",
            ),
        ),
        panel(
            "Hops done, 1 hour", "stat", "percentunit", THIRD,
            (
                f'sum(increase(interlock_hops_total{{{W},outcome="done"}}[1h]))'
                f" / sum(increase(interlock_hops_total{{{W}}}[1h]))",
                "done",
            ),
        ),
        panel("Goals open", "stat", "short", THIRD, (f"sum(interlock_goals_open{{{W}}})", "open")),
        panel(
            "Hop, 95th percentile", "timeseries", "s", HALF,
            (f"histogram_quantile(0.95, sum by (le, role) (rate(interlock_hop_duration_seconds_bucket{{{W}}}[5m])))", "{{role}}"),
        ),
        panel(
            "Skill, 95th percentile", "timeseries", "s", HALF,
            (
                f"histogram_quantile(0.95, sum by (le, skill) (rate(skill_execution_duration_seconds_bucket{{{W}}}[10m])))",
                "{{skill}}",
            ),
        ),
        panel(
            "Goal, 50th and 95th percentile", "timeseries", "s", HALF,
            (f"histogram_quantile(0.50, sum by (le) (rate(interlock_goal_duration_seconds_bucket{{{W}}}[15m])))", "p50"),
            (f"histogram_quantile(0.95, sum by (le) (rate(interlock_goal_duration_seconds_bucket{{{W}}}[15m])))", "p95"),
        ),
        panel(
            "Processes up", "timeseries", "short", HALF,
            (f'sum by (role) (up{{job="interlock",{W}}})', "{{role}}"),
        ),
    ),
}  # fmt: skip


def text_of(name: str) -> str:
    return json.dumps(DASHBOARDS[name], indent=1) + "\n"


def main() -> None:
    for name in DASHBOARDS:
        (PLACE / f"{name}.json").write_text(text_of(name))


if __name__ == "__main__":
    main()
