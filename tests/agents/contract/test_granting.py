"""Tasks and their tokens, all roles running: what the executor runs, and what a hijacked orchestrator cannot make it run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.orchestration import orchestrator
from interlock.agents.orchestration.granting import with_grants
from interlock.agents.wiring import running
from interlock.envelope.capability_token import read_grant
from interlock.envelope.model import Attestation, Envelope
from interlock.envelope.payloads import Task
from tests.agents.conftest import ROLES

pytestmark = pytest.mark.anyio
TASKS = [{"id": "a", "skill": "echoing-input"}, {"id": "b", "skill": "doing-nothing", "after": ["a"]}]


async def tasks_of(house: Any, goal_id: str) -> list[Envelope]:
    acts = await house.messages("HOPS", "role", "executor", goal_id, "act")
    return [msgspec.json.decode(act.data, type=Envelope) for act in acts]


async def test_every_task_carries_a_token_for_itself(house: Any) -> None:
    status = await house.run(house.goal(TASKS))
    assert status.outcome == "released", status.grounds
    for envelope in await tasks_of(house, status.goal_id):
        first, last = (read_grant(one) for one in envelope.attestations)
        assert first is not None
        assert last is not None
        assert (first.given_by, first.holder, first.envelope) == ("gateway", "orchestrator", None)
        assert (last.given_by, last.holder, last.envelope) == ("orchestrator", "executor", envelope.id)
        assert isinstance(envelope.payload, Task)
        assert last.resources == [f"skill:{envelope.payload.skill}"]


@pytest.mark.parametrize("how", ["none", "of another task", "first grant only"])
async def test_a_task_without_its_own_token_is_not_run(
    quiet_house: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """An orchestrator gone wrong: its envelopes are signed and true, its tokens are not."""
    taken: list[Sequence[Attestation]] = []

    def wrong(send: Any, *more: Any) -> Any:
        made = with_grants(send, *more)
        if not isinstance(send.draft.payload, Task):
            return made
        taken.append(made.draft.attestations)
        attestations = {"none": [], "of another task": taken[0], "first grant only": taken[0][:1]}[how]
        return replace(made, draft=replace(made.draft, attestations=attestations))

    monkeypatch.setattr(orchestrator, "with_grants", wrong)
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, quiet_house.parts(role)))
        status = await quiet_house.run(quiet_house.goal(TASKS))
    assert status.outcome == "failed"
    told = " ".join(f"{ground.code}: {ground.message}" for ground in status.grounds)
    assert "token_missing" in told or "token_elsewhere" in told
    results = await quiet_house.messages("HOPS", "role", "evaluator", status.goal_id, "observe")
    outcomes = [msgspec.json.decode(result.data)["payload"]["outcome"] for result in results]
    assert (
        outcomes
        == {
            "none": [],  # no evaluator takes a result without the goal's grant: the orchestrator is told
            "of another task": ["done", "token_elsewhere"],
            "first grant only": ["token_elsewhere"],
        }[how]
    )
