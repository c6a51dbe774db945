"""Approvals at the command line: what is shown before one signs, who may, and what `run` does on its way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.agents.approvals.deciding import Asked, judge_request
from interlock.agents.approvals.view import ApprovalStatus, Told
from interlock.agents.cli import run
from interlock.agents.cli.approving import Signer, find_approval, shown_lines, told
from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.envelope.payloads import ApprovalRequest, PlanDraft
from tests.agents.goal.test_approving import TASKS, request_of, waiting
from tests.agents.goal.test_decide import began

FIRST, SECOND = "01a1fd26-da74-7406-ada4-20697fb60df8", "01a1fd26-da74-7f00-ada4-20697fb60aaa"


def status(approval_id: str = FIRST, **more: Any) -> ApprovalStatus:
    settings: dict[str, Any] = {
        "approval_id": approval_id,
        "goal_id": FIRST,
        "workspace": "default",
        "operation": "task.run",
        "target": "x/\x1b[2Ja",
        "question": "May it?",
        "state": "pending",
        "needed": 2,
        "action_digest": "0" * 64,
        "asked_at": "2026-01-01T00:00:00.000Z",
        "expires_at": "2026-01-01T01:00:00.000Z",
    }
    return ApprovalStatus(**settings | more)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (FIRST, ""),
        ("60df8", ""),
        (FIRST[:18], ""),
        (FIRST[:14], "ambiguous_approval"),
        ("", "unknown_approval"),
        ("zz", "unknown_approval"),
    ],
)
def test_an_approval_is_found_by_either_end_of_its_id(name: str, reason: str) -> None:
    found = [status(), status(SECOND)]
    if reason:
        with pytest.raises(UserError) as refused:
            find_approval(found, name)
        assert (refused.value.reason, refused.value.exit_code) == (reason, 2)
    else:
        assert find_approval(found, name).approval_id == FIRST


def test_a_line_tells_where_it_stands_and_steers_no_terminal() -> None:
    by = Told(by="human.ada", decision="approved", reason="fine", at="2026-01-01T00:00:01.000Z")
    line = told(status(decisions=[by]))
    assert line.startswith("pending (1 of 2) task.run of ")
    assert line.endswith("approved by human.ada")
    assert "\x1b" not in line


def asked(**more: Any) -> Asked:
    _, sends = waiting()
    first = began(TASKS)
    plan = first.draft
    assert isinstance(plan, PlanDraft)
    return replace(Asked(sends[0].parent, request_of(sends), plan), **more)


def test_what_is_shown_is_what_is_signed() -> None:
    good = asked()
    assert judge_request(good, good.origin).allowed
    lines = "\n".join(shown_lines(good))
    for shown in ("May this plan start?", "task       a: s", "it is risky", good.request.action_digest):
        assert shown in lines


OTHER_PLAN = began(TASKS[:1]).draft
CHEATS: list[dict[str, Any]] = [
    {"plan": OTHER_PLAN},
    {"plan": None},
    {"request": {"target": SECOND}},
    {"request": {"operation": "task.run"}},
    {"request": {"action_digest": "0" * 64}},
    {"request": {"arguments": {"plan": "0" * 64}}},
]


@pytest.mark.parametrize("cheat", CHEATS, ids=range(len(CHEATS)))
def test_a_request_that_hides_what_it_asks_is_not_signed(cheat: dict[str, Any]) -> None:
    good = asked()
    change: dict[str, Any] = dict(cheat)
    if "request" in cheat:
        request: ApprovalRequest = replace(good.request, **cheat["request"])
        change = {"request": request}
    verdict = judge_request(replace(good, **change), good.origin)
    assert [ground.code for ground in verdict.grounds] == ["approval_mismatch"]


def test_a_request_beyond_its_goal_is_not_signed() -> None:
    good = asked()
    context = replace(good.origin.policy_context, capabilities=["*"])
    shorter = replace(good.origin, deadline_ms=good.origin.deadline_ms - 1)
    narrower = replace(good.origin, policy_context=replace(context, capabilities=[]))
    elsewhere = replace(good.origin, policy_context=replace(good.origin.policy_context, contract_ref="0" * 64))
    for begun in (shorter, narrower, elsewhere, None):
        assert [ground.code for ground in judge_request(good, begun).grounds] == ["bad_parent"]


@pytest.fixture
def workspace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["init", str(tmp_path)]) == 0
    goal = tmp_path / "goal.yaml"
    goal.write_text(
        goal.read_text() + "risk_hints: {employment_decisions: true, human_oversight: true, transparency: true}\n"
    )
    capsys.readouterr()
    return tmp_path


def test_a_halt_of_a_role_that_there_is_not_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["halt", "role:executr", "--why", "now", "--dir", str(workspace)]) == 2
    told = capsys.readouterr().err
    assert "bad_scope" in told
    assert "there is no role executr, only orchestrator" in told


def test_only_humans_with_a_key_and_the_right_decide(workspace: Path) -> None:
    session = Session(workspace, "", False)
    for agent, reason in (("executor", "not_human"), ("../x", "not_human")):
        with pytest.raises(UserError) as refused:
            Signer(session, agent)
        assert refused.value.reason == reason
    Signer(session, "human").check("plan.start")
    stranger = Signer(session, "human")
    stranger.identity = replace(stranger.identity, key=type(stranger.identity.key).generate())
    with pytest.raises(UserError) as refused:
        stranger.check("plan.start")
    assert refused.value.reason == "not_entitled"


@pytest.mark.nats
@pytest.mark.parametrize(("mode", "code", "state"), [("auto", 0, "approved"), ("never", 2, "rejected")])
def test_run_decides_as_it_was_told(
    workspace: Path, capsys: pytest.CaptureFixture[str], mode: str, code: int, state: str
) -> None:
    where = ["--dir", str(workspace), "--json"]
    assert run(["run", str(workspace / "goal.yaml"), "--approve", mode, "-o", str(workspace / "out"), *where]) == code
    capsys.readouterr()
    assert run(["approvals", "--all", *where]) == 0
    (approval,) = json.loads(capsys.readouterr().out)
    assert (approval["state"], approval["decisions"][0]["by"]) == (state, "human")
    for verb in (["approve", approval["approvalId"]], ["reject", approval["approvalId"], "--why", "late"]):
        assert run([*verb, *where]) == 2
        assert "already_decided" in capsys.readouterr().err
    assert run(["approvals", *where]) == 0
    assert json.loads(capsys.readouterr().out) == []
