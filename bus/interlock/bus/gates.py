"""The receiving gates as pure functions of the hop, in their order, and what follows from each reason (BUS-02).

A gate answers with a reason of the closed list; a gate that raises has refused. Add a gate here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from interlock.bus.authority import judge
from interlock.bus.control.halts import doing_of
from interlock.bus.control.source import NO_CONTROL, ControlSource
from interlock.bus.hop import Disposition, Hop
from interlock.bus.redriving import check_copy, is_redriven
from interlock.bus.telemetry.propagation import TRACEPARENT
from interlock.bus.transport import MESSAGE_ID
from interlock.envelope.capability_token import Proven
from interlock.envelope.children import family_problem
from interlock.envelope.contract_chain import Chain
from interlock.envelope.contract_gate import check_contract
from interlock.envelope.goal_grant import check_goal_grant
from interlock.envelope.ids import span_of
from interlock.envelope.own_seals import OwnSeals
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import (
    OK,
    Checked,
    Limits,
    check_freshness,
    check_replay,
    check_route,
    check_signature,
    decode,
)

# What happens to a message refused for a reason: to the dead letters at once, or tried again with backoff first.
CONSEQUENCE: dict[Reason, Disposition] = {
    **dict.fromkeys(Reason, Disposition.DEAD),
    Reason.OK: Disposition.DONE,
    Reason.HALTED: Disposition.RETRY,
    Reason.CONTRACT_UNKNOWN: Disposition.RETRY,
    Reason.RATE_LIMITED: Disposition.RETRY,
    Reason.CIRCUIT_OPEN: Disposition.RETRY,
    Reason.LEDGER_UNAVAILABLE: Disposition.RETRY,
    Reason.HANDLER_FAILED: Disposition.RETRY,
}

Gate = Callable[[Hop], Checked]


class TrustSource(Protocol):
    """Whatever knows the trust store now in force."""

    @property
    def trust(self) -> Trust: ...


class ContractSource(Protocol):
    """Whatever knows the contract now in force."""

    @property
    def chain(self) -> Chain: ...


class Receiver(Struct, frozen=True):
    """What the gates of one agent look at besides the hop. agent empty: an observer of what is sent to others.
    contract: None only where there is no workspace, as in tests and benches of the bus: every role has one. proven: for an
    agent that is sent nothing without the grant of its goal (goal_grant.NEEDING): those whose signature was found good.
    own: what the process sealed itself, where it hosts several agents; else None (docs/adr/0019).
    """

    agent: str
    trust: TrustSource
    limits: Limits
    memory: ReplayMemory
    contract: ContractSource | None = None
    control: ControlSource = NO_CONTROL
    proven: Proven | None = None
    own: OwnSeals | None = None


def receiving_gates(receiver: Receiver) -> list[tuple[str, Gate]]:
    """(stage, gate) in the order of bus.md, up to the handler's own concerns (rate, budget)."""

    def decoded(hop: Hop) -> Checked:
        checked = decode(hop.message.data, receiver.limits)
        if checked.envelope is not None:
            hop.envelope = checked.envelope
        hop.digest = checked.digest
        return checked

    def authentic(hop: Hop) -> Checked:
        is_own = receiver.own is not None and hop.digest in receiver.own
        checked = check_signature(hop.envelope, receiver.trust.trust, hop.now_ms, hop.message.data, is_own=is_own)
        hop.authentic = checked.ok
        return checked

    def routed(hop: Hop) -> Checked:
        return check_route(hop.envelope, hop.message.subject, receiver.agent)

    def fresh(hop: Hop) -> Checked:
        return check_freshness(hop.envelope, hop.now_ms, receiver.limits)

    def first_time(hop: Hop) -> Checked:
        message = hop.message
        if message.headers.get(MESSAGE_ID) == hop.envelope.id:
            return check_replay(hop.envelope, receiver.memory, message.sequence, hop.now_ms, receiver.limits)
        if not is_redriven(message):
            return Checked(Reason.WRONG_MESSAGE_ID, f"{MESSAGE_ID} is not the envelope's id: no deduplication")
        copy = check_copy(message, hop.digest, receiver.trust.trust, hop.now_ms)
        if not copy.ok:
            return copy
        name = message.headers[MESSAGE_ID]
        return check_replay(hop.envelope, receiver.memory, message.sequence, hop.now_ms, receiver.limits, name)

    def moving(hop: Hop) -> Checked:
        verdict = receiver.control.verdict(doing_of(receiver.agent, hop.envelope))
        return OK if verdict.allowed else Checked(Reason.HALTED, verdict.grounds[0].message)

    return [
        ("decode", decoded),
        ("signature", authentic),
        ("route", routed),
        ("freshness", fresh),
        ("replay", first_time),
        ("trace", traced),
        ("halt", moving),
        *([] if receiver.contract is None else [("contract", mandated(receiver.contract))]),
        ("authority", permitted),
        ("parent", descended),
        *([] if receiver.proven is None else [("grant", granted(receiver.trust, receiver.proven))]),
    ]


def mandated(source: ContractSource) -> Gate:
    """The hop moves under a version of the contract that is in force, by an agent that it names."""

    def gate(hop: Hop) -> Checked:
        return check_contract(hop.envelope, source.chain)

    return gate


def traced(hop: Hop) -> Checked:
    """The W3C header must tell the same trace as the signed envelope, and the span must be the envelope's own."""
    envelope = hop.envelope
    if envelope.span_id != span_of(envelope.id):
        return Checked(Reason.TRACE_MISMATCH, "spanId does not belong to the envelope's id")
    header = hop.message.headers.get(TRACEPARENT)
    if header is not None and not header.startswith(f"00-{envelope.trace_id}-{envelope.span_id}-"):
        return Checked(Reason.TRACE_MISMATCH, "the traceparent header differs from the signed trace")
    return OK


def descended(hop: Hop) -> Checked:
    """Only a gateway's intake begins a goal; everything else names the parent that it was derived from."""
    problem = family_problem(hop.envelope)
    return Checked(Reason.BAD_PARENT, problem) if problem else OK


def granted(trust: TrustSource, proven: Proven) -> Gate:
    """The hop stays within what the gateway gave its goal."""

    def gate(hop: Hop) -> Checked:
        return check_goal_grant(hop.envelope, trust.trust, hop.now_ms, proven)

    return gate


def permitted(hop: Hop) -> Checked:
    """Static authority: role, intent and payload."""
    verdict = judge(hop.envelope)
    if verdict.allowed:
        return OK
    ground = verdict.grounds[0]
    return Checked(Reason.POLICY_DENIED, f"{ground.message}; allowed: {ground.instead}"[:500])
