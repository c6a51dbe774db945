"""A reader of KV `goals` is not lied to about how a goal ended: the completion that was signed says so."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from interlock.agents.cli.confirming import (
    BEHIND_MS,
    Signed,
    contradiction,
    contradictions,
    problem_of,
    unfounded,
)
from interlock.agents.status import GoalStatus
from interlock.agents.wiring import ROLES, running
from interlock.envelope.ids import new_id
from interlock.envelope.payloads import ArtefactRef
from interlock.envelope.verification import Limits
from tests.agents.audit.histories import COMPLETION

pytestmark = pytest.mark.anyio
OTHER = ArtefactRef(name="bundle.zip", digest="sha256:" + "0" * 64, size=1, media_type="application/zip")


async def told(house: Any, status: GoalStatus) -> str:
    return await contradiction(house.transport, status, house.keys.trust, Limits())


async def test_how_a_goal_ended_is_what_was_signed(house: Any) -> None:
    released = await house.run(house.goal([{"id": "a", "skill": "doing-nothing"}]))
    failed = await house.run(house.goal([{"id": "a", "skill": "failing-always"}]))
    assert (released.outcome, failed.outcome) == ("released", "failed")
    assert [await told(house, status) for status in (released, failed)] == ["", ""]
    assert await told(house, replace(failed, outcome="released")) == "signed is that it ended failed, not released"
    assert await told(house, replace(released, outcome="failed")) == "signed is that it ended released, not failed"
    assert await told(house, replace(released, deliverable=OTHER)) == "signed is another deliverable"
    elsewhere = replace(released, goal_id=new_id(1_763_700_000_000))
    assert await told(house, elsewhere) == "no completion of it is signed"
    assert await told(house, replace(elsewhere, outcome="failed")) == "", "past its deadline nothing may be sent"
    assert await told(house, replace(elsewhere, outcome="", phase="running")) == ""


async def test_a_release_that_nothing_stands_behind_is_not_confirmed(quiet_house: Any) -> None:
    """An orchestrator that does not look at the contract: all else of it is as it should be, also its signature."""
    house = quiet_house
    house.keys.change_contract(gates=["G0", "G9"])
    async with AsyncExitStack() as stack:
        for role in ROLES:
            parts = house.parts(role)
            lone = replace(parts, contract=None) if role == "orchestrator" else parts
            await stack.enter_async_context(running(role, lone))
        status = await house.run(house.goal([{"id": "a", "skill": "doing-nothing"}]))
    assert status.outcome == "released" and await told(house, status) == ""
    trust = house.keys.trust
    problem = await unfounded(house.transport, status, trust, Limits(), house.keys.chain)
    assert problem == "released, but gates that the contract names were not passed: G9"
    assert await unfounded(house.transport, status, trust, Limits(), None) == "", "all that is known without a contract"
    assert await unfounded(house.transport, replace(status, outcome="blocked"), trust, Limits(), house.keys.chain) == ""
    aged = replace(status, goal_id=new_id(1_763_700_000_000))
    assert await unfounded(house.transport, aged, trust, Limits(), house.keys.chain) == "", "the stream has let it go"


async def test_a_completion_that_no_orchestrator_signed_confirms_nothing(house: Any) -> None:
    failed = await house.run(house.goal([{"id": "a", "skill": "failing-always"}]))
    (completion,) = await house.messages("HOPS", "role", "human", failed.goal_id, "complete")
    forged = completion.data.replace(b'"outcome":"failed"', b'"outcome":"blocked"')
    await house.transport.publish(completion.subject, forged, message_id="forged")
    assert await told(house, failed) == ""
    assert await told(house, replace(failed, outcome="blocked")) == "signed is that it ended failed, not blocked"


async def test_a_list_of_goals_is_confirmed_in_one_reading(house: Any) -> None:
    ended = [
        await house.run(house.goal([{"id": "a", "skill": skill}])) for skill in ("doing-nothing", "failing-always")
    ]
    assert await contradictions(house.transport, house.workspace, ended, house.keys.trust, Limits()) == {}
    told_wrong = [replace(status, outcome="released") for status in ended]
    assert await contradictions(house.transport, house.workspace, told_wrong, house.keys.trust, Limits()) == {
        ended[1].goal_id: "signed is that it ended failed, not released"
    }
    assert await contradictions(house.transport, house.workspace, [], house.keys.trust, Limits()) == {}


async def test_a_goal_that_is_said_to_go_on_long_after_its_end_is_told(house: Any) -> None:
    status = replace(await house.run(house.goal([{"id": "a", "skill": "doing-nothing"}])), phase="running", outcome="")
    assert await told(house, status) == "", "a status may be behind for a moment"
    assert problem_of(status, Signed(COMPLETION, 1_000), 1_000 + BEHIND_MS) == ""
    assert problem_of(status, Signed(COMPLETION, 1_000), 1_001 + BEHIND_MS) == "signed is that it ended released"
