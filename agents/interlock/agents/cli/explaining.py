"""`interlock policy explain GOAL`: what the policies here say of every hop of a goal, and what would be allowed instead.

Each hop is judged again from what is stored, with what its receiver knew: its envelope and the approvals in it, the trust
store, the skills here. Rates count as none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from interlock.agents.approvals.evidence import ApprovalCheck
from interlock.agents.audit.auditor import goal_messages
from interlock.agents.audit.hop_graph import audit_hops
from interlock.agents.cli.session import Session, find_goal
from interlock.agents.goal.task_facts import task_facts
from interlock.agents.workspace.keys import load_trust
from interlock.agents.workspace.policies import policy_bundle
from interlock.bus.authority import payload_type
from interlock.bus.deadletters import DeadLetter
from interlock.bus.hop import Hop
from interlock.bus.policy.facts import facts_of, performer_facts, sender_facts
from interlock.bus.policy.service import PolicyService
from interlock.bus.policy.stage import unanswerable
from interlock.bus.streams import DEAD, HOPS
from interlock.bus.transport import Message, Transport
from interlock.envelope.payloads import PlanVerdict
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Decision, Ground

if TYPE_CHECKING:
    from interlock.skills.registry import Registry

# Nobody judges what is sent to people, and nothing is sent to a gateway.
_UNJUDGED = ("human", "gateway")
# What decided where nothing objects.
ALLOWING = "main.allow: authz allows it and no policy objects"


class _Trusted(Struct, frozen=True):
    trust: Trust


class Explained(Struct, frozen=True):
    """One hop. plan: the evaluator's own verdict where the hop is one. recorded: why it was refused when it came.
    unanswerable: that no approval would help it.
    """

    number: int
    sender: str
    to: list[str]
    payload: str
    decision: str
    grounds: list[Ground] = field(default_factory=list)
    plan: list[Ground] = field(default_factory=list)
    recorded: str = ""
    unanswerable: str = ""


async def explain_goal(session: Session, name: str) -> int:
    from interlock.skills.registry import Registry

    trust = load_trust(session.layout)
    service = PolicyService(policy_bundle(session.layout, session.settings))
    settings = session.settings
    approvals = ApprovalCheck(_Trusted(trust), settings.approvals.terms, settings.hops.limits)
    registry = Registry.load([session.layout.root / path for path in session.settings.skills])
    try:
        async with session.connected(offline=True) as transport:
            status = await find_goal(transport, session.workspace, name)
            messages = await goal_messages(transport, session.workspace, status.goal_id)
            recorded = await refusals(transport, session.workspace, messages)
        explained = await explain(messages, trust, service, registry, recorded, approvals)
    finally:
        service.close()
    for line in lines_of(explained):
        if not session.json:
            session.say(line)
    if session.json:
        session.say("", {"bundle": service.digest, "hops": [msgspec.to_builtins(hop) for hop in explained]})
    return 0


async def refusals(transport: Transport, workspace: str, messages: Sequence[Message]) -> dict[int, str]:
    """Reason and detail of the dead letters of these hops, by sequence."""
    wanted = {message.sequence for message in messages}
    found = {}
    async for message in transport.read(DEAD.name, [workspace_subject(workspace, "dead", ">")]):
        letter = msgspec.json.decode(message.data, type=DeadLetter)
        if letter.stream == HOPS.name and letter.sequence in wanted:
            found[letter.sequence] = f"{letter.reason}: {letter.detail}"
    return found


async def explain(
    messages: Sequence[Message],
    trust: Trust,
    service: PolicyService,
    registry: Registry,
    recorded: dict[int, str],
    approvals: ApprovalCheck,
) -> list[Explained]:
    """In the order of the stream. Hops that nobody trusted has signed are left out: no policy ever saw them."""
    stored = {message.sequence: message for message in messages}
    explained = []
    for number, audited in enumerate(audit_hops(messages, trust).hops, 1):
        envelope = audited.envelope
        if envelope is None or not audited.authentic:
            continue
        hop = Hop(stored[audited.sequence], audited.stored_ms)
        hop.envelope = envelope
        grounds: list[Ground] = []
        decision, no_help = "not judged", ""
        receiver = next((to for to in envelope.recipients if to.partition(".")[0] not in _UNJUDGED), None)
        if receiver is not None:
            sender = sender_facts(trust, envelope.key_id, hop.now_ms)
            facts = facts_of(
                hop,
                sender,
                performer_facts(trust, receiver),
                task=task_facts(hop, registry.find),
                approval=approvals.facts(hop),
            )
            verdict = await service.judge(facts)
            decision, grounds = str(verdict.decision), list(verdict.grounds)
            no_help = unanswerable(verdict, payload_type(envelope))
        plan = envelope.payload.grounds if isinstance(envelope.payload, PlanVerdict) else []
        explained.append(
            Explained(
                number=number,
                sender=envelope.sender,
                to=envelope.recipients,
                payload=payload_type(envelope),
                decision=decision,
                unanswerable=no_help,
                grounds=grounds,
                plan=[Ground(ground.code, ground.message, ground.rule, ground.instead) for ground in plan],
                recorded=recorded.get(audited.sequence, ""),
            )
        )
    return explained


def lines_of(explained: Sequence[Explained]) -> list[str]:
    """For people: one line a hop, and one for each ground and what would be allowed."""
    lines = []
    for hop in explained:
        by = f" ({ALLOWING})" if hop.decision == Decision.ALLOW else ""
        lines.append(f"{hop.number:>3}  {hop.sender} → {', '.join(hop.to)}  {hop.payload}: {hop.decision}{by}")
        if hop.unanswerable:
            lines.append(f"       {hop.unanswerable}")
        for kind, grounds in (("", hop.grounds), ("plan ", hop.plan)):
            for ground in grounds:
                lines.append(f"       {kind}{ground.code} ({ground.rule}): {ground.message}")
                if ground.instead:
                    lines.append(f"         allowed: {ground.instead}")
        if hop.recorded:
            lines.append(f"       refused when it came: {hop.recorded}")
    return lines
