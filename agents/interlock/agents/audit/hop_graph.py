"""A goal's hops, verified again from what the stream holds: each by itself, then as a graph (ENV-04). Pure, linear.

By itself: bytes, key, signature, route, freshness at the time of storing, message id, authority. As a graph: the parent is
there and its digest matches, trace and workspace are the parent's, nothing outlives its parent, and the budgets of all
children stay within their parent's. A leaf that was cut off leaves no trace here: that is what the audit log is for.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct
from msgspec.structs import replace

from interlock.bus.authority import judge, payload_type
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import ZERO, Amount, time_ms, timestamp
from interlock.envelope.ids import span_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Refusal
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits, check_freshness, check_route, check_signature, decode


class Hop(Struct, frozen=True, kw_only=True):
    """One message of the goal as the auditor sees it. verified: by itself and in the graph. authentic: its signature
    is that of a trusted key of its sender, so that what is wrong with it comes from inside.
    """

    sequence: int
    subject: str
    stored_ms: int
    digest: str
    size: int
    verified: bool
    authentic: bool
    reason: Reason
    detail: str
    envelope: Envelope | None


class HopAudit(Struct, frozen=True):
    hops: list[Hop]

    @property
    def verified(self) -> int:
        return sum(hop.verified for hop in self.hops)

    @property
    def refused(self) -> list[Refusal]:
        return [refusal_of(hop) for hop in self.hops if not hop.verified]

    @property
    def broken_inside(self) -> list[Hop]:
        """What does not verify although a trusted key is named: the deviation of governance.md, not a stranger's noise."""
        return [hop for hop in self.hops if not hop.verified and _from_inside(hop)]


class Memo:
    """What was found of single hops, by place in the stream and version of the trust store: an auditor sees each hop
    as it passes and again in its goal, and a signature is the dearest thing to check. Bounded.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._known: dict[tuple[int, int], tuple[bytes, Hop]] = {}

    def look(self, message: Message, trust: Trust) -> Hop | None:
        known = self._known.get((message.sequence, trust.version))
        return known[1] if known is not None and known[0] == message.data else None

    def keep(self, message: Message, trust: Trust, hop: Hop) -> None:
        if len(self._known) >= self._capacity:
            self._known.pop(next(iter(self._known)))
        self._known[message.sequence, trust.version] = (message.data, hop)


def audit_hops(
    messages: Sequence[Message], trust: Trust, limits: Limits | None = None, memo: Memo | None = None
) -> HopAudit:
    """messages: all of one goal, in stream order."""
    bounds = limits or Limits()
    seen: dict[str, int] = {}
    alone = [_once(_known_alone(message, trust, bounds, memo), seen) for message in messages]
    parents = {hop.envelope.id: hop for hop in alone if hop.verified and hop.envelope is not None}
    granted: dict[str, Amount] = {}
    return HopAudit([_in_graph(hop, parents, granted) for hop in alone])


def refusal_of(hop: Hop) -> Refusal:
    sender = hop.envelope.sender if hop.envelope is not None else "unknown"
    return Refusal(
        sequence=hop.sequence,
        subject=hop.subject[:256],
        claimed_from=sender,
        reason=hop.reason,
        detail=hop.detail[:500],
    )


def _known_alone(message: Message, trust: Trust, limits: Limits, memo: Memo | None) -> Hop:
    if memo is None:
        return _alone(message, trust, limits)
    hop = memo.look(message, trust)
    if hop is None:
        hop = _alone(message, trust, limits)
        memo.keep(message, trust, hop)
    return hop


def _once(hop: Hop, seen: dict[str, int]) -> Hop:
    if not hop.verified or hop.envelope is None:
        return hop
    first = seen.setdefault(hop.envelope.id, hop.sequence)
    if first == hop.sequence:
        return hop
    return replace(hop, verified=False, reason=Reason.REPLAYED, detail=f"already at sequence {first}")


def _alone(message: Message, trust: Trust, limits: Limits) -> Hop:
    checked = decode(message.data, limits)
    envelope, reason, detail, authentic = checked.envelope, checked.reason, checked.detail, False
    if checked.ok and envelope is not None:
        signed = check_signature(envelope, trust, message.stored_ms)
        authentic = signed.ok
        results = [signed]
        if authentic:
            results += [
                check_route(envelope, message.subject, ""),
                check_freshness(envelope, message.stored_ms, limits),
            ]
        failed = next((result for result in results if not result.ok), None)
        if failed is not None:
            reason, detail = failed.reason, failed.detail
        else:
            reason, detail = _more(message, envelope)
    return Hop(
        sequence=message.sequence,
        subject=message.subject,
        stored_ms=message.stored_ms,
        digest=checked.digest,
        size=len(message.data),
        verified=reason is Reason.OK,
        authentic=authentic,
        reason=reason,
        detail=detail,
        envelope=envelope,
    )


def _more(message: Message, envelope: Envelope) -> tuple[Reason, str]:
    if message.headers.get(MESSAGE_ID) != envelope.id:
        return Reason.WRONG_MESSAGE_ID, "the message id is not the envelope's"
    if envelope.span_id != span_of(envelope.id):
        return Reason.TRACE_MISMATCH, "spanId does not belong to the id"
    verdict = judge(envelope)
    return (Reason.OK, "") if verdict.allowed else (Reason.POLICY_DENIED, verdict.grounds[0].message)


def _in_graph(hop: Hop, parents: dict[str, Hop], granted: dict[str, Amount]) -> Hop:
    if not hop.verified or hop.envelope is None:
        return hop
    detail = _graph_problem(hop.envelope, parents, granted)
    if not detail:
        return hop
    return replace(hop, verified=False, reason=Reason.BAD_PARENT, detail=detail)


def _graph_problem(child: Envelope, parents: dict[str, Hop], granted: dict[str, Amount]) -> str:
    if child.parent_id is UNSET:
        is_root = child.sender.partition(".")[0] == "gateway" and payload_type(child) == "intake"
        return "" if is_root else "it has no parent, and only a gateway's intake may have none"
    parent = parents.get(child.parent_id)
    if parent is None or parent.envelope is None:
        return f"its parent {child.parent_id} is not among the verified hops"
    above = parent.envelope
    if child.parent_digest != parent.digest:
        return "parentDigest is not that of its parent's bytes"
    if (child.goal_id, child.workspace, child.trace_id) != (above.goal_id, above.workspace, above.trace_id):
        return "goal, workspace or trace differ from its parent's"
    if time_ms(child.created_at) + child.ttl_ms > time_ms(above.created_at) + above.ttl_ms:
        return "it outlives its parent"
    total = granted.get(above.id, ZERO) + child.budget.amount
    if not total.within(above.budget.amount):
        return "the budgets of its parent's children exceed their parent's"
    granted[above.id] = total
    return ""


def _from_inside(hop: Hop) -> bool:
    """A forgery by an unknown key is noise at the door; anything that names a key we trust is not."""
    return hop.authentic or hop.reason in (Reason.BAD_SIGNATURE, Reason.KEY_NOT_FOR_AGENT, Reason.KEY_REVOKED)


def told_at(hop: Hop) -> str:
    return timestamp(hop.stored_ms)
