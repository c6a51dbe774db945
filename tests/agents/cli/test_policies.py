"""`interlock policy`: exit codes, and what a goal is told of the rules that decide it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.approvals.evidence import ApprovalCheck
from interlock.agents.cli import policies, run
from interlock.agents.cli.explaining import explain, lines_of, refusals
from interlock.agents.errors import UserError
from interlock.agents.wiring import ROLES, running
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.policies import policy_bundle
from interlock.agents.workspace.settings import Settings
from interlock.bus.policy.bundle import policy_bundle_digest
from interlock.bus.policy.service import policy_service
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.verification import Limits
from interlock.skills.registry import Registry
from tests.agents.approvals.humans import asked, decide

CONFIG = Path(__file__).parents[3] / "config"
HERE = Path(__file__).parents[1]
OWN = """package interlock.workspace.house

import rego.v1

deny contains {"code": "no_echo", "rule": "house.echo", "message": "echoes are not wanted", "instead": "silence"} if {
	input.task.skill == "echoing-input"
}
"""
BAD = OWN.replace("interlock.workspace.house", "interlock.main")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "interlock.yaml").write_text("policies: [own]\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "house.rego").write_text(OWN)
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_check_tells_the_digest_that_contracts_pin(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "check", "--json"]) == 0
    told = answer(capsys)
    assert told["digest"] == policy_bundle_digest(CONFIG, [place / "own"]) != policy_bundle_digest(CONFIG)
    assert "workspace/0/house.rego" in told["modules"] and "policies/main_test.rego" in told["tests"]


def test_check_compares_the_digest_with_the_contracts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "check", "--json"]) == 0
    told = answer(capsys)
    assert (told["pinned"], told["agrees"]) == (None, True)
    own = place / "there"
    assert run(["init", str(own)]) == 0
    capsys.readouterr()
    assert run(["policy", "check", "--dir", str(own), "--json"]) == 0
    told = answer(capsys)
    assert told["pinned"] == told["digest"] and told["agrees"]
    (own / "interlock.yaml").write_text((own / "interlock.yaml").read_text() + "\npolicies: [../own]\n")
    assert run(["policy", "check", "--dir", str(own), "--json"]) == 0, "the next start renews what the system made"
    told = answer(capsys)
    assert not told["agrees"] and told["pinned"] != told["digest"]


def test_test_runs_the_cases(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "test", "--json"]) == 0
    assert answer(capsys)["failed"] == []
    case = '{"input": {}, "decision": "allow", "codes": []}'
    (place / "own" / "house_test.rego").write_text(
        f'package interlock.workspace.house_test\n\ncases := {{"nothing": {case}}}\n'
    )
    assert run(["policy", "test"]) == 1
    assert "FAIL workspace/0/house_test.rego: nothing: deny with" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["check", "test"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BAD, "policy_package"),
        (OWN.replace("input.task", "input.tusk"), "policy_unknown_input"),
        ("p", "policy_syntax"),
    ],
)
def test_what_may_not_be_used_is_refused_with_one_line(
    verb: str, text: str, reason: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "own" / "house.rego").write_text(text)
    assert run(["policy", verb]) == 2
    told = capsys.readouterr().err
    assert reason in told and told.count("\n") == 1 and "house.rego" in told


def test_what_does_not_compile_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "own" / "house.rego").write_text(OWN + "\nx := if if\n")
    assert run(["policy", "check"]) == 2
    assert "policy_compile" in capsys.readouterr().err


def test_nothing_runs_with_policies_that_may_not_be_used(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "own" / "house.rego").write_text(BAD)
    (place / "goal.yaml").write_text(
        "goal: x\nconstraints: []\nstakeholders: [a]\nsuccess_metrics: [b]\nbudget_limits: {costUSD: '1'}\n"
    )
    assert run(["run", "goal.yaml"]) == 2
    assert "policy_package" in capsys.readouterr().err
    with pytest.raises(UserError) as caught:
        policy_bundle(Layout(place), Settings(policies=["nowhere"]))
    assert (caught.value.reason, caught.value.exit_code) == ("no_policies", 2)


def test_opa_is_asked_only_where_it_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(place))
    assert run(["policy", "test", "--opa"]) == 2
    assert "no_opa" in capsys.readouterr().err
    for script, code in (("echo PASS: 2/2", 0), ("echo FAIL: 1/2; exit 1", 1)):
        (place / "opa").write_text(f"#!/bin/sh\n{script}\n")
        (place / "opa").chmod(0o755)
        assert policies.opa_tests([CONFIG / "policies"]) == (code == 0, script.removeprefix("echo ").split(";")[0])
        assert run(["policy", "test", "--opa"]) == code


def approvals_of(house: Any) -> ApprovalCheck:
    return ApprovalCheck(house.keys, ApprovalTerms(), Limits())


@pytest.mark.anyio
@pytest.mark.parametrize("house", ["memory"], indirect=True)
async def test_a_task_that_went_on_with_an_approval_is_explained_with_it(house: Any) -> None:
    hints = {"employment_decisions": True, "human_oversight": True, "transparency": True}
    goal = house.goal([{"id": "a", "skill": "doing-nothing"}], risk_hints=hints)
    pending = await asked(house, (await house.submit(goal))["goalId"])
    await decide(house, pending)
    assert (await house.ended(pending.goal_id)).outcome == "released"
    messages = await house.messages("HOPS", "role", "*", pending.goal_id, ">")
    service = policy_service(CONFIG / "policies")
    registry = Registry.load([HERE / "skills"])
    explained = await explain(messages, house.keys.trust, service, registry, {}, approvals_of(house))
    service.close()
    (task,) = (hop for hop in explained if hop.payload == "task")
    assert task.decision == "allow", task.grounds
    assert "task: allow (main.allow: authz allows it and no policy objects)" in "\n".join(lines_of(explained))


@pytest.mark.anyio
@pytest.mark.parametrize("quiet_house", ["memory"], indirect=True)
async def test_a_workspaces_policy_stops_a_task_and_explain_says_so(quiet_house: Any, place: Path) -> None:
    from contextlib import AsyncExitStack

    from msgspec.structs import replace

    house = quiet_house
    async with AsyncExitStack() as stack:
        for role in ROLES:
            parts = replace(house.parts(role), policies=(place / "own",) if role == "executor" else ())
            await stack.enter_async_context(running(role, parts))
        status = await house.run(house.goal([{"id": "e", "skill": "echoing-input"}]))
        assert status.outcome == "blocked"
        assert "policy_denied" in [ground.code for ground in status.grounds], status.grounds
    messages = await house.messages("HOPS", "role", "*", status.goal_id, ">")
    service = policy_service(CONFIG / "policies", [place / "own"])
    registry = Registry.load([HERE / "skills"])
    recorded = await refusals(house.transport, house.workspace, messages)
    explained = await explain(messages, house.keys.trust, service, registry, recorded, approvals_of(house))
    (task,) = (hop for hop in explained if hop.payload == "task")
    assert (task.decision, task.grounds[0].code) == ("deny", "no_echo")
    assert "policy_denied: deny: no_echo (house.echo)" in task.recorded
    assert {hop.decision for hop in explained if hop is not task} == {"allow", "not judged"}
    lines = "\n".join(lines_of(explained))
    assert "orchestrator → executor  task: deny" in lines
    assert "allowed: silence" in lines and "refused when it came: policy_denied" in lines


@pytest.mark.anyio
async def test_explain_says_that_no_approval_helps_what_is_no_task(house: Any, tmp_path: Path) -> None:
    from interlock.skills.registry import Registry

    (tmp_path / "own").mkdir()
    ground = '{"code": "asks", "rule": "house.asks", "message": "results", "instead": "an approval"}'
    rule = f'needs_approval contains {ground} if input.hop.payload == "task_result"'
    (tmp_path / "own" / "house.rego").write_text(f"package interlock.workspace.house\n\nimport rego.v1\n\n{rule}\n")
    status = await house.run(house.goal([{"id": "e", "skill": "echoing-input"}]))
    messages = await house.messages("HOPS", "role", "*", status.goal_id, ">")
    service = policy_service(CONFIG / "policies", [tmp_path / "own"])
    registry = Registry.load([HERE / "skills"])
    explained = await explain(messages, house.keys.trust, service, registry, {}, approvals_of(house))
    (result,) = (hop for hop in explained if hop.payload == "task_result")
    told = "only a task can wait for an approval, and this is of the type task_result: it is denied"
    assert (result.decision, result.unanswerable) == ("needs_approval", told)
    assert lines_of([result])[1].strip() == told
