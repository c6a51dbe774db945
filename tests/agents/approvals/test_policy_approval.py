"""Tasks that policies let run only with an approval: the goal asks for one, for exactly that task, before it leaves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.wiring import running
from interlock.bus.policy.bundle import policy_bundle_digest
from interlock.envelope.payloads import Task
from tests.agents.approvals.humans import asked, decide, told
from tests.agents.approvals.test_task_approval import ROLES, hijack, hops, lines
from tests.agents.conftest import CONFIG

pytestmark = pytest.mark.anyio
# A rule of the workspace that no approval satisfies.
ALWAYS = """package interlock.workspace.always

import rego.v1

needs_approval contains {"code": "always", "rule": "always.rule", "message": "never without", "instead": ""} if {
\tinput.task.skill == "appending-line"
}
"""


def restricted(house: Any, *names: str) -> dict[str, Any]:
    """A goal with restricted data whose tasks act outside, which `classification` asks approvals for."""
    tasks = [
        {"id": name, "skill": "appending-line", "input": {"place": str(house.scratch), "line": name}}
        | ({"after": [names[number - 1]]} if number else {})
        for number, name in enumerate(names)
    ]
    goal: dict[str, Any] = house.goal(tasks, data_classification="restricted")
    return goal


async def test_what_a_policy_asks_for_is_asked_and_then_runs_once(house: Any) -> None:
    goal_id = (await house.submit(restricted(house, "a")))["goalId"]
    pending = await asked(house, goal_id)
    assert (pending.operation, pending.target) == ("task.run", f"{goal_id}/a")
    assert "data_class (classification.effects)" in pending.grounds[0].message
    assert lines(house) == []
    await decide(house, pending)
    status = await house.ended(goal_id)
    assert (status.outcome, lines(house)) == ("released", ["a"]), status.grounds
    (act,) = await hops(house, "executor", goal_id, "act")
    assert isinstance(act.payload, Task) and act.payload.attempt == 1
    used = await house.messages("JOURNAL", "journal", "effect", pending.approval_id)
    assert [msgspec.json.decode(record.data)["type"] for record in used] == ["approval_used"]
    assert (await told(house, pending, "approved")).needed == 1
    assert await house.messages("DEAD", "dead", "executor", ">") == [], "a question is no dead letter"


async def test_a_refusal_ends_it_without_effect(house: Any) -> None:
    goal_id = (await house.submit(restricted(house, "a")))["goalId"]
    await decide(house, await asked(house, goal_id), allows=False, reason="not there")
    status = await house.ended(goal_id)
    assert (status.outcome, lines(house)) == ("blocked", [])
    assert "denied by human: not there" in status.grounds[0].message


async def test_an_approval_a_policy_asked_for_allows_one_run_of_one_task(house: Any) -> None:
    goal_id = (await house.submit(restricted(house, "a", "b")))["goalId"]
    await decide(house, await asked(house, goal_id))
    await asked(house, goal_id, 2)
    thief = await hijack(house, goal_id)
    outcomes = [
        await thief.orders(thief.task),
        await thief.orders(replace(thief.task, input={**thief.task.input, "line": "x"})),
        await thief.orders(replace(thief.task, task_id="c")),
    ]
    assert outcomes == ["approval_used", "policy_denied", "policy_denied"]
    assert lines(house) == ["a"]


async def test_what_no_approval_satisfies_is_asked_once_and_refused(quiet_house: Any, tmp_path: Path) -> None:
    house = quiet_house
    (tmp_path / "always.rego").write_text(ALWAYS)
    house.keys.change_contract(policy_bundle_checksum=policy_bundle_digest(CONFIG, [tmp_path]))
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, house.parts(role, policies=(tmp_path,))))
        tasks = [{"id": "a", "skill": "appending-line", "input": {"place": str(house.scratch), "line": "a"}}]
        goal_id = (await house.submit(house.goal(tasks)))["goalId"]
        await decide(house, await asked(house, goal_id))
        status = await house.ended(goal_id)
        assert (status.outcome, lines(house)) == ("blocked", [])
        assert status.grounds[0].code == "policy_denied"
