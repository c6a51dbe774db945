"""Verdicts that go beyond the intake of their goal: the orchestrator holds it, and refuses them (envelope.md, Children)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from interlock.agents.wiring import running
from interlock.bus.sender import Identity
from interlock.envelope.amounts import Budget, clock_ms
from interlock.envelope.children import Draft, derive, origin_of
from interlock.envelope.payloads import PlanDraft, PlanVerdict, RiskAssessment
from interlock.envelope.signing import seal
from interlock.envelope.verification import decode

pytestmark = pytest.mark.anyio
RISK = RiskAssessment(tier="minimal", reasons=["x"], oversight="none", obligations=[])
WEALTH = Budget(thinking_tokens=10, cost_usd="999", wall_ms=10**9, actions=10**6)


async def until_dead(house: Any) -> Any:
    with anyio.fail_after(10):
        while not (found := await house.messages("DEAD", "dead", "orchestrator", ">")):
            await anyio.sleep(0.005)
    return found[-1]


@pytest.mark.parametrize(
    ("what", "reason"),
    [("deadline", b"bad_parent"), ("budget", b"bad_parent"), ("capabilities", b"contract_mismatch")],
)
async def test_a_verdict_wider_than_its_goal_is_refused(quiet_house: Any, what: str, reason: bytes) -> None:
    house = quiet_house
    async with running("gateway", house.parts("gateway")), running("orchestrator", house.parts("orchestrator")):
        goal_id = (await house.submit(house.goal([{"id": "a", "skill": "doing-nothing"}])))["goalId"]
        (message,) = await house.until("HOPS", 1, "role", "evaluator", goal_id, "plan")
        checked = decode(message.data)
        assert checked.envelope is not None and isinstance(checked.envelope.payload, PlanDraft)
        identity: Identity = house.identity("evaluator")
        verdict = PlanVerdict(
            decision="allow", grounds=[], risk=RISK, gates=[], estimated_cost_usd="0", cost_ceiling_usd="0"
        )
        draft = Draft(to="orchestrator", intent="observe", payload=verdict, step="verdict")
        made = derive(
            origin_of(checked.envelope, checked.digest),
            draft,
            sender="evaluator",
            key_id=identity.key.key_id,
            now_ms=clock_ms(),
        )
        wider = {
            "deadline": {"ttl_ms": made.ttl_ms + 1},
            "budget": {"budget": WEALTH, "thinking_budget": WEALTH.thinking_tokens},
            "capabilities": {"policy_context": replace(made.policy_context, capabilities=["*"])},
        }
        forged = seal(replace(made, **wider[what]), identity.key)
        await house.transport.publish(forged.envelope.subject, forged.wire, message_id=forged.envelope.id)
        letter = await until_dead(house)
        assert reason in letter.data
        assert await house.messages("HOPS", "role", "executor", goal_id, "act") == []
