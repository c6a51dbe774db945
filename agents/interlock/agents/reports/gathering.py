"""Reads what reports are made of from the streams alone: which goals ended, their hops, their ledger entries, a replay."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

import anyio
from msgspec import Struct

from interlock.agents.audit.auditor import goal_messages, is_truncated
from interlock.agents.audit.hop_graph import HopAudit, audit_hops
from interlock.agents.costs.charges import read_account
from interlock.agents.replay.code import Code
from interlock.agents.replay.decide import replay
from interlock.agents.replay.recording import from_stream
from interlock.agents.reports.facts import GoalFacts, Replayed, facts_of
from interlock.agents.reports.periods import Period
from interlock.bus.gates import TrustSource
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import HOPS
from interlock.bus.transport import Message, Transport
from interlock.envelope.contract_chain import Chain
from interlock.envelope.keys import SigningKey
from interlock.envelope.payloads import Completion
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verification import Limits

MAX_REPLAYED = 50  # goals of a period; the rest stand in the report as not replayed


class Sources(Struct, frozen=True):
    """Where facts come from. code: loads today's deciders, once, when a replay is wanted."""

    transport: Transport
    workspace: str
    trust: TrustSource
    limits: Limits
    chain: Callable[[], Chain | None]
    code: Callable[[], Code]

    def seals(self, role: str) -> Seals:
        """To check what a role sealed; nothing is signed with this key."""
        return Seals(Identity(role, SigningKey.generate()), self.trust)


async def goals_of(sources: Sources, period: Period, *, replayed: bool = False) -> list[GoalFacts]:
    """Goals that ended in the period, in that order. Raises BusError."""
    replays = MAX_REPLAYED if replayed else 0
    return [facts async for facts in _ended(sources, period.start_ms, period.end_ms, replays)]


async def first_goals(sources: Sources, count: int) -> list[GoalFacts]:
    """The first that ended, with their replays. Raises BusError."""
    found: list[GoalFacts] = []
    async with aclosing(_ended(sources, 0, 1 << 62, count)) as goals:
        async for facts in goals:
            found.append(facts)
            if len(found) == count:
                break
    return found


async def began_ms(sources: Sources) -> int | None:
    """When the first goal of the workspace ended; None if none has."""
    async with aclosing(sources.transport.read(HOPS.name, [_ends(sources)])) as messages:
        async for message in messages:
            return message.stored_ms
    return None


async def _ended(sources: Sources, start_ms: int, end_ms: int, replays: int) -> AsyncGenerator[GoalFacts, None]:
    """One at a time: a period may hold more hops than memory."""
    seen: set[str] = set()
    async with aclosing(sources.transport.read(HOPS.name, [_ends(sources)], from_ms=start_ms)) as messages:
        async for message in messages:
            if message.stored_ms >= end_ms:
                break
            goal_id = message.subject.split(".")[4]
            if goal_id in seen or not _is_end(sources, message):
                continue
            seen.add(goal_id)
            again = await _replayed(sources, goal_id) if len(seen) <= replays else None
            facts = await _facts(sources, goal_id, message, again)
            if facts is not None:
                yield facts


async def _facts(sources: Sources, goal_id: str, end: Message, again: Replayed | None) -> GoalFacts | None:
    """As of its end: what came later is of no report."""
    messages = await goal_messages(sources.transport, sources.workspace, goal_id, end.sequence)
    judged = await anyio.to_thread.run_sync(partial(audit_hops, messages, sources.trust.trust, sources.limits))
    audit = HopAudit(judged.hops, is_truncated(messages))
    account = await read_account(sources.transport, sources.workspace, goal_id, sources.seals("gateway"))
    return facts_of(goal_id, audit, account, end.stored_ms, again)


async def _replayed(sources: Sources, goal_id: str) -> Replayed:
    recording = await from_stream(
        sources.transport,
        sources.workspace,
        goal_id,
        seals=sources.seals("orchestrator"),
        chain=sources.chain(),
        limits=sources.limits,
        ended=True,
    )
    report = await anyio.to_thread.run_sync(lambda: replay(recording, sources.code()))
    first = report.first
    told = "" if first is None else f"at hop {first.sequence} of goal {goal_id}: {first.what}"[:300]
    return Replayed(report.decisions, report.equal, told)


def _is_end(sources: Sources, message: Message) -> bool:
    """Whether the orchestrator said so: anybody else's word ends no goal."""
    hop = audit_hops([message], sources.trust.trust, sources.limits).hops[0]
    return hop.authentic and hop.envelope is not None and isinstance(hop.envelope.payload, Completion)


def _ends(sources: Sources) -> str:
    return workspace_subject(sources.workspace, "role", "human", "*", "complete")
