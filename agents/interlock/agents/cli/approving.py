"""`interlock approvals`, `approve`, `reject`; what `run` does about approvals on its way."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import aclosing
from typing import Literal, TextIO

import anyio
import msgspec

from interlock.agents.approvals.deciding import Asked, find_request, send_decision
from interlock.agents.approvals.view import (
    BUCKET,
    ApprovalStatus,
    read_approval,
    read_approvals,
)
from interlock.agents.cli.session import Session
from interlock.agents.cli.terminal import TERMINAL
from interlock.agents.errors import UserError
from interlock.agents.trace.render import visible
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.kv import kv_entries
from interlock.bus.sender import Identity, Sender
from interlock.bus.transport import Transport
from interlock.envelope.approval import may_approve
from interlock.envelope.ids import is_agent_id, role_of
from interlock.envelope.trust import Trust

Approve = Literal["ask", "auto", "never"]
COUNTED_S = 10.0
MAX_TASKS_SHOWN = 40
BY_ITSELF = {"auto": "approved by `run --approve auto`", "never": "`run --approve never` takes no approvals"}


class Signer:
    """A human with a key here, and what everybody's keys may do. Raises UserError when there is no such human."""

    def __init__(self, session: Session, agent: str) -> None:
        if not is_agent_id(agent) or role_of(agent) != "human":
            raise UserError("not_human", f"{agent[:80]!r} is no human", "Give --as human or --as human.NAME", 2)
        self.session = session
        self.identity = Identity(agent, load_key(session.layout, agent))
        self.trust: Trust = load_trust(session.layout)

    def check(self, operation: str) -> None:
        """Raises UserError if a decision of this human would be refused anyway."""
        key = self.trust.find(self.identity.key.key_id)
        if key is None or not may_approve(key.capabilities, operation):
            held = "nothing" if key is None else ", ".join(key.capabilities) or "nothing"
            told = f"{self.identity.agent} does not hold approve:{operation}; held: {held}"
            raise UserError("not_entitled", told, "Let somebody decide who may", 2)

    async def decide(
        self, transport: Transport, status: ApprovalStatus, asked: Asked, *, allows: bool, reason: str
    ) -> None:
        self.check(status.operation)
        sender = Sender(transport, self.identity, self.session.settings.hops.limits)
        await send_decision(sender, asked, allows=allows, reason=reason, now_ms=transport.clock.now_ms())

    async def find(self, transport: Transport, status: ApprovalStatus) -> Asked:
        limits = self.session.settings.hops.limits
        workspace = self.session.workspace
        return await find_request(transport, workspace, status.goal_id, status.approval_id, self.trust, limits)


async def list_approvals(session: Session, every: bool) -> int:
    """Those that wait, or with every also those that ended."""
    async with session.connected(offline=True) as transport:
        found = await read_approvals(transport, session.workspace)
    shown = [status for status in found if every or status.state == "pending"]
    if session.json:
        session.say("", [msgspec.to_builtins(status) for status in shown])
        return 0
    for status in shown:
        session.say(f"{status.approval_id}  {told(status)}\n  {visible(status.question)}")
    if not shown:
        session.say("nothing waits for approval")
    return 0


async def decide_approval(session: Session, name: str, *, allows: bool, reason: str, agent: str) -> int:
    """Exit 0 when the decision counts, 2 when it came too late or may not be made."""
    signer = Signer(session, agent)
    async with session.connected(offline=True, agent=agent) as transport:
        status = find_approval(await read_approvals(transport, session.workspace), name)
        if status.state != "pending":
            raise UserError("already_decided", f"approval {status.approval_id} is {status.state}", exit_code=2)
        asked = await signer.find(transport, status)
        if not session.json:
            session.say("\n".join(shown_lines(asked)))
        await signer.decide(transport, status, asked, allows=allows, reason=reason)
        counted = await counted_by(transport, session.workspace, status, agent)
    if counted is None:
        session.say(f"signed; no orchestrator has counted it within {COUNTED_S:.0f} s", msgspec.to_builtins(status))
        return 0
    session.say(told(counted), msgspec.to_builtins(counted))
    mine = any(decision.by == agent for decision in counted.decisions)
    return 0 if mine else 2


async def answer_on_the_way(session: Session, transport: Transport, goal_id: str, mode: Approve, out: TextIO) -> None:
    """Decides what the goal asks for, or tells how to, until cancelled."""
    known: set[str] = set()
    async with aclosing(kv_entries(transport, BUCKET, f"{session.workspace}.{goal_id}", follow=True)) as entries:
        async for entry in entries:
            status = msgspec.json.decode(entry.value, type=ApprovalStatus)
            if status.state != "pending" or status.approval_id in known:
                continue
            known.add(status.approval_id)
            if mode == "ask" and not (sys.stdin.isatty() and out.isatty()):
                out.write(f"waits for approval until {status.expires_at}: interlock approve {status.approval_id}\n")
                out.flush()
                continue
            signer = Signer(session, "human")
            asked = await signer.find(transport, status)
            allows, reason = mode == "auto", BY_ITSELF.get(mode, "")
            if mode == "ask":
                allows, reason = await _ask(asked, out)
            await signer.decide(transport, status, asked, allows=allows, reason=reason)


def find_approval(found: Sequence[ApprovalStatus], name: str) -> ApprovalStatus:
    """By its id, or a unique beginning or end of it. Raises UserError."""
    matching = [status for status in found if status.approval_id.startswith(name) or status.approval_id.endswith(name)]
    if len(matching) == 1 and name:
        return matching[0]
    if matching and name:
        raise UserError("ambiguous_approval", f"{len(matching)} approvals match {name[:64]}", "Give the whole id", 2)
    raise UserError("unknown_approval", f"there is no approval {name[:64]!r}", "`interlock approvals` lists them", 2)


def told(status: ApprovalStatus) -> str:
    given = sum(decision.decision == "approved" for decision in status.decisions)
    by = ", ".join(f"{decision.decision} by {decision.by}" for decision in status.decisions)
    return (
        f"{status.state} ({given} of {status.needed}) {status.operation} of {visible(status.target)}"
        f", until {status.expires_at}{f': {by}' if by else ''}"
    )


def shown_lines(asked: Asked) -> list[str]:
    """What is to be decided, from the verified request itself."""
    request = asked.request
    lines = [visible(request.question), f"  operation  {request.operation} of {visible(request.target)}"]
    if asked.plan is not None and request.operation == "plan.start":
        lines.append(f"  goal       {visible(asked.plan.intake.goal)}")
        specs = [*asked.plan.tasks, *([asked.plan.release] if asked.plan.release else [])]
        lines += [f"  task       {visible(spec.id)}: {visible(spec.skill)}" for spec in specs[:MAX_TASKS_SHOWN]]
        if len(specs) > MAX_TASKS_SHOWN:
            lines.append(f"  …          {len(specs) - MAX_TASKS_SHOWN} more tasks")
    else:
        lines.append(f"  arguments  {visible(msgspec.json.encode(request.arguments).decode())}")
    lines += [f"  because    {visible(ground.message)}" for ground in request.grounds]
    return [*lines, f"  digest     {request.action_digest}"]


async def _ask(asked: Asked, out: TextIO) -> tuple[bool, str]:
    answer = (await TERMINAL.ask("\n" + "\n".join(shown_lines(asked)) + "\napprove? [y/N] ", out)).strip()
    allows = answer.lower() in ("y", "yes")
    return allows, "approved at the terminal" if allows else "not approved at the terminal"


async def counted_by(transport: Transport, workspace: str, asked: ApprovalStatus, agent: str) -> ApprovalStatus | None:
    """The approval once this human's decision counts or it has ended; None if that does not come in time."""
    with anyio.move_on_after(COUNTED_S):
        while True:
            status = await read_approval(transport, workspace, asked.goal_id, asked.approval_id)
            if status is not None and (status.state != "pending" or any(d.by == agent for d in status.decisions)):
                return status
            await anyio.sleep(0.05)
    return None
