"""Who tries to put back what is not his to put back, and what a halt refused the first time."""

from __future__ import annotations

import msgspec
import pytest

from interlock.agents.dead.letters import read_letters
from interlock.agents.wiring import running
from interlock.bus.deadletters import DeadLetter, bury
from interlock.bus.redriving import REDRIVE
from interlock.bus.streams import DEAD, HOPS
from interlock.envelope.ids import sha256_hex
from interlock.envelope.redrive import order_text, sign_redrive
from tests.agents.conftest import InProcess
from tests.agents.dead.test_redrive import TASKS, all_but, given_up, letters, redriver, refused
from tests.agents.intake.test_refusals import Switch

pytestmark = pytest.mark.anyio


async def test_poison_that_an_executor_puts_back_with_its_own_key_dies_again(quiet_house: InProcess) -> None:
    """Who holds the executor's key may publish results; an order of its own for one that died is nobody's order."""
    house = quiet_house
    async with all_but(house, "evaluator"):
        async with running("evaluator", house.parts("evaluator")):
            goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
            await house.until(HOPS.name, 1, "role", "executor", goal_id, "act")
        poison = await given_up(house, "evaluator", "observe")
        order = sign_redrive(
            house.keys.agents["executor"],
            workspace=house.workspace,
            stream=HOPS.name,
            sequence=poison.sequence,
            digest=sha256_hex(poison.data),
            number=1,
            why="",
            by="executor",
            at_ms=house.transport.clock.now_ms(),
        )
        await house.transport.publish(
            poison.subject, poison.data, message_id=order.message_id, headers={REDRIVE: order_text(order)}
        )
        async with running("evaluator", house.parts("evaluator")):
            (message,) = await house.until(DEAD.name, 1, "dead", "evaluator", "replayed")
        letter = msgspec.json.decode(message.data, type=DeadLetter)
        assert "policy_denied: executor may not put dead letters back" in letter.detail
        assert [one.order for one in await read_letters(house.transport, house.workspace, house.keys.trust)] == [
            None
        ] * 2


async def test_a_goal_that_a_halt_refused_is_put_back_after_it(
    quiet_house: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused stays refused under its id: the letter stands for its next one then, and for that one goal only."""
    monkeypatch.setattr("interlock.agents.intake.gateway.REFUSE_AFTER_MS", 20)
    house, control = quiet_house, Switch()
    subject = f"interlock.{house.workspace}.goal.submit"
    await house.transport.send(subject, msgspec.json.encode(house.goal(TASKS)))
    (stored,) = await house.until("GOALS", 1, "goal", "submit")
    await bury(house.transport, house.workspace, "gateway", "GOALS", stored, reason="x", detail="", now_ms=1)
    (entry,) = await letters(house)
    control.off = True
    async with running("gateway", house.parts("gateway", control=control)):
        for _ in range(2):
            assert await refused(house, entry) == "invalid_goal"
            await house.past_dedupe()
        control.off = False
        put = await redriver(house).put_back(entry)
        await house.past_dedupe()
        assert (await redriver(house).put_back(entry)).became == put.became
    intakes = [
        one.subject.split(".")[4] for one in await house.messages(HOPS.name, "role", "orchestrator", "*", "plan")
    ]
    assert intakes.count(put.became) == 1
