"""What each report says of given facts; that its sums add up; that its words stay words."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.agents.costs.attribution import DIMENSIONS
from interlock.agents.reports.attestation import attestation
from interlock.agents.reports.brief import readiness_brief
from interlock.agents.reports.carbon import carbon_report
from interlock.agents.reports.compliance import compliance_report
from interlock.agents.reports.cost import Ceilings, Day, cost_report
from interlock.agents.reports.facts import Replayed
from interlock.agents.reports.pages import report_page
from interlock.agents.reports.periods import DAY_MS
from interlock.agents.reports.rendering import heading, report_markdown
from interlock.agents.reports.signatures import signature_report
from interlock.bus.yaml12 import load_yaml
from interlock.envelope.kind_quota import KindLimit, KindQuota
from interlock.envelope.payloads import Finding
from interlock.skills.release.ai_act import Act
from tests.agents.reports.facts import DAY, FAILED, NOW, TASK, WEEK, deviation, goal, item

CEILINGS = Ceilings(1_000, 10_000)
ACT_FILE = Path(__file__).parents[3] / "config" / "ai-act.yaml"
ACT = msgspec.convert(load_yaml(ACT_FILE.read_bytes(), source="ai-act").value, type=Act)
NAMES = st.sampled_from(("a", "b", "c"))
ITEMS = st.builds(
    lambda cost, domain, agent, skill: item("g", cost, domain=domain, agent=agent, skill=skill),
    st.integers(0, 10**9),
    NAMES,
    NAMES,
    NAMES,
)


def codes(report: dict[str, Any]) -> list[str]:
    return [alert["code"] for alert in report["alerts"]]


def test_a_kind_of_work_is_told_with_its_dearest_task_and_what_was_beyond() -> None:
    quota = KindQuota(
        kind="summaries", skills=["summary-*"], per_task=KindLimit(cost_usd="0.05"), per_day=KindLimit(actions=100)
    )
    costs = (("summary-a", 50_000), ("summary-b", 50_001), ("other", 10**6))
    items = [item("g", cost, skill=skill) for skill, cost in costs]
    facts = goal("g", items=items, usd_micro=sum(cost for _, cost in costs), limit_micro=10**12)
    report = cost_report("w", DAY, [facts], Ceilings(10**12, 10**12, (quota,)), [])
    assert report["ceilings"]["kinds"] == [
        {
            "kind": "summaries",
            "perTask": "at most 0.05 USD",
            "perDay": "at most 100 actions",
            "tasks": 2,
            "costUSD": "0.100001",
            "maxTaskCostUSD": "0.050001",
            "taskBreaches": 1,
        }
    ]
    assert cost_report("w", DAY, [facts], CEILINGS, [])["ceilings"]["kinds"] == []
    assert "summaries" in report_markdown(report)


@given(st.lists(st.tuples(st.lists(ITEMS, max_size=6), st.integers(0, 10**6)), max_size=5))
def test_every_way_of_dividing_a_cost_adds_up_to_the_total(goals: list[tuple[list[Any], int]]) -> None:
    facts = [
        goal(str(number), items=items, usd_micro=sum(one.usd_micro for one in items) + rest, limit_micro=10**12)
        for number, (items, rest) in enumerate(goals)
    ]
    report = cost_report("w", DAY, facts, CEILINGS, [])
    total = Decimal(report["summary"]["totalCostUSD"])
    assert total == Decimal(sum(one.usd_micro for one in facts)) / 1_000_000
    for dimension in DIMENSIONS:
        assert sum(Decimal(part["costUSD"]) for part in report["attribution"][dimension]) == total


WEEK_OF_COSTS = [Day(f"2026-11-{13 + number}", 1_000, 100) for number in range(7)]


@pytest.mark.parametrize(
    ("goals", "before", "wanted"),
    [
        ([goal()], [], []),
        ([goal(usd_micro=899)], [], []),
        ([goal(usd_micro=900)], [], ["goal_ceiling_near"]),
        ([goal(usd_micro=1_000)], [], ["goal_ceiling_near"]),
        ([goal(usd_micro=1_001)], [], ["goal_ceiling_breached"]),
        ([goal(usd_micro=7_999, limit_micro=10**6)], [], []),
        ([goal(usd_micro=8_000, limit_micro=10**6)], [], ["day_budget_80"]),
        ([goal(usd_micro=9_000, limit_micro=10**6)], [], ["day_budget_90"]),
        ([goal(usd_micro=10_000, limit_micro=10**6)], [], ["day_budget_90"]),
        ([goal(usd_micro=10_010, limit_micro=10**6)], [], ["day_ceiling_breached"]),
        ([goal(usd_micro=2_000, limit_micro=10**6)], WEEK_OF_COSTS, []),
        ([goal(usd_micro=2_001, limit_micro=10**6)], WEEK_OF_COSTS, ["cost_spike"]),
        ([goal(tokens=300)], WEEK_OF_COSTS, []),
        ([goal(tokens=301)], WEEK_OF_COSTS, ["token_spike"]),
    ],
)
def test_alerts_of_a_cost_report(goals: list[Any], before: list[Day], wanted: list[str]) -> None:
    assert codes(cost_report("w", DAY, goals, CEILINGS, before)) == wanted


@pytest.mark.parametrize(
    ("cost", "trend"),
    [(1_000, "stable"), (1_100, "stable"), (1_101, "increasing"), (900, "stable"), (899, "decreasing")],
)
def test_the_trend_is_against_the_seven_days_before(cost: int, trend: str) -> None:
    report = cost_report("w", DAY, [goal(usd_micro=cost, limit_micro=10**6)], CEILINGS, WEEK_OF_COSTS)
    assert report["trajectory"]["trend"] == trend
    assert report["trajectory"]["sevenDayMeanUSD"] == "0.001"
    assert report["trajectory"]["thirtyDayMeanUSD"] == "0.000233"  # the days without a report cost nothing


def test_a_day_on_which_nothing_ended_has_a_report_too() -> None:
    report = cost_report("w", DAY, [], Ceilings(0, 0), [])
    assert report["summary"]["totalCostUSD"] == "0"
    assert report["ceilings"]["status"] == "PASS"
    assert not report["ceilings"]["dayBreached"]


HALF = Replayed(100, 50, "at hop 7")
ALMOST = Replayed(1000, 950, "at hop 7")
WORSE = Replayed(1000, 949, "at hop 7")


@pytest.mark.parametrize(
    ("goals", "deviations", "outcome"),
    [
        ([goal()], [], "PASS"),
        ([], [], "PASS WITH CONDITIONS"),
        ([goal(strangers=3)], [], "PASS WITH CONDITIONS"),
        ([goal(failed=1)], [], "FAIL"),
        ([goal(truncated=True)], [], "FAIL"),
        ([goal(gates=[FAILED])], [], "FAIL"),
        ([goal(gates=[])], [], "FAIL"),
        ([goal(gates=[FAILED], outcome="blocked")], [], "PASS"),
        ([goal(usd_micro=1_001)], [], "FAIL"),
        ([goal(usd_micro=8_000, limit_micro=10**6)], [], "PASS WITH CONDITIONS"),
        ([goal(usd_micro=6_000, limit_micro=10**6), goal("h", usd_micro=6_000, limit_micro=10**6)], [], "FAIL"),
        (
            [
                goal(usd_micro=6_000, limit_micro=10**6),
                goal("h", usd_micro=6_000, limit_micro=10**6, ended_ms=NOW - DAY_MS),
            ],
            [],
            "PASS",
        ),
        ([goal(replayed=None)], [], "PASS WITH CONDITIONS"),
        ([goal(replayed=ALMOST)], [], "PASS WITH CONDITIONS"),
        ([goal(replayed=WORSE)], [], "FAIL"),
        ([goal(), goal("h", replayed=HALF)], [], "FAIL"),
        ([goal()], [deviation("compliance_failure")], "FAIL"),
        ([goal()], [deviation("cost_breach")], "PASS WITH CONDITIONS"),
        ([goal()], [deviation("cost_breach", escalated=True)], "FAIL"),
        ([goal()], [deviation("compliance_failure", resolved=True)], "PASS"),
    ],
)
def test_an_attestation_is_that_of_its_worst_examination(goals: list[Any], deviations: list[Any], outcome: str) -> None:
    report = attestation("w", WEEK, goals, CEILINGS, deviations)
    assert report["summary"]["outcome"] == outcome
    assert report["summary"]["pausesProduction"] == (outcome == "FAIL")
    assert bool(report["conditions"]) == (outcome == "PASS WITH CONDITIONS") or outcome == "FAIL"
    assert bool(report["alerts"]) == (outcome == "FAIL")


@pytest.mark.parametrize(
    ("goals", "ready", "against"),
    [
        ([goal(str(n)) for n in range(7)], True, []),
        ([goal(str(n)) for n in range(6)], False, ["only 6 of 7"]),
        ([goal(str(n), outcome="failed") for n in range(7)], False, ["7 goals failed"]),
        ([goal(str(n), failed=n // 6) for n in range(7)], False, ["signatures"]),
        ([goal(str(n), replayed=None) for n in range(7)], False, ["determinism was not measured"]),
        ([goal(str(n), replayed=HALF) for n in range(7)], False, ["determinism is 500"]),
        ([goal(str(n), usd_micro=2_000) for n in range(7)], False, ["goal 0 cost more"]),
    ],
)
def test_a_brief_says_what_speaks_against_going_on(goals: list[Any], ready: bool, against: list[str]) -> None:
    report = readiness_brief("w", DAY, goals, 7)
    assert report["summary"]["ready"] is ready
    assert all(any(wanted in line for line in report["against"]) for wanted in against)
    assert bool(report["against"]) is not ready


@pytest.mark.parametrize(
    ("more", "duty", "status"),
    [
        ({}, "record-keeping", "not_applicable"),
        ({"risk_tier": "high"}, "record-keeping", "met"),
        ({"risk_tier": "high", "truncated": True}, "record-keeping", "not_met"),
        ({"risk_tier": "high"}, "human-oversight", "not_met"),
        ({"risk_tier": "high", "human_decisions": 1}, "human-oversight", "met"),
        ({"risk_tier": "high", "handed_over": False}, "technical-documentation", "not_met"),
        ({"risk_tier": "high"}, "transparency", "open"),
        (
            {"risk_tier": "high", "findings": [Finding(id="duty-transparency", severity="low", message="open")]},
            "transparency",
            "not_met",
        ),
        ({"risk_tier": "systemic"}, "prohibited", "not_met"),
        ({"risk_tier": "systemic", "outcome": "blocked"}, "prohibited", "met"),
    ],
)
def test_a_duty_is_met_only_with_evidence(more: dict[str, Any], duty: str, status: str) -> None:
    report = compliance_report("w", WEEK, [goal(**more)], ACT)
    [line] = [line for line in report["duties"] if line["id"] == duty]
    assert line["status"] == status
    assert report["summary"]["status"] != "PASS", "what nobody answered is open"


def test_carbon_and_signatures_add_up() -> None:
    goals = [goal("a", carbon_micrograms=1), goal("b", carbon_micrograms=2_500_000, strangers=2), goal("c", failed=1)]
    carbon = carbon_report("w", DAY, goals, "eu", "assumed")
    assert carbon["summary"]["totalGramsCO2"] == "2.500008"
    assert [line["goal"] for line in carbon["goals"]] == ["b", "c", "a"]
    signatures = signature_report("w", DAY, goals)
    assert signatures["summary"]["verificationRatePerMille"] == 42 * 1000 // 43
    assert signatures["summary"]["status"] == "FAIL"
    assert signature_report("w", DAY, goals[:2])["summary"]["status"] == "PASS"


REPORTS = [
    cost_report("w", DAY, [goal(items=[item("g", 100)])], CEILINGS, WEEK_OF_COSTS),
    signature_report("w", DAY, [goal()]),
    attestation("w", WEEK, [goal(strangers=1)], CEILINGS, []),
    readiness_brief("w", DAY, [goal(tasks=[TASK, replace(TASK, attempt=2)])], 7),
    carbon_report("w", DAY, [goal()], "eu", "assumed"),
    compliance_report("w", WEEK, [goal(risk_tier="high")], ACT),
]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report["kind"])
def test_reports_read_the_same_each_time_and_hold_all_they_know(report: dict[str, Any]) -> None:
    text, page = report_markdown(report), report_page(report)
    assert (text, page) == (report_markdown(report), report_page(report))
    for name in report:
        if name not in ("kind", "version", "workspace", "period"):
            assert f"## {heading(name)}" in text
            assert f">{heading(name)}<" in page
    assert ("<svg" in page) == (report["kind"] in ("cost", "carbon", "signatures"))
    assert "http-equiv" in page
    assert "<script" not in page


def test_a_page_folds_long_lists_and_fits_small_screens() -> None:
    names = [f"goal-{number}" for number in range(30)]
    report = {"kind": "compliance", "workspace": "w", "period": "2026-11-21", "version": 1, "duties": []}
    page = report_page(report | {"duties": [{"id": "a", "goals": names}, {"id": "b", "goals": names[:2]}]})
    assert "<summary>30</summary>goal-0, goal-1," in page
    assert "<td>goal-0, goal-1</td>" in page
    assert 'name="viewport"' in page and page.count('class="scroll"') == page.count("<table>")


def test_foreign_words_stay_words() -> None:
    nasty = "<script>alert(1)</script>|`x` [a](b)"
    report = cost_report("w", DAY, [goal(items=[item("g", 100, skill=nasty)])], CEILINGS, [])
    assert "<script" not in report_page(report)
    line = next(line for line in report_markdown(report).splitlines() if "alert" in line)
    assert line.count("|") - line.count("\\|") == 5
    assert "\\<script" in line
