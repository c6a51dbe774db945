"""Goals on the bus: handed in like anybody's, their results read from hops that verify."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from msgspec.structs import replace

from interlock.agents.artefacts import get_artefact
from interlock.agents.audit.auditor import goal_messages
from interlock.agents.audit.hop_graph import audit_hops
from interlock.agents.blueprints.ports import Ended
from interlock.agents.cli.submission import publish_goal, wait_for_end
from interlock.agents.status import GoalStatus
from interlock.bus.tasks import background
from interlock.bus.transport import Message, Transport
from interlock.envelope.ids import role_of
from interlock.envelope.payloads import HumanDecision, TaskResult
from interlock.envelope.trust import Trust

Answer = Callable[[str], Coroutine[Any, Any, None]]
Refuse = Callable[[str, str], Coroutine[Any, Any, bool]]


class BusGoals:
    """answer: deals with the approvals that a goal asks for, by its id, until cancelled; without one, somebody else does.
    refuse: takes back those that wait, by the goal's id and the reason (see ports.Goals.withdraw).
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        trust: Callable[[], Trust],
        refuse: Refuse,
        answer: Answer | None = None,
    ) -> None:
        self._transport = transport
        self._workspace = workspace
        self._trust = trust
        self._refuse = refuse
        self._answer = answer

    async def withdraw(self, goal_id: str, why: str) -> bool:
        """Raises BusError, UserError."""
        return await self._refuse(goal_id, why)

    async def run(self, goal: dict[str, Any], goal_id: str) -> Ended:
        """Raises BusError where the broker is away, UserError where the gateway refuses the goal."""
        await publish_goal(self._transport, self._workspace, msgspec.json.encode(goal), goal_id)
        async with background() as group:
            if self._answer is not None:
                group.start_soon(self._answer, goal_id)
            status = await wait_for_end(self._transport, self._workspace, goal_id, _show_nothing)
        messages = await goal_messages(self._transport, self._workspace, goal_id)
        ended = read_end(goal_id, status, messages, self._trust())
        files = [file for result in ended.results.values() for file in result.files if file.name.endswith(".yaml")]
        proposals = {file.name: await get_artefact(self._transport, file) for file in files}
        return replace(ended, proposals=proposals)


def read_end(goal_id: str, status: GoalStatus, messages: list[Message], trust: Trust) -> Ended:
    """Results and approvals of a goal's hops; what does not verify is not there. Pure."""
    results: dict[str, TaskResult] = {}
    approvers = []
    for hop in audit_hops(messages, trust).hops:
        if not hop.verified or hop.envelope is None:
            continue
        payload, sender = hop.envelope.payload, hop.envelope.sender
        if isinstance(payload, TaskResult) and role_of(sender) == "executor":
            results[payload.task_id] = payload
        if isinstance(payload, HumanDecision) and payload.decision == "allow":
            approvers.append(sender)
    return Ended(goal_id, status, results, ", ".join(dict.fromkeys(approvers)))


def _show_nothing(_status: GoalStatus | None, _hops: int) -> None:
    return
