"""Hops as a tree: each below what caused it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct

from interlock.agents.audit.hop_graph import Hop, audit_hops
from interlock.bus.authority import payload_type
from interlock.bus.transport import Message
from interlock.envelope.payloads import Task, TaskResult, Verification
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits


class Branch(Struct):
    """A hop with what it caused. age_ms: since the goal's first hop; took_ms: since its parent was stored."""

    number: int
    sequence: int
    sender: str
    to: str
    intent: str
    kind: str
    about: str
    age_ms: int
    took_ms: int
    cost_usd: str
    verified: bool
    reason: str
    children: list[Branch]


def tree_of(messages: Sequence[Message], trust: Trust, limits: Limits | None = None) -> list[Branch]:
    """The roots: usually one. Hops whose parent is not there, and all that nobody trusted has signed, stand beside it:
    what a stranger claims to be the cause of is not believed.
    """
    hops = audit_hops(messages, trust, limits).hops
    branches: dict[str, Branch] = {}
    roots: list[Branch] = []
    for hop, branch in zip(hops, branches_of(hops), strict=True):
        envelope = hop.envelope
        above = branches.get(_parent_of(hop)) if hop.authentic else None
        (above.children if above is not None else roots).append(branch)
        if envelope is not None and hop.authentic:
            branches.setdefault(envelope.id, branch)
    return roots


class Growing:
    """Branches of one goal, hop by hop in stream order, each without what it caused."""

    def __init__(self) -> None:
        self._number = 0
        self._began_ms = 0
        self._stored: dict[str, int] = {}

    def add(self, hop: Hop) -> Branch:
        self._number += 1
        if self._number == 1:
            self._began_ms = hop.stored_ms
        branch = _branch(self._number, hop, self._began_ms, self._stored.get(_parent_of(hop), hop.stored_ms))
        if hop.envelope is not None and hop.authentic:
            self._stored.setdefault(hop.envelope.id, hop.stored_ms)
        return branch


def branches_of(hops: Sequence[Hop]) -> list[Branch]:
    """Every hop by itself, in stream order, without what it caused."""
    growing = Growing()
    return [growing.add(hop) for hop in hops]


def _parent_of(hop: Hop) -> str:
    envelope = hop.envelope
    return envelope.parent_id if envelope is not None and envelope.parent_id is not UNSET else ""


def _branch(number: int, hop: Hop, began: int, parent_ms: int) -> Branch:
    envelope = hop.envelope
    return Branch(
        number=number,
        sequence=hop.sequence,
        sender=envelope.sender if envelope else "?",
        to=", ".join(envelope.recipients) if envelope else "?",
        intent=envelope.intent if envelope else "?",
        kind=payload_type(envelope) if envelope else "?",
        about=_about(hop),
        age_ms=hop.stored_ms - began,
        took_ms=max(0, hop.stored_ms - parent_ms),
        cost_usd=envelope.cost_estimate.estimated_cost_usd if envelope else "0",
        verified=hop.verified,
        reason="" if hop.verified else f"{hop.reason}: {hop.detail}",
        children=[],
    )


def _about(hop: Hop) -> str:
    payload = hop.envelope.payload if hop.envelope is not None else None
    if isinstance(payload, Task):
        return f"{payload.task_id} #{payload.attempt}"
    if isinstance(payload, TaskResult):
        return f"{payload.task_id}: {payload.outcome}"
    if isinstance(payload, Verification):
        return f"{payload.result.task_id}: {payload.decision}"
    outcome = getattr(payload, "outcome", getattr(payload, "decision", ""))
    return str(outcome)
