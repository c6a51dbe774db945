"""The hops of the goals looked at last, read and verified on from where they stood."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import anyio.to_thread

from interlock.agents.audit.auditor import MOST_HOPS, is_truncated
from interlock.agents.audit.hop_graph import HopAudit, Memo, audit_hops
from interlock.bus.streams import HOPS
from interlock.bus.transport import Message, Transport
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits

MOST_GOALS = 4


class GoalHops:
    """The hops of the goals looked at last: what was read and verified before is not read and verified again."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Message]] = {}
        self._memos: dict[str, Memo] = {}
        self._lock = anyio.Lock()

    async def audit(self, transport: Transport, workspace: str, goal_id: str, trust: Trust, limits: Limits) -> HopAudit:
        async with self._lock:
            messages = self._messages.pop(goal_id, [])
            self._messages[goal_id] = messages
            memo = self._memos.setdefault(goal_id, Memo(MOST_HOPS.hops + 1))
            while len(self._messages) > MOST_GOALS:
                oldest = next(iter(self._messages))
                del self._messages[oldest], self._memos[oldest]
            if not is_truncated(messages):
                await self._read_on(transport, workspace_subject(workspace, "role", "*", goal_id, ">"), messages)
            audit = await anyio.to_thread.run_sync(audit_hops, list(messages), trust, limits, memo)
            return HopAudit(audit.hops, is_truncated(messages))

    async def _read_on(self, transport: Transport, subject: str, messages: list[Message]) -> None:
        first = messages[-1].sequence + 1 if messages else 1
        held_bytes = sum(len(message.data) for message in messages)
        async with aclosing(transport.read(HOPS.name, [subject], from_sequence=first)) as reading:
            async for message in reading:
                messages.append(message)
                held_bytes += len(message.data)
                if len(messages) > MOST_HOPS.hops or held_bytes > MOST_HOPS.total_bytes:
                    return
