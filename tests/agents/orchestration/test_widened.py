"""What goes beyond what its goal was given, refused by each role that it comes to (envelope.md, Children): the orchestrator
holds the intake, the others are shown what the gateway signed.
"""

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
from tests.envelope.samples import PAYLOADS

pytestmark = pytest.mark.anyio
RISK = RiskAssessment(tier="minimal", reasons=["x"], oversight="none", obligations=[])
WEALTH = Budget(thinking_tokens=10, cost_usd="999", wall_ms=10**9, actions=10**6)


async def until_dead(house: Any, role: str = "orchestrator") -> Any:
    with anyio.fail_after(10):
        while not (found := await house.messages("DEAD", "dead", role, ">")):
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
        wider: dict[str, dict[str, Any]] = {
            "deadline": {"ttl_ms": made.ttl_ms + 1},
            "budget": {"budget": WEALTH, "thinking_budget": WEALTH.thinking_tokens},
            "capabilities": {"policy_context": replace(made.policy_context, capabilities=["*"])},
        }
        forged = seal(replace(made, **wider[what]), identity.key)
        await house.transport.publish(forged.envelope.subject, forged.wire, message_id=forged.envelope.id)
        letter = await until_dead(house)
        assert reason in letter.data
        assert await house.messages("HOPS", "role", "executor", goal_id, "act") == []


@pytest.mark.parametrize("what", ["deadline", "no grant", "another goal's grant"])
@pytest.mark.parametrize("kind", ["plan_draft", "task_result", "audit_request", "knowledge_request"])
async def test_workers_refuse_what_exceeds_what_the_gateway_gave(quiet_house: Any, kind: str, what: str) -> None:
    """Signed by the right role, on its own route, with its real parent's name: only wider than the goal."""
    house = quiet_house
    sender, to, intent, payload = PAYLOADS[kind]
    async with running("gateway", house.parts("gateway")), running(to, house.parts(to)):
        goals = [house.goal([{"id": "a", "skill": "doing-nothing"}], goal=text) for text in ("one", "another")]
        ids = [(await house.submit(goal))["goalId"] for goal in goals]
        begun, other = [
            decode((await house.until("HOPS", 1, "role", "orchestrator", goal_id, "plan"))[0].data) for goal_id in ids
        ]
        assert begun.envelope is not None
        assert other.envelope is not None
        key = house.identity(sender).key
        draft = Draft(to=to, intent=intent, payload=payload, step="wider", attestations=begun.envelope.attestations)
        made = derive(
            origin_of(begun.envelope, begun.digest), draft, sender=sender, key_id=key.key_id, now_ms=clock_ms()
        )
        wider: dict[str, dict[str, Any]] = {
            "deadline": {"ttl_ms": made.ttl_ms + 1},
            "no grant": {"attestations": []},
            "another goal's grant": {"attestations": other.envelope.attestations},
        }
        forged = seal(replace(made, **wider[what]), key)
        await house.transport.publish(forged.envelope.subject, forged.wire, message_id=forged.envelope.id)
        letter = await until_dead(house, to)
        assert b"bad_parent" in letter.data
        told = await house.until("HOPS", 1, "role", "orchestrator", ids[0], "escalate")
        assert b"undeliverable" in told[0].data, "the goal hears of it"
