"""Plans that wait for a human, end to end over both transports."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from interlock.agents.approvals.view import ApprovalStatus
from interlock.agents.errors import UserError
from interlock.agents.wiring import running
from interlock.envelope.approval import ApprovalTerms
from tests.agents.approvals.humans import asked, decide, told

pytestmark = pytest.mark.anyio
RISKY = {"risk_hints": {"employment_decisions": True, "human_oversight": True, "transparency": True}}
NOTHING = [{"id": "a", "skill": "doing-nothing"}]


async def begun(house: Any, **more: Any) -> ApprovalStatus:
    answer = await house.submit(house.goal(NOTHING, **RISKY, **more))
    return await asked(house, answer["goalId"])


async def test_an_approved_plan_goes_on_and_all_of_it_is_in_the_record(house: Any) -> None:
    pending = await begun(house)
    assert (pending.state, pending.operation, pending.target) == ("pending", "plan.start", pending.goal_id)
    assert await house.messages("HOPS", "role", "executor", pending.goal_id, "act") == []
    await decide(house, pending)
    status = await house.ended(pending.goal_id)
    assert status.outcome == "released", status.grounds
    done = await told(house, pending, "approved")
    assert [(one.by, one.decision, one.reason) for one in done.decisions] == [("human", "approved", "so it is")]
    audited = await house.audited(status.goal_id)
    hops = await house.messages("HOPS", "role", "*", status.goal_id, ">")
    assert audited.hops == audited.verified == len(hops) == 13
    task = msgspec.json.decode((await house.messages("HOPS", "role", "executor", status.goal_id, "act"))[0].data)
    assert task["payload"]["approvals"][0]["approvalId"] == pending.approval_id


async def test_a_rejected_plan_ends_blocked_with_the_reason(house: Any) -> None:
    pending = await begun(house)
    await decide(house, pending, allows=False, reason="too bold")
    status = await house.ended(pending.goal_id)
    assert status.outcome == "blocked"
    grounds = {ground.code: ground for ground in status.grounds}
    assert "denied by human: too bold" in grounds["approval_denied"].message
    assert "risk_tier" in grounds
    assert (await told(house, pending, "rejected")).decisions[0].decision == "rejected"


async def test_time_runs_out_by_the_brokers_timer_and_is_told_as_that(quiet_house: Any) -> None:
    house = quiet_house
    async with AsyncExitStack() as stack:
        for role in ("gateway", "orchestrator", "evaluator", "auditor"):
            terms = ApprovalTerms(timeout_ms=300)
            await stack.enter_async_context(running(role, house.parts(role, approvals=terms)))
        pending = await begun(house)
        status = await house.ended(pending.goal_id)
        assert status.outcome == "blocked"
        ground = next(ground for ground in status.grounds if ground.code == "approval_timed_out")
        assert "timed out" in ground.message
        assert "denied by" not in ground.message
        await told(house, pending, "timed_out")
        with pytest.raises(UserError) as refused:
            await decide(house, pending)
        assert refused.value.reason == "approval_timed_out"


@pytest.mark.parametrize(("human", "why"), [("human.mallory", "does not hold"), ("executor", "may not send")])
async def test_who_may_not_approve_is_refused_and_the_goal_still_waits(house: Any, human: str, why: str) -> None:
    pending = await begun(house)
    try:
        await decide(house, pending, human)
    except Exception as error:
        assert why in str(error)
    else:
        letters = await house.until("DEAD", 1, "dead", ">")
        assert why in letters[0].data.decode()
    await decide(house, pending, "human.eve")
    assert (await house.ended(pending.goal_id)).outcome == "released"
