"""The sending side: derive from the parent, attenuate, check authority, sign, publish with id and trace (bus.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from msgspec import Struct

from interlock.bus.authority import judge
from interlock.bus.catching_up import caught_up
from interlock.bus.control.halts import Doing
from interlock.bus.control.source import NO_CONTROL, ControlSource, proceed
from interlock.bus.errors import IdTaken, Refused
from interlock.bus.failpoints import failpoint
from interlock.bus.streams import HOPS
from interlock.bus.telemetry.hops import SendSpan
from interlock.bus.telemetry.propagation import BAGGAGE, TRACEPARENT, carried
from interlock.bus.telemetry.spans import Tracing
from interlock.bus.transport import PubAck, Transport
from interlock.envelope.amounts import ZERO, Amount
from interlock.envelope.children import Draft, Origin, derive
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Envelope
from interlock.envelope.own_seals import OwnSeals
from interlock.envelope.signing import Sealed, has_valid_signature, seal
from interlock.envelope.verification import Limits, decode


class Identity(Struct, frozen=True):
    """Who an actor is: `role` or `role.instance`, and the key it signs with."""

    agent: str
    key: SigningKey

    @property
    def role(self) -> str:
        return self.agent.partition(".")[0]


class Sender:
    """Sends on behalf of one agent. own: where the process hosts several agents, what it seals is noted for those who
    receive (docs/adr/0019).
    """

    def __init__(
        self,
        transport: Transport,
        identity: Identity,
        limits: Limits | None = None,
        control: ControlSource = NO_CONTROL,
        tracer: Tracing | None = None,
        own: OwnSeals | None = None,
    ) -> None:
        self.identity = identity
        self._own = own
        self._tracer = tracer
        self._control = control
        self._transport = transport
        self._limits = limits or Limits()

    async def send(
        self, parent: Origin, drafts: Sequence[Draft], *, now_ms: int, granted: Amount = ZERO
    ) -> list[Sealed]:
        """Makes, signs and publishes the children of a parent, pipelined; returns when all are stored. granted: what
        earlier children of this parent hold. Raises ChildRefused before anything is sent if they exceed the parent.
        """
        children: list[Sealed] = []
        for draft in drafts:
            envelope = derive(
                parent,
                draft,
                sender=self.identity.agent,
                key_id=self.identity.key.key_id,
                now_ms=now_ms,
                granted=granted,
            )
            granted = granted + draft.budget
            children.append(self.sealed(envelope))
        if len(children) == 1:
            await self.publish(children[0])
        else:
            await asyncio.gather(*(self.publish(child) for child in children))
        return children

    def sealed(self, envelope: Envelope) -> Sealed:
        """Checks authority and size, then signs. Raises Refused."""
        verdict = judge(envelope)
        if not verdict.allowed:
            raise Refused(verdict.grounds[0].message, verdict.grounds[0].instead)
        child = seal(envelope, self.identity.key)
        if len(child.wire) > self._limits.max_bytes:
            raise Refused(
                f"the envelope has {len(child.wire)} bytes; at most {self._limits.max_bytes}",
                "Put large content into an artefact and refer to it",
            )
        if self._own is not None:
            self._own.keep(child.digest)
        return child

    async def publish(self, child: Sealed) -> int:
        """Stores the envelope and answers its sequence. A repeat of our own earlier publish is a success; if somebody
        else sits on the id, raises IdTaken, so that nothing is lost in silence. What is halted says nothing but that it
        needs help: else Postpone.
        """
        envelope = child.envelope
        if envelope.intent != "escalate":
            proceed(self._control, Doing(agent=self.identity.agent, goal=envelope.goal_id))
        failpoint("child_signed")
        tracer = self._tracer
        if tracer is None:
            ack = await self._stored(child, "01")
        else:
            span = SendSpan(tracer, envelope)
            try:
                ack = await self._stored(child, tracer.flags(envelope.trace_id), carried())
            except Exception as error:
                span.end(error)
                raise
            if not ack.duplicate:  # else it was sent, and told of, before
                span.end()
        failpoint("child_stored")
        if ack.duplicate:
            await self._check_ours(envelope, ack.sequence)
        return ack.sequence

    def _stored(self, child: Sealed, flags: str, baggage: str = "") -> Awaitable[PubAck]:
        envelope = child.envelope
        headers = {TRACEPARENT: f"00-{envelope.trace_id}-{envelope.span_id}-{flags}"}
        if baggage:
            headers[BAGGAGE] = baggage
        return self._transport.publish(envelope.subject, child.wire, message_id=envelope.id, headers=headers)

    async def _check_ours(self, envelope: Envelope, sequence: int) -> None:
        # Nobody but auditor and humans may read HOPS by sequence: a role sees the last of what may be sent where it sends.
        # Below that its own is hidden by later ones on the subject, and is taken for what it wrote; the auditor reads all.
        stored = await caught_up(
            self._transport,
            lambda: self._transport.last(HOPS.name, envelope.subject),
            lambda last: last is not None and last.sequence >= sequence,
        )
        if stored is not None and stored.sequence > sequence:
            return
        if stored is not None and stored.sequence < sequence:
            stored = None  # it is on another subject
        found = None if stored is None else decode(stored.data, self._limits).envelope
        ours = (
            found is not None
            and found.id == envelope.id
            and found.key_id == envelope.key_id
            and has_valid_signature(found)
        )
        if not ours:
            raise IdTaken(
                f"message id {envelope.id} at sequence {sequence} holds what we did not write",
                "Look at it with `interlock trace`; only roles should be allowed to publish to role.>",
            )
