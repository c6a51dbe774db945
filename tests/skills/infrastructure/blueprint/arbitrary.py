"""Valid blueprints of every shape, as text."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from interlock.skills.infrastructure.blueprint.quantities import show
from interlock.skills.infrastructure.operation_names import OPERATION_NAMES

NAMES = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")
LINES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


def quantity(kind: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.integers(least, most).map(lambda value: show(kind, value))


@st.composite
def blueprints(draw: st.DrawFn) -> str:
    """JSON, which is YAML."""
    operations = draw(st.lists(st.sampled_from([entry.name for entry in OPERATION_NAMES]), unique=True, max_size=9))
    cut, later = sorted((draw(st.integers(0, len(operations))), draw(st.integers(0, len(operations)))))
    cpu, memory = draw(st.integers(1, 5000)), draw(st.integers(1024, 1 << 34))
    replicas = sorted(draw(st.lists(st.integers(1, 1000), min_size=3, max_size=3)))
    thresholds = sorted(draw(st.lists(st.integers(1, 9_000_000), min_size=2, max_size=2, unique=True)))
    share = draw(st.integers(1, 999_999))
    spec: dict[str, Any] = {
        "resources": {
            "cpu": {"request": show("cpu", cpu), "limit": show("cpu", cpu + draw(st.integers(0, 5000)))},
            "memory": {"request": show("memory", memory), "limit": show("memory", memory * 2)},
        },
        "scaling": {
            "min_replicas": replicas[0],
            "target_replicas": replicas[1],
            "max_replicas": replicas[2],
            "scale_down_threshold": show("utilization", thresholds[0]),
            "scale_up_threshold": show("utilization", thresholds[1]),
            "cooldown_period": draw(quantity("duration", 0, 10**9)),
            "metrics": [
                {"type": "cpu", "weight": show("weight", share)},
                {"type": "memory", "weight": show("weight", 1_000_000 - share)},
            ],
        },
        "governance": {
            "agent_authority": {
                "allowed_operations": operations[:cut],
                "requires_approval": operations[cut:later],
                "forbidden_operations": operations[later:],
            },
            "approval_workflow": {"approvers": draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))},
        },
    }
    probe = {"initial_delay": "5s", "period": "1m", "timeout": "10s", "failure_threshold": 3}
    optional: dict[str, Any] = {
        "target": {"namespace": draw(NAMES), "kind": "Deployment", "name": draw(NAMES), "container": draw(NAMES)},
        "performance": {
            "latency_p95": draw(quantity("latency", 1, 10**8)),
            "throughput_min": draw(quantity("throughput", 0, 10**9)),
            "availability": draw(quantity("share", 0, 1_000_000)),
            "queue_depth_max": draw(st.integers(1, 10**6)),
        },
        "reliability": {"readiness_probe": probe, "rollback_on_failure": draw(st.booleans())},
        "deployment": {
            "strategy": "RollingUpdate",
            "max_surge": draw(st.sampled_from([1, 3, "25%", "100%"])),
            "max_unavailable": 0,
        },
        "safety": {"max_consecutive_failures": draw(st.integers(1, 3))},
        "metrics": {
            "source": "prometheus",
            "url": "http://prometheus:9090",
            "queries": {"throughput": draw(WORDS), "latency_p95": draw(WORDS)},
        },
        "helm": {"release": draw(NAMES), "chart": draw(WORDS), "values": {"replicas": "web.replicaCount"}},
        "cost": {"monthly_budget": draw(quantity("money", 0, 10**12))},
    }
    for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True)):
        spec[name] = optional[name]
    metadata = {"name": draw(NAMES), "version": "1.2.3-rc.1", "description": draw(LINES), "owner": draw(LINES)}
    whole = {
        "apiVersion": "infra.spec-driven.io/v1",
        "kind": "InfrastructureBlueprint",
        "metadata": metadata,
        "spec": spec,
    }
    return msgspec.json.encode(whole).decode()
