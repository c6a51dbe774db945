"""Metrics: names and units as Prometheus wants them, labels bounded whatever goals say, gauges that fail are no number."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from interlock.agents.deviations.fold import KINDS
from interlock.agents.telemetry.gauges import show_day, show_deviations, show_open, show_witness
from interlock.agents.telemetry.metrics import (
    MAX_DOMAINS,
    MAX_SKILLS,
    OTHER,
    Bounded,
    GoalMetrics,
    RoleMetrics,
    SkillMetrics,
)
from interlock.agents.telemetry.process_metrics import BrokerMetrics, process_metrics
from interlock.bus.clock import SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.hop import DONE, Disposition, Hop, Outcome
from interlock.bus.ledger.balance import Balance
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.permissions import pulled_by
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.telemetry.environment import TraceSettings
from interlock.bus.telemetry.exporting import Exporter
from interlock.bus.telemetry.logs import LogThread
from interlock.bus.telemetry.sampling import SamplingSettings, TailSampler
from interlock.bus.transport import Message
from interlock.envelope.amounts import Amount
from interlock.envelope.ids import new_id
from interlock.envelope.payloads import GateOutcome, TaskResult, Usage
from interlock.envelope.verdict import Reason
from tests.envelope.samples import ENVELOPES

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[3] / "docs" / "telemetry.md"
# What may stand in a label, by the label's name; anything else must be bounded by a list in the code.
LABELS = {
    "agent", "agent_role", "consumer", "domain", "gate", "intent", "kind", "le", "outcome", "part", "passed", "reason",
    "role", "sender", "skill", "stream", "version", "direction", "model",
}  # fmt: skip


def everything() -> RoleMetrics:
    """All that any process shows, with some values."""
    metrics = RoleMetrics("executor", "0.1.0")
    exporter = Exporter(TraceSettings(), lambda: pytest.fail("not opened"))
    process_metrics(
        metrics.registry, LogThread({}, None), exporter, TailSampler(SamplingSettings(), exporter.put, lambda *_: None)
    )
    BrokerMetrics(metrics, pulled_by("executor", "w"))
    skills, goals = SkillMetrics(metrics.registry, "executor"), GoalMetrics(metrics.registry)
    skills.waits("release", "scanning-secrets")
    skills.ran("release", result("scanning-secrets"), 0.2)
    goals.gate(GateOutcome(gate="G1", name="n", owner="o", passed=True, criteria=[], evidence=[], at=""))
    goals.ended("released", 1.0, 0.5)
    metrics.counter("interlock_goals_submitted", "Goals handed in, by what came of it.", ["outcome"]).labels("accepted")
    show_day(metrics, lambda: Balance(scope="day", limit=Amount(10, 20_000_000, 30, 40)))
    show_open(metrics, lambda: (2, 1))
    show_deviations(metrics, MemoryTransport(SystemClock()), "w", dict)
    show_witness(metrics, lambda: 61_500)
    return metrics


def result(skill: str, outcome: str = "done") -> TaskResult:
    usage = Usage(cpu_us=1, wall_ms=200, peak_rss_kb=1, tokens=7)
    return TaskResult(
        task_id="t", attempt=1, skill=skill, skill_digest="", outcome=outcome, detail="", usage=usage, cost_usd="0.25"
    )


def families(registry: CollectorRegistry) -> Iterator[Metric]:
    yield from registry.collect()


def value(metrics: RoleMetrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, f"{name}{labels}"
    return found


async def test_every_metric_has_a_prefix_a_unit_a_help_and_a_line_in_the_page() -> None:
    page = PAGE.read_text()
    for family in families(everything().registry):
        assert family.documentation.endswith("."), family.name
        if family.name.startswith("process_"):
            continue
        assert family.name.startswith(("interlock_", "skill_")), family.name
        assert f"`{family.name}`" in page, f"{family.name} is not in docs/telemetry.md"
        for unit in ("_ms", "_millis", "_kb", "_mb", "_minutes", "_percent"):
            assert not family.name.endswith(unit), f"{family.name}: base units only"


async def test_no_label_may_hold_an_id() -> None:
    goal_id = new_id(1_763_700_000_000)
    metrics = everything()
    for family in families(metrics.registry):
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, f"{family.name}: {sorted(sample.labels)}"
            assert goal_id not in sample.labels.values()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
async def test_promtool_has_nothing_to_say() -> None:
    metrics = everything()
    await metrics.refresh()
    told = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(metrics.registry), capture_output=True, timeout=30
    )
    assert (told.returncode, told.stdout.decode(), told.stderr.decode()) == (0, "", "")


async def test_skills_and_domains_without_end_become_other() -> None:
    metrics = RoleMetrics("executor", "0.1.0")
    skills = SkillMetrics(metrics.registry, "executor")
    for number in range(MAX_SKILLS + 50):
        skills.ran(f"domain-{number}", result(f"skill-{number}", f"outcome-{number}"), 0.1)
    for family in families(metrics.registry):
        for label in ("skill", "domain", "outcome"):
            values = {sample.labels[label] for sample in family.samples if label in sample.labels}
            assert len(values) <= max(MAX_SKILLS, MAX_DOMAINS) + 1, (family.name, label)
    assert value(metrics, "skill_execution_cost_count", domain=OTHER, agent_role="executor", skill=OTHER) == 50
    bounded = Bounded(1)
    assert [bounded.of(name) for name in ("a", "b", "a")] == ["a", OTHER, "a"]


async def test_runs_are_timed_priced_counted_and_rated() -> None:
    metrics = RoleMetrics("executor", "0.1.0")
    skills = SkillMetrics(metrics.registry, "executor")
    labels = {"domain": "release", "agent_role": "executor", "skill": "a"}
    skills.waits("release", "a")
    assert value(metrics, "skill_execution_queue_depth", **labels) == 1
    skills.waits_no_more("release", "a")
    for outcome in ("done", "done", "done", "crashed"):
        skills.ran("release", result("a", outcome), 0.5)
    assert value(metrics, "skill_execution_queue_depth", **labels) == 0
    assert value(metrics, "skill_success_rate", **labels) == 0.75
    assert value(metrics, "skill_execution_cost_sum", **labels) == 1.0
    assert value(metrics, "skill_execution_duration_seconds_sum", **labels) == 2.0
    assert value(metrics, "skill_execution_tokens_total", **labels) == 28
    assert value(metrics, "skill_executions_total", **labels, outcome="crashed") == 1
    for _ in range(100):
        skills.ran("release", result("a"), 0.1)
    assert value(metrics, "skill_success_rate", **labels) == 1.0, "only the last hundred count"


async def test_hops_count_under_what_their_signature_proves_alone() -> None:
    metrics, counts = RoleMetrics("executor", "0.1.0"), HopCounts()
    hops = metrics.hops.of("executor", counts)
    for envelope in (sealed.envelope for sealed in ENVELOPES.values()):
        for authentic in (True, False):
            hop = Hop(Message(envelope.subject, b""), 0)
            hop.envelope, hop.authentic = envelope, authentic
            hops.in_flight += 1
            assert value(metrics, "interlock_hops_in_flight", role="executor") == 1
            hops.ended(hop, DONE, 100_000_000)
    forged = Hop(Message("x", b""), 0)
    hops.in_flight += 1
    hops.ended(forged, Outcome(Disposition.DEAD, Reason.MALFORMED, "it says so"), 100_000_000)
    hops.in_flight += 1
    hops.ended(forged, None, 100_000_000)
    unknown = {"role": "executor", "sender": "unknown", "intent": "unknown"}
    assert value(metrics, "interlock_hops_total", **unknown, outcome="done") == len(ENVELOPES)
    assert value(metrics, "interlock_hops_total", **unknown, outcome="dead") == 1
    assert value(metrics, "interlock_hops_total", **unknown, outcome="held") == 1
    assert value(metrics, "interlock_hop_refusals_total", role="executor", reason="malformed") == 1
    assert value(metrics, "interlock_hops_in_flight", role="executor") == 0
    assert (counts.handled, counts.not_done, counts.last_problem) == (2 * len(ENVELOPES) + 2, 1, "malformed")
    assert counts.busy_ns == counts.handled * 100_000_000


async def test_gauges_are_asked_when_somebody_looks_and_no_number_when_they_cannot_be() -> None:
    metrics = RoleMetrics("auditor", "0.1.0")
    found: Balance | None = None

    async def away() -> None:
        raise Unavailable("the broker is away")

    gauge = metrics.gauge("interlock_trial", "A trial.")
    gauge.set(3)
    metrics.on_scrape("trial", away, [gauge])
    show_day(metrics, lambda: found)
    show_open(metrics, lambda: (4, 2))
    show_deviations(metrics, MemoryTransport(SystemClock()), "w", dict)
    await metrics.refresh()
    assert math.isnan(value(metrics, "interlock_trial"))
    assert value(metrics, "interlock_refresh_failures_total", part="trial") == 1
    assert math.isnan(value(metrics, "interlock_budget_used_usd")), "no day is no zero"
    assert value(metrics, "interlock_goals_open") == 4 and value(metrics, "interlock_approvals_waiting") == 2
    assert {value(metrics, "interlock_deviations_open", kind=kind) for kind in KINDS} == {0}
    found = Balance(scope="day.x", limit=Amount(5, 10_000_000, 1, 1), used=Amount(2, 1_500_000, 0, 0))
    await metrics.refresh()
    assert value(metrics, "interlock_budget_limit_usd") == 10 and value(metrics, "interlock_budget_used_usd") == 1.5
    assert value(metrics, "interlock_budget_used_tokens") == 2


async def test_a_role_that_begins_again_in_its_process_takes_the_place_of_what_it_was() -> None:
    metrics, told = RoleMetrics("executor", "0.1.0"), []

    async def refresh(number: int) -> None:
        told.append(number)

    for number in range(2):
        SkillMetrics(metrics.registry, "executor").waits("general", "noop")
        gauge = metrics.gauge("interlock_goals_open", "Open.")
        gauge.set(number)
        metrics.on_scrape("goals", partial(refresh, number), [gauge])
    await metrics.refresh()
    assert told == [1]
    assert metrics.registry.get_sample_value("interlock_goals_open") == 1
    labels = {"domain": "general", "agent_role": "executor", "skill": "noop"}
    assert metrics.registry.get_sample_value("skill_execution_queue_depth", labels) == 1
