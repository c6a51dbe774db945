"""The score measures: what is right is met, and each criterion is missed when what it measures is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.agents.blueprints import wanting
from interlock.agents.blueprints.watched import Watched
from interlock.agents.cli import blueprint_watching
from interlock.agents.cli.entry import run
from interlock.agents.scoring import accuracy, binding, decisions, format, governance, responsiveness, rollback, safety
from interlock.agents.scoring.accuracy import cases, seed_blueprint
from interlock.agents.scoring.hour import hour, lived
from interlock.agents.scoring.model import Score, Subject
from interlock.skills.infrastructure.blueprint.format import leaves
from interlock.skills.infrastructure.blueprint.model import Blueprint, Governance, Performance, Safety, WeightedMetric

ROOT = Path(__file__).parents[3]
BLUEPRINTS = ROOT / "examples/03-blueprint/blueprints"
REPLACE = msgspec.structs.replace


def subject(**changed: Any) -> Subject:
    return lived(REPLACE(seed_blueprint(), **changed), None)


def test_the_examples_meet_them(capsys: pytest.CaptureFixture[str]) -> None:
    run(["blueprint", "score", str(BLUEPRINTS), "--json"])
    answer = json.loads(capsys.readouterr().out)
    by_id = {entry["criterion"]: entry for entry in answer["criteria"]}
    for criterion in (
        "SC-001",
        "SC-002",
        "SC-003",
        "SC-004",
        "SC-005",
        "SC-006",
        "SC-007",
        "SC-008",
        "SC-009",
        "SC-010",
    ):
        assert by_id[criterion]["met"], by_id[criterion]
        assert by_id[criterion]["evidence"]


def test_the_table_of_cases_is_worth_something() -> None:
    table = cases()
    assert len(table) == len({(c.replicas, c.cpu_percent, c.memory_percent, c.latency_p95_ms) for c in table}) >= 40
    assert all(case.derivation for case in table)
    assert {(c.expected > c.replicas) - (c.expected < c.replicas) for c in table} == {-1, 0, 1}


def test_one_service_alone_cannot_show_independence() -> None:
    assert not decisions.independence([subject()]).met
    assert decisions.independence([subject(), subject(name="other")]).met


def test_two_wrong_decisions_in_forty_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    table = cases()
    wrong = [REPLACE(case, expected=case.expected + 1) for case in table[:2]]
    monkeypatch.setattr(accuracy, "cases", lambda: [*wrong, *table[2:]])
    score = accuracy.accuracy()
    assert not score.met
    assert score.measured == "38 of 40 (95 %)"
    assert len(score.evidence) == 3


def without_scaling(like: Blueprint) -> Blueprint:
    asking = REPLACE(like.governance, allowed_operations=(), requires_approval=("scale_within_limits",))
    return REPLACE(like, governance=asking)


def test_scaling_that_must_ask_is_not_autonomous() -> None:
    score = decisions.autonomy([lived(without_scaling(seed_blueprint()), None)])
    assert not score.met
    assert "todo-frontend: scale_within_limits is not allowed by its blueprint" in score.evidence


def test_nothing_measured_is_nothing_met() -> None:
    measured: list[Callable[[list[Subject]], Score]] = [
        decisions.autonomy,
        decisions.auditability,
        decisions.independence,
        governance.compliance,
        governance.approvals,
        safety.safety,
    ]
    assert [score.criterion for each in measured if (score := each([])).met] == []


def test_a_rule_that_the_format_does_not_have_is_not_traceable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "entries", lambda: [e for e in leaves().values() if "threshold" not in e.path])
    assert not decisions.auditability([subject()]).met


def test_a_gate_that_lets_everything_through_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock.envelope.verdict import ALLOW

    monkeypatch.setattr(governance, "govern_operation", lambda *_: ALLOW)
    score = governance.compliance([subject()])
    assert not score.met
    assert any("modify_secrets" in line for line in score.evidence)


def test_an_approval_that_waits_for_two_hours_is_too_slow() -> None:
    slow = REPLACE(seed_blueprint().governance, approval_timeout_ms=7_200_000)
    assert not governance.approvals([subject(governance=slow)]).met
    assert not governance.approvals([subject(governance=Governance())]).met, "nothing needs an approval"


def test_a_breaker_that_waits_for_five_failures_is_too_late() -> None:
    score = safety.safety([subject(safety=Safety(max_consecutive_failures=5))])
    assert not score.met
    assert "not so: todo-frontend: stops after 3 failures, tried 5" in score.evidence


def test_a_setting_that_the_format_does_not_know_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {path: leaf for path, leaf in leaves().items() if "latency_p99" not in path}
    monkeypatch.setattr(format, "leaves", lambda: known)
    score = format.completeness([])
    assert not score.met
    assert "not in the format: spec.performance.latency_p99" in score.evidence


def test_the_hour_fits_the_service_and_needs_no_throughput() -> None:
    like = seed_blueprint()
    most = max(row.offered_mrps or 0 for row in hour(like).rows)
    assert 1.7 < most / (5 * 100_000) < 1.9, "180 % of what 5 replicas at 100 req/s carry"
    only_cpu = REPLACE(like.scaling, metrics=(WeightedMetric(type="cpu", weight_ppm=1_000_000),))
    bare = REPLACE(like, performance=Performance(), scaling=only_cpu)
    assert any(step.decision.kind == "scale_up" for step in lived(bare, None).steps)


def test_the_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["blueprint", "score", str(BLUEPRINTS / "frontend")])
    out = capsys.readouterr().out
    assert code == 1
    assert "SC-007  NOT MET" in out
    assert "not met: SC-007" in out


def test_what_breaks_a_service_is_taken_back_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    score = rollback.rollback([subject()])
    assert score.met, score
    assert score.measured == "2 of 2 (100 %)"
    monkeypatch.setattr(rollback, "_WITHIN_MS", -1)
    assert not rollback.rollback([subject()]).met, "nothing can be that fast"
    assert not rollback.rollback([]).met


def test_a_watcher_that_looks_too_seldom_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert responsiveness.responsiveness([subject()]).met
    monkeypatch.setattr(responsiveness, "CHANGE_LOOK_S", 60)
    assert not responsiveness.responsiveness([subject()]).met
    assert not responsiveness.responsiveness([]).met


def test_a_watcher_that_does_not_read_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "look", lambda _: None)
    score = responsiveness.responsiveness([subject()])
    assert not score.met
    assert "todo-frontend: the old blueprint was decided by" in score.evidence


def test_the_score_counts_with_the_pause_that_a_watcher_makes() -> None:
    for module in (responsiveness, blueprint_watching):
        assert vars(module)["CHANGE_LOOK_S"] is wanting.CHANGE_LOOK_S


def test_a_signature_that_covers_anything_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock.envelope.verdict import ALLOW

    monkeypatch.setattr(binding, "judge_evidence", lambda *_, **__: ALLOW)
    score = governance.approvals([subject()])
    assert not score.met
    told = " ".join(score.evidence)
    for what in ("after a change", "another object", "another operation", "another skill", "a stranger's key"):
        assert what in told


def test_a_write_to_a_changed_object_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock.skills.infrastructure.cluster import execution

    monkeypatch.setattr(execution, "_other_object", lambda *_: "")
    score = governance.approvals([subject()])
    assert not score.met
    assert any("on the cluster, not so: what changed after it was approved" in line for line in score.evidence)
