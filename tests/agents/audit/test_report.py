"""The audit report and the compliance log: every check told, scores by their formulas, foreign text inert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from interlock.agents.audit.hop_graph import HopAudit, audit_hops
from interlock.agents.audit.report import audit_report, compliance_log, judge_goal
from interlock.agents.audit.signature_log import signature_log
from interlock.bus.transport import Message
from interlock.envelope.payloads import AuditRequest, Finding, GateOutcome, TaskSummary
from tests.agents.audit.histories import GATE, GOAL, NOW, REQUEST, WORKSPACE, goal_history, make_trust

TRUST = make_trust()
AT = "2026-01-02T03:04:05.678Z"
SCHEMA = json.loads(
    (
        Path(__file__).parents[3]
        / "skills/interlock/skills/bundled/assembling-deliverable/schemas/compliance_log.schema.json"
    ).read_text()
)
WHOLE = audit_hops(goal_history(2).messages, TRUST)


def task(name: str, **more: Any) -> TaskSummary:
    fields: dict[str, Any] = {
        "skill": "doing-nothing",
        "after": [],
        "status": "done",
        "attempt": 1,
        "cost_usd_micro": 10,
        "wall_ms": 5,
        "tokens": 0,
        "confidence": 1000,
    }
    return TaskSummary(id=name, **fields | more)


def request(**more: Any) -> AuditRequest:
    fields: dict[str, Any] = {"tasks": [task("a"), task("b")], "tasks_total": 2, "tasks_done": 2}
    return msgspec.structs.replace(REQUEST, **fields | more)


def finding(severity: Any, name: str = "f", **more: Any) -> Finding:
    return Finding(id=name, severity=severity, message=f"{severity} thing", **more)


def forged() -> HopAudit:
    """The whole history, a stranger's noise, and a hop changed by somebody who names a trusted key."""
    messages = goal_history(2).messages
    noise = Message(f"interlock.{WORKSPACE}.role.human.{GOAL}.act", b'{"TODO":1}', {}, 900, NOW)
    changed = msgspec.structs.replace(messages[4], sequence=901, data=messages[4].data.replace(b"done", b"dono"))
    return audit_hops([*messages, noise, changed], TRUST)


def scores(asked: AuditRequest, audit: HopAudit = WHOLE) -> dict[str, int]:
    return {score.name: score.value for score in judge_goal(asked, audit).scores}


def test_a_clean_goal_is_allowed_with_full_marks() -> None:
    judged = judge_goal(request(), WHOLE)
    assert (judged.decision, judged.grounds, judged.quality) == ("allow", [], 1000)


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({"tasks_done": 1}, "completion", 500),
        ({"tasks_total": 0, "tasks": [], "tasks_done": 0}, "completion", 1000),
        ({"gates": []}, "gates", 0),
        ({"gates": [GATE, GATE, msgspec.structs.replace(GATE, passed=False)]}, "gates", 666),
        ({"cost_usd": "1"}, "budget", 1000),
        ({"cost_usd": "1.000001"}, "budget", 0),
        ({"findings": [finding("high"), finding("medium"), finding("low"), finding("info")]}, "findings", 480),
        ({"findings": [finding("critical"), finding("high")]}, "findings", 0),
    ],
)
def test_each_score_by_its_formula(more: dict[str, Any], name: str, value: int) -> None:
    found = scores(request(**more))
    assert found[name] == value
    assert judge_goal(request(**more), WHOLE).quality == min(found.values()) == min(value, 1000)


def test_over_budget_is_denied() -> None:
    judged = judge_goal(request(cost_usd="1.000001"), WHOLE)
    assert (judged.decision, [ground.code for ground in judged.grounds]) == ("deny", ["over_budget"])


def test_only_what_comes_from_inside_counts_and_denies() -> None:
    audit = forged()
    judged = judge_goal(request(), audit)
    assert judged.decision == "deny"
    assert [ground.code for ground in judged.grounds] == ["hop_bad_signature"]
    inside = audit.verified + 1
    assert scores(request(), audit)["signatures"] == audit.verified * 1000 // inside
    assert scores(request(), audit)["graph"] == 1000
    noise = HopAudit([hop for hop in audit.hops if hop.sequence != 901])
    assert judge_goal(request(), noise).decision == "allow"
    assert scores(request(), noise)["signatures"] == 1000
    assert len(noise.refused) == 1
    torn = audit_hops([message for n, message in enumerate(goal_history(2).messages) if n != 2], TRUST)
    assert scores(request(), torn)["graph"] < 1000 == scores(request(), torn)["signatures"]
    assert scores(request(), HopAudit([]))["signatures"] == 0


def test_the_log_tells_every_check_and_fits_its_schema() -> None:
    gates = [
        GATE,
        GateOutcome(
            gate="G1",
            name="Design",
            owner="AI Architect",
            passed=False,
            criteria=["x", "y"],
            evidence=["holds: a = 1", "fails: b = 2"],
            at=AT,
        ),
    ]
    findings = [
        finding("high", "secret", file="a.py", line=3, blocks=True),
        finding("low", "duty-transparency"),
        finding("info", "ai-unclear"),
    ]
    asked = request(gates=gates, findings=findings)
    audit = forged()
    log = compliance_log(asked, audit, judge_goal(asked, audit), GOAL, AT)
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(log)) == []
    told = [(entry["kind"], entry["id"], entry["result"]) for entry in log["entries"]]
    assert told[:5] == [
        ("gate", "G0", "pass"),
        ("check", "G0.1", "pass"),
        ("gate", "G1", "fail"),
        ("check", "G1.1", "pass"),
        ("check", "G1.2", "fail"),
    ]
    assert [entry for entry in told if entry[0] in ("finding", "eu_ai_act")] == [
        ("finding", "secret", "fail"),
        ("eu_ai_act", "duty-transparency", "noted"),
        ("eu_ai_act", "ai-unclear", "noted"),
    ]
    assert [entry for entry in told if entry[0] == "refused_hop"] == [
        ("refused_hop", "900", "refused"),
        ("refused_hop", "901", "refused"),
    ]
    assert ("ground", "hop_bad_signature", "fail") in told
    assert {entry[1] for entry in told if entry[0] == "score"} == set(scores(asked))
    # Nothing a stranger wrote is a whole value of the document: the search for placeholders would take it for ours.
    assert [entry for entry in log["entries"] if "TODO" in str({**entry, "message": ""})] == []


def rendered(text: str) -> list[Any]:
    return [
        inner
        for token in MarkdownIt("commonmark").enable("table").parse(text)
        for inner in [token, *(token.children or [])]
    ]


def test_the_report_has_what_there_is_and_nothing_else() -> None:
    judged = judge_goal(request(), WHOLE)
    text = audit_report(request(), WHOLE, judged, GOAL, AT)
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["QualityScore", "Gates", "Tasks", "Rollback"]
    assert f"Hops verified: {len(WHOLE.hops)} of {len(WHOLE.hops)}" in text
    assert text.index("| `b` |", text.index("## Rollback")) < text.index("| `a` |", text.index("## Rollback"))
    assert text == audit_report(request(), WHOLE, judged, GOAL, AT)
    idle = request(tasks=[], tasks_total=0, tasks_done=0, gates=[])
    bare = audit_report(idle, WHOLE, judge_goal(idle, WHOLE), GOAL, AT)
    assert [line for line in bare.splitlines() if line.startswith("## ")] == ["## QualityScore"]


HOSTILE = "![x](http://evil/)[y](javascript:z)<script>`a`|b|\n# c\n\n- *d* \x1b[31m \u202e&lt;"


@given(st.text(max_size=80))
def test_foreign_text_stays_text(text: str) -> None:
    for hostile in (HOSTILE, text):
        findings = [Finding(id="f", severity="low", message=hostile, file=hostile)]
        asked = request(goal=hostile, findings=findings, tasks=[task(hostile, status=hostile)])
        tokens = rendered(audit_report(asked, WHOLE, judge_goal(asked, WHOLE), GOAL, AT))
        kinds = {token.type for token in tokens}
        assert not kinds & {"image", "link_open", "html_block", "html_inline", "fence", "em_open"}
        assert sum(token.type == "heading_open" for token in tokens) == 6
        assert sum(token.type == "tr_open" for token in tokens) == 7 + 2 + 1 + 2 + 2 + 2
        shown = "".join(token.content for token in tokens)
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_the_signature_log_counts_and_names() -> None:
    log = signature_log(WORKSPACE, GOAL, WHOLE, AT)
    assert log["summary"] == {
        "totalOperations": len(WHOLE.hops),
        "signaturesVerified": len(WHOLE.hops),
        "signaturesFailed": 0,
        "verificationRatePerMille": 1000,
        "status": "PASS",
    }
    first = log["operations"][0]
    assert (first["step"], first["agent"], first["operation"]) == (1, "gateway", "plan:intake")
    assert first["publicKey"].startswith("U")
    assert len(first["signature"]) == 86
    assert first["storedAt"] == "2025-11-21T04:40:00.000Z"
    torn = signature_log(WORKSPACE, GOAL, forged(), AT)
    assert (torn["summary"]["signaturesFailed"], torn["summary"]["status"]) == (2, "FAIL")
    assert len(torn["alerts"]) == 2
    assert "agent" not in torn["operations"][-2]
    empty = signature_log(WORKSPACE, GOAL, HopAudit([]), AT)
    assert (empty["summary"]["verificationRatePerMille"], empty["summary"]["status"]) == (0, "FAIL")
