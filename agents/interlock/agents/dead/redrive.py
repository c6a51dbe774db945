"""Putting a dead letter back: a hop as a copy under a signed order, a goal by handing it in again (BUS-07).

What is put back is what the stream holds, not what the letter says. A hop whose goal has ended, whose receiver has
answered it after all, or which every receiver would refuse again, is not put back: the goal would not learn of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.audit.auditor import goal_messages
from interlock.agents.audit.hop_graph import HopAudit, audit_hops
from interlock.agents.dead.letters import PUT_BACK, Entry, Note
from interlock.agents.errors import UserError
from interlock.agents.intake.handed_in import REFUSED_BEFORE
from interlock.agents.status import read_status
from interlock.bus.errors import Unavailable
from interlock.bus.redriving import REDRIVE
from interlock.bus.sender import Identity
from interlock.bus.streams import GOALS, HOPS
from interlock.bus.telemetry.propagation import TRACEPARENT
from interlock.bus.transport import MESSAGE_ID, Message, Transport
from interlock.envelope.ids import new_id, role_of, sha256_hex
from interlock.envelope.model import Envelope
from interlock.envelope.redrive import RedriveOrder, may_redrive, order_text, read_redrive, sign_redrive
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits, check_freshness

ANSWER_MS = 10_000
# How often a goal may be refused by a halt and put back again.
MOST_TRIES = 16
SUBMIT_AGAIN = "Submit the goal again"
NEWER = "If it died again, put back the newer letter"


class PutBack(Struct, frozen=True):
    """order: who put it back, and when. became: the copy's sequence in HOPS, or the goal's id."""

    order: RedriveOrder
    became: str


class Redriver:
    """Puts letters of one workspace back on behalf of identity. limits: those its receivers verify with."""

    def __init__(
        self, transport: Transport, workspace: str, identity: Identity, trust: Trust, limits: Limits, why: str = ""
    ) -> None:
        """Raises UserError if identity may not."""
        key = trust.find(identity.key.key_id)
        if key is None or not may_redrive(identity.agent, key.capabilities):
            detail = f"{identity.agent} may not put dead letters back"
            raise UserError("not_allowed", detail, "A human's key may, and one with the capability dead:redrive", 2)
        self._transport = transport
        self._workspace = workspace
        self._identity = identity
        self._trust = trust
        self._limits = limits
        self._why = why

    async def put_back(self, entry: Entry) -> PutBack:
        """Raises UserError (exit 2) for what cannot be put back, BusError."""
        letter = entry.letter
        if letter is None:
            raise _refused("unreadable", entry, "it is no dead letter", "`interlock dead show` shows what it is")
        if entry.order is not None:
            told = f"{entry.order.by} put it back at {entry.order.at}"
            raise _refused("already_redriven", entry, told, NEWER)
        if letter.stream == GOALS.name and entry.role == "gateway":
            done = await self._goal(entry)
        elif letter.stream == HOPS.name:
            done = await self._hop(entry, letter.sequence)
        else:
            raise _refused("not_redrivable", entry, f"{letter.stream[:32]} is not put back", "Hops and goals are")
        note = Note(entry.id, order_text(done.order), done.became)
        await self._transport.publish(
            workspace_subject(self._workspace, "dead", *PUT_BACK),
            msgspec.json.encode(note),
            message_id=f"redriven-{self._workspace}-{entry.id}",
        )
        return done

    async def _hop(self, entry: Entry, sequence: int) -> PutBack:
        stored = await self._transport.get(HOPS.name, sequence)
        tokens = [] if stored is None else stored.subject.split(".")
        if stored is None or stored.data != entry.original or tokens[1:2] != [self._workspace] or len(tokens) < 6:
            detail = f"HOPS {sequence} is not what the letter says"
            raise _refused(
                "not_as_stored", entry, detail, "`interlock audit check` tells whether the stream was changed"
            )
        messages = await goal_messages(self._transport, self._workspace, tokens[4])
        audit = audit_hops(messages, self._trust, self._limits)
        hop = next((hop for hop in audit.hops if hop.sequence == sequence), None)
        if hop is None or not hop.verified or hop.envelope is None:
            why = "its goal has too many hops" if hop is None else f"{hop.reason}: {hop.detail}"
            raise _refused("not_redrivable", entry, f"it would be refused again: {why[:200]}", SUBMIT_AGAIN)
        copies = {other.sequence for other in audit.hops if other.redriven and other.digest == hop.digest}
        begun = _begun([message for message in messages if message.sequence in copies], sequence)
        if begun is not None:  # whoever put it back did not live to note it
            return begun
        if max(copies, default=0) > sequence:
            detail = f"it was put back already, as HOPS {max(copies)}"
            raise _refused("already_redriven", entry, detail, NEWER)
        await self._check_use(entry, hop.envelope, audit)
        order = self._order(HOPS.name, sequence, hop.digest, len(copies) + 1)
        envelope = hop.envelope
        ack = await self._transport.publish(
            envelope.subject,
            stored.data,
            message_id=order.message_id,
            headers={
                REDRIVE: order_text(order),
                TRACEPARENT: f"00-{envelope.trace_id}-{envelope.span_id}-01",
            },
        )
        if ack.duplicate:
            raise _refused("already_redriven", entry, f"somebody put it back just now, as HOPS {ack.sequence}", "")
        return PutBack(order, str(ack.sequence))

    async def _check_use(self, entry: Entry, envelope: Envelope, audit: HopAudit) -> None:
        fresh = check_freshness(envelope, self._transport.clock.now_ms(), self._limits)
        if not fresh.ok:
            raise _refused(str(fresh.reason), entry, fresh.detail, SUBMIT_AGAIN)
        status = await read_status(self._transport, self._workspace, envelope.goal_id)
        if status is not None and status.phase == "ended":
            raise _refused("goal_ended", entry, f"goal {envelope.goal_id} ended {status.outcome}", SUBMIT_AGAIN)
        # The orchestrator keeps a journal and may have begun; whoever else has answered has been heard.
        told = any(
            other.verified
            and other.envelope is not None
            and other.envelope.parent_id == envelope.id
            and role_of(other.envelope.sender) == entry.role
            for other in audit.hops
        )
        if told and entry.role != "orchestrator":
            raise _refused("answered", entry, f"{entry.role} has answered it: its goal knows", SUBMIT_AGAIN)

    async def _goal(self, entry: Entry) -> PutBack:
        if entry.letter is None or entry.letter.sequence == 0 or not entry.original:
            raise _refused("incomplete", entry, "the letter holds the goal's beginning at most", SUBMIT_AGAIN)
        told = ""
        for number in range(1, MOST_TRIES + 1):
            order = self._order(GOALS.name, entry.letter.sequence, sha256_hex(entry.original), number)
            goal_id = _goal_of(entry, order)
            answer = await self._handed_in(entry.original, goal_id)
            if "goalId" in answer:
                return PutBack(order, goal_id)
            told = "; ".join(f"{one.get('path')}: {one.get('message')}" for one in answer.get("errors", []))[:1_000]
            if REFUSED_BEFORE not in told:
                break
        raise _refused("invalid_goal", entry, f"the gateway refuses it again: {told}", "Mend the goal and submit it")

    async def _handed_in(self, data: bytes, goal_id: str) -> dict[str, Any]:
        """The gateway's answer. Raises UserError."""
        subject = workspace_subject(self._workspace, "goal", "submit")
        try:
            reply = await self._transport.request(subject, data, timeout_ms=ANSWER_MS, headers={MESSAGE_ID: goal_id})
        except Unavailable as error:
            raise UserError("no_gateway", "no gateway answered", "Is `interlock up` running?") from error
        answer = msgspec.json.decode(reply.data)
        return answer if isinstance(answer, dict) else {}

    def _order(self, stream: str, sequence: int, digest: str, number: int) -> RedriveOrder:
        return sign_redrive(
            self._identity.key,
            workspace=self._workspace,
            stream=stream,
            sequence=sequence,
            digest=digest,
            number=number,
            why=self._why,
            by=self._identity.agent,
            at_ms=self._transport.clock.now_ms(),
        )


def _goal_of(entry: Entry, order: RedriveOrder) -> str:
    """The same letter is the same goal, whoever puts it back; the next one only if that was refused for good (a halt)."""
    again = f":{order.number}" if order.number > 1 else ""
    random = hashlib.sha256(f"redrive:{order.workspace}:{entry.id}:{order.digest}{again}".encode()).digest()[:10]
    return new_id(entry.stored_ms, random)


def _begun(copies: Sequence[Message], sequence: int) -> PutBack | None:
    """The copy that was made of the hop at this very place."""
    for copy in copies:
        order = read_redrive(copy.headers.get(REDRIVE, ""))
        if order is not None and order.sequence == sequence:
            return PutBack(order, str(copy.sequence))
    return None


def _refused(reason: str | Reason, entry: Entry, detail: str, mend: str) -> UserError:
    return UserError(str(reason), f"dead letter {entry.id}: {detail}", mend, 2)
