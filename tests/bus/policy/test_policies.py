"""The policies shipped: their own tests on this engine and on OPA, and that no condition of authorization is optional."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.bus.policy import testing
from interlock.bus.policy.bundle import load_bundle
from interlock.bus.policy.engine import Engine
from interlock.bus.policy.errors import PolicyError
from interlock.envelope.verdict import Decision
from tests.bus.policy.bundles import POLICIES, TASK, of_main, written

GROUNDS = "interlock/main/grounds"
OPA = shutil.which("opa")


@pytest.fixture(scope="module")
def engine() -> Engine:
    """Not for longer: regopy's engine cannot be taken down with the interpreter."""
    return Engine(load_bundle(POLICIES).modules, [GROUNDS])


def test_every_case_of_the_policies_passes() -> None:
    outcomes = testing.run_tests(load_bundle(POLICIES))
    assert [outcome for outcome in outcomes if not outcome.passed] == []
    assert len(outcomes) > 80
    assert {outcome.module for outcome in outcomes} == {"policies/authz_test.rego", "policies/main_test.rego"}


@pytest.mark.skipif(OPA is None, reason="opa is not installed")
def test_every_case_passes_under_the_real_opa_test() -> None:
    done = subprocess.run([str(OPA), "test", str(POLICIES)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
    checked = subprocess.run(
        [str(OPA), "check", "--strict", str(POLICIES)], capture_output=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr


APPROVAL = {"by": "human.ada", "ageMs": 60_000, "digestMatches": True}
TIERS = st.sampled_from(["minimal", "limited", "high", "systemic", "odd"])
TAGS = [
    "data:internal",
    "data:confidential",
    "data:restricted",
    "oversight:human",
    "transparency:given",
    "sources:verified",
]
APPROVALS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "by": st.sampled_from(["human.ada", "human", "orchestrator"]),
            "ageMs": st.sampled_from([0, 3_600_000, 3_660_000]),
            "digestMatches": st.booleans(),
        }
    ),
)
LEVEL = st.sampled_from([50, 100, 0, 49])
HELD = st.sampled_from([["skill:*"], ["skill:resizing-images"], [], ["skill:other"], ["approve:*"], ["audit:*"]])
PAYLOADS = ["task", "task_result", "decision", "audit_report"]
AGENT = {"trustLevel": LEVEL, "revoked": st.booleans(), "capabilities": HELD}
MODEL = st.fixed_dictionaries({"name": st.just("m"), "hosting": st.sampled_from(["local", "remote", "odd"])})
FIELDS: list[tuple[str, dict[str, st.SearchStrategy[Any]]]] = [
    ("hop", {"payload": st.sampled_from(PAYLOADS)}),
    ("hop", {"riskTier": TIERS}),
    ("hop", {"tags": st.lists(st.sampled_from(TAGS), unique=True)}),
    ("hop", {"confidence": st.sampled_from([0, 849, 850, 1000])}),
    ("hop", {"to": st.sampled_from([["executor.two"], ["evaluator"], ["mallory"], ["executor", "mallory"]])}),
    ("agent", AGENT),
    ("performer", AGENT),
    ("goal", {"capabilities": HELD}),
    ("budget", {"withinGrant": st.booleans(), "costUsdAtMost": st.sampled_from([0, 100, 1000])}),
    ("rates", {"agentPerMinute": st.sampled_from([0, 600, 6000, 600_000])}),
    ("rates", {"workspacePerMinute": st.sampled_from([0, 2000, 2_000_000])}),
    ("task", {"effects": st.sampled_from(["none", "external", "odd"]), "network": st.booleans()}),
    ("task", {"operation": st.sampled_from(["task.release", "odd"]), "audited": st.booleans()}),
]


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """An ordinary task with up to five things changed: with everything at random, nothing would ever be allowed."""
    document = {section: dict(value) if isinstance(value, dict) else value for section, value in TASK.items()}
    for number in draw(st.sets(st.integers(0, len(FIELDS) - 1), max_size=5)):
        section, fields = FIELDS[number]
        document[section] |= draw(st.fixed_dictionaries(fields))
    document["approval"] = draw(APPROVALS)
    document["model"] = draw(st.one_of(st.none(), st.none(), MODEL))
    if document["hop"]["payload"] != "task" or draw(st.integers(0, 9)) == 9:
        document["task"] = None
    return document


@settings(max_examples=150, deadline=None)
@given(documents())
def test_no_condition_of_authorization_is_optional(engine: Engine, document: dict[str, Any]) -> None:
    """The specification's conditions in Python: an allow implies every one of them."""
    verdict = engine.judge(document)
    assert verdict.allowed or verdict.grounds
    assert not any(ground.code.startswith("policy_") for ground in verdict.grounds), "the policies themselves failed"
    if not verdict.allowed:
        return
    assert engine.value(document, GROUNDS) == {"denied": [], "asked": []}, "it is not asked where nothing is concerned"
    hop, agent, performer, approval = (document[name] for name in ("hop", "agent", "performer", "approval"))
    approved = approval is not None and approval["digestMatches"] and approval["ageMs"] <= 3_600_000
    approved = approved and approval["by"].startswith("human")
    assert hop["riskTier"] != "odd" and not agent["revoked"] and not performer["revoked"]
    assert agent["trustLevel"] >= 50
    if hop["payload"] != "task":
        return
    assert document["task"] is not None and document["budget"]["withinGrant"] and performer["trustLevel"] >= 50
    for held in (document["goal"]["capabilities"], performer["capabilities"]):
        assert held in (["skill:*"], ["skill:resizing-images"])
    if hop["riskTier"] in ("high", "systemic"):
        assert approved and {"oversight:human", "transparency:given"} <= set(hop["tags"])
    if hop["confidence"] < 850:
        assert approved or "sources:verified" in hop["tags"]


@pytest.mark.skipif(OPA is None, reason="opa is not installed")
def test_the_engine_agrees_with_opa_on_random_inputs(engine: Engine, tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(documents())
    def collect(document: dict[str, Any]) -> None:
        found.append(document)

    collect()
    (tmp_path / "documents.json").write_text(json.dumps({"documents": found}))
    query = (
        "[answer | some document in data.documents; given := document;"
        " decided := data.interlock.main.decision with input as given;"
        " allowed := data.interlock.main.allow with input as given;"
        " codes := {ground.code | some ground in array.concat(decided.denied, decided.asked)};"
        " answer := [decided.decision, allowed, codes]]"
    )
    command = [str(OPA), "eval", "--format", "raw", "-d", str(POLICIES), "-d", str(tmp_path / "documents.json"), query]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    answers = json.loads(done.stdout)
    assert len(answers) == len(found)
    decisions = set()
    for document, (decision, allowed, codes) in zip(found, answers, strict=True):
        verdict = engine.judge(document)
        ours = [str(verdict.decision), verdict.allowed, sorted({ground.code for ground in verdict.grounds})]
        assert ours == [decision, allowed, sorted(codes)], document
        decisions.add(decision)
    assert decisions == {str(decision) for decision in Decision}


OWN = """package interlock.workspace.house

import rego.v1

deny contains {"code": "too_sure", "rule": "house.rule", "message": "nobody is that sure", "instead": "999"} if {
	input.hop.confidence == 1000
}

needs_approval contains {"code": "asks", "rule": "house.asks", "message": "asks", "instead": ""} if {
	input.hop.confidence == 998
}

allow := true
"""


def test_a_workspace_can_narrow_and_cannot_widen(tmp_path: Path) -> None:
    (tmp_path / "house.rego").write_text(OWN)
    engine = Engine(load_bundle(POLICIES, [tmp_path]).modules)

    def judged(**hop: Any) -> tuple[str, list[str]]:
        verdict = engine.judge(TASK | {"hop": TASK["hop"] | hop})
        return str(verdict.decision), [ground.code for ground in verdict.grounds]

    assert judged() == ("deny", ["too_sure"])
    assert judged(confidence=999) == ("allow", [])
    assert judged(confidence=998) == ("needs_approval", ["asks"])
    assert judged(confidence=999, riskTier="odd") == ("deny", ["unknown_risk_tier"])


def test_a_case_that_fails_is_told(tmp_path: Path) -> None:
    cases = (
        'package interlock.main_test\n\ncases := {"right": {"input": {}, "decision": "deny", "codes": ["policy_undefined"]},'
        ' "wrong": {"input": {}, "decision": "allow", "codes": ["x"]}, "empty": 1}\n'
    )
    written(tmp_path, main_test=cases)
    outcomes = {outcome.name: outcome.problem for outcome in testing.tested(tmp_path)}
    assert outcomes["right"] == ""
    assert outcomes["wrong"] == "deny with policy_undefined; wanted allow with x"
    assert outcomes["empty"]


def test_tests_that_cannot_be_run_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as caught:
        testing.tested(written(tmp_path / "a", main_test="package interlock.main_test\n\ncases := 1\n"))
    assert caught.value.reason == "policy_failed"
    with pytest.raises(PolicyError) as caught:
        testing.tested(written(tmp_path / "b", extra="package other\n"))
    assert caught.value.reason == "policy_package"
    assert of_main(tmp_path / "c", "allow := true\n\ngrounds := 1").tests == ()
