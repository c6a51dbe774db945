"""Closing a goal's scope when the goal has ended, so that the day gets back what the goal did not use.

The orchestrator's signed completion says so, overheard on its way to the human: nobody can close a goal by asking. If a
completion is missed, what the day holds for its goal expires.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock.bus.gates import TrustSource
from interlock.bus.ledger.client import Ask, end_goal
from interlock.bus.transport import Message, Transport
from interlock.envelope.ids import role_of
from interlock.envelope.payloads import Completion
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verification import Limits, check_route, check_signature, decode

log = logging.getLogger("interlock.gateway")


class Closing:
    """Use as `async with closing.running():`, beside the ledger writer."""

    def __init__(self, transport: Transport, workspace: str, ledger: Ask, trust: TrustSource, limits: Limits) -> None:
        self._transport = transport
        self._workspace = workspace
        self._ledger = ledger
        self._trust = trust
        self._limits = limits

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        subject = workspace_subject(self._workspace, "role", "human", "*", "complete")
        async with self._transport.subscribe(subject, self._on_completion):
            yield

    async def _on_completion(self, message: Message) -> None:
        goal_id = self._ended(message)
        if goal_id:
            answer = await end_goal(self._ledger, goal_id)
            if not answer.granted:
                log.warning("the budget of goal %s is not given back yet: %s", goal_id, answer.reason)

    def _ended(self, message: Message) -> str:
        """The goal that an orchestrator of this workspace says has ended; empty for whatever else is said there."""
        envelope = decode(message.data, self._limits).envelope
        if (
            envelope is None
            or not isinstance(envelope.payload, Completion)
            or role_of(envelope.sender) != "orchestrator"
        ):
            return ""
        authentic = check_signature(envelope, self._trust.trust, self._transport.clock.now_ms()).ok
        return envelope.goal_id if authentic and check_route(envelope, message.subject, "human").ok else ""
