"""OpenTelemetry collector and Prometheus configuration for the workloads of a repository."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from interlock.bus.yaml12 import load_yaml
from interlock.skills.release.documents import yaml_text
from interlock.skills.release.workloads import Workload, workloads
from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.model import Context
from interlock.skills.sdk import Task

MAX_SERVICES = 10


class Levels(Struct, frozen=True, forbid_unknown_fields=True):
    """config/monitoring.yaml."""

    availability: str
    latency_p99_ms: int
    error_rate: str
    token_usage_factor: int
    evaluation_interval: str
    collector: str
    metrics_libraries: list[str]


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    path = task.config / "monitoring.yaml"
    levels = msgspec.convert(load_yaml(path.read_bytes(), source=path.name).value, Levels)
    found = workloads(context, MAX_SERVICES)
    alerts = [alert for workload in found for alert in _alerts(workload, levels)] + _ai_alerts(context, found, levels)
    document: dict[str, Any] = {
        "spec_version": "3.2",
        "subject": {"name": context.name, "version": context.version, "content_sha256": context.digest},
    }
    if found:
        document["service_levels"] = {
            "availability": levels.availability,
            "latency_p99_ms": levels.latency_p99_ms,
            "error_rate": levels.error_rate,
        }
        document["opentelemetry"] = _collector(context)
        document["prometheus"] = {
            "global": {
                "evaluation_interval": levels.evaluation_interval,
                "scrape_interval": levels.evaluation_interval,
            },
            "scrape_configs": _scrapes(found, context, levels),
            "groups": [{"name": found[0].image.partition(":")[0], "rules": alerts}],
        }
    else:
        document["statement"] = "No entry point was found: there is no process to watch."
    (task.out / "monitoring_config.yaml").write_text(yaml_text(document), encoding="utf-8")
    return {
        "services": [workload.name for workload in found],
        "alerts": [alert["alert"] for alert in alerts],
        **told(_findings(found, context)),
    }


def _collector(context: Context) -> dict[str, Any]:
    attributes = [{"key": "service.version", "value": context.version, "action": "insert"}] if context.version else []
    steps = ["memory_limiter", *(["resource"] if attributes else []), "batch"]
    return {
        "receivers": {
            "otlp": {"protocols": {"grpc": {"endpoint": "0.0.0.0:4317"}, "http": {"endpoint": "0.0.0.0:4318"}}}
        },
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": 256},
            **({"resource": {"attributes": attributes}} if attributes else {}),
            "batch": {},
        },
        "connectors": {"spanmetrics": {"namespace": "traces.span.metrics"}},
        "exporters": {
            "prometheus": {"endpoint": "0.0.0.0:8889", "resource_to_telemetry_conversion": {"enabled": True}}
        },
        "service": {
            "pipelines": {
                "traces": {"receivers": ["otlp"], "processors": steps, "exporters": ["spanmetrics"]},
                "metrics": {"receivers": ["otlp", "spanmetrics"], "processors": steps, "exporters": ["prometheus"]},
            }
        },
    }


def _scrapes(found: list[Workload], context: Context, levels: Levels) -> list[dict[str, Any]]:
    collector = {"job_name": levels.collector, "static_configs": [{"targets": [f"{levels.collector}:8889"]}]}
    own = any(entry.name in levels.metrics_libraries for entry in context.dependencies)
    served = [workload for workload in found if workload.port and own]
    return [collector] + [
        {"job_name": workload.name, "static_configs": [{"targets": [f"{workload.name}:{workload.port}"]}]}
        for workload in served
    ]


def _alerts(workload: Workload, levels: Levels) -> list[dict[str, Any]]:
    name = workload.name
    if workload.kind == "job":
        expression = f'kube_job_status_failed{{job_name="{name}"}} > 0'
        return [_alert(f"{name}-job-failed", expression, "0m", "critical", f"the job {name} failed")]
    calls = f'traces_span_metrics_calls_total{{service_name="{name}"'
    ready = f'kube_deployment_status_replicas_available{{deployment="{name}"}} == 0'
    alerts = [_alert(f"{name}-down", ready, "1m", "critical", f"no replica of {name} is available")]
    if workload.port:
        errors = f'sum(rate({calls},status_code="STATUS_CODE_ERROR"}}[5m])) / sum(rate({calls}}}[5m]))'
        bucket = f'traces_span_metrics_duration_milliseconds_bucket{{service_name="{name}"}}'
        slow = f"histogram_quantile(0.99, sum by (le) (rate({bucket}[5m])))"
        alerts += [
            _alert(
                f"{name}-errors",
                f"{errors} > {levels.error_rate}",
                "5m",
                "critical",
                f"more than {levels.error_rate} of the requests to {name} fail",
            ),
            _alert(
                f"{name}-slow",
                f"{slow} > {levels.latency_p99_ms}",
                "10m",
                "warning",
                f"one in a hundred requests to {name} takes longer than {levels.latency_p99_ms} ms",
            ),
        ]
    return alerts


def _ai_alerts(context: Context, found: list[Workload], levels: Levels) -> list[dict[str, Any]]:
    """Token use, where the sources use a model."""
    if not found or not any(use.kind in ("generative", "agent") for use in context.uses):
        return []
    usage = "sum(rate(gen_ai_client_token_usage_sum[1h]))"
    average = "sum(rate(gen_ai_client_token_usage_sum[1d]))"
    name = found[0].name
    text = f"{name} uses more than {levels.token_usage_factor} times as many tokens as on average"
    return [_alert(f"{name}-tokens", f"{usage} > {levels.token_usage_factor} * {average}", "15m", "critical", text)]


def _alert(name: str, expression: str, hold: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": hold,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": f"runbook.md#{name}"},
    }


def _findings(found: list[Workload], context: Context) -> list[Finding]:
    known = {entry.name for entry in context.dependencies}
    instrumented = any(name.startswith(("opentelemetry", "@opentelemetry/")) for name in known)
    if found and not instrumented:
        message = "no OpenTelemetry library among the dependencies: traces need instrumentation, by library or by agent"
        return [Finding("not-instrumented", "low", message)]
    return []
