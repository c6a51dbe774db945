"""A goal's hops, verified again from what the stream holds: each by itself, then as a graph (ENV-04). Pure, linear.

By itself: bytes, key, signature, route, freshness at the time of storing, message id, authority. As a graph: the parent is
there, stored before, and its digest matches; trace and workspace are the parent's, nothing outlives its parent, the budgets
of all children stay within their parent's, and ids are derived as far as that can be seen (a child's holds its parent's
time; a root's follows from the goal). A leaf that was cut off leaves no trace here: that is what the audit log is for.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct
from msgspec.structs import replace

from interlock.bus.authority import judge
from interlock.bus.redriving import REDRIVE, check_copy, is_redriven
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import ZERO, Amount, time_ms, timestamp
from interlock.envelope.children import family_problem
from interlock.envelope.ids import span_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Refusal
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits, check_freshness, check_route, check_signature, decode


class Hop(Struct, frozen=True, kw_only=True):
    """One message of the goal as the auditor sees it. verified: by itself and in the graph. authentic: its signature
    is that of a trusted key of its sender, so that what is wrong with it comes from inside. redriven: a copy of an
    earlier hop, which somebody who may put back from the dead letters.
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
    redriven: bool = False


class HopAudit(Struct, frozen=True):
    """truncated: the goal has more hops than were looked at."""

    hops: list[Hop]
    truncated: bool = False

    @property
    def verified(self) -> int:
        return sum(hop.verified for hop in self.hops)

    @property
    def refused(self) -> list[Refusal]:
        return [refusal_of(hop) for hop in self.hops if not hop.verified]

    @property
    def broken_inside(self) -> list[Hop]:
        """What does not verify although a trusted key is named: the deviation of governance.md, not a stranger's noise.
        An exact copy of a verified hop is noise too: whoever can read can make one, and receivers refuse it.
        """
        known = {hop.digest for hop in self.hops if hop.verified}
        return [hop for hop in self.hops if not hop.verified and _from_inside(hop) and hop.digest not in known]


class Memo:
    """What was found of single hops, by place in the stream and version of the trust store: an auditor sees each hop
    as it passes and again in its goal, and a signature is the dearest thing to check. Bounded.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._known: dict[tuple[int, int], tuple[Message, Hop]] = {}

    def look(self, message: Message, trust: Trust) -> Hop | None:
        known = self._known.get((message.sequence, trust.version))
        return known[1] if known is not None and _is_same(known[0], message) else None

    def keep(self, message: Message, trust: Trust, hop: Hop) -> None:
        if len(self._known) >= self._capacity:
            self._known.pop(next(iter(self._known)))
        self._known[message.sequence, trust.version] = (message, hop)

    def forget(self, hops: Sequence[Hop], trust: Trust) -> None:
        """Those of a goal that has ended."""
        for hop in hops:
            self._known.pop((hop.sequence, trust.version), None)


class Following:
    """The hops of one goal, one after another as the stream brings them."""

    def __init__(self, trust: Trust, limits: Limits | None = None, memo: Memo | None = None) -> None:
        self._trust = trust
        self._limits = limits or Limits()
        self._memo = memo
        self._seen: dict[str, int] = {}
        self._graph = _Graph()

    def heard(self, message: Message) -> Hop:
        return self._graph.placed(_once(_known_alone(message, self._trust, self._limits, self._memo), self._seen))


def audit_hops(
    messages: Sequence[Message], trust: Trust, limits: Limits | None = None, memo: Memo | None = None
) -> HopAudit:
    """messages: all of one goal, in stream order."""
    following = Following(trust, limits, memo)
    return HopAudit([following.heard(message) for message in messages])


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
    if hop.redriven:
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
            reason, detail = _more(message, envelope, checked.digest, trust)
    redriven = reason is Reason.OK and envelope is not None and message.headers.get(MESSAGE_ID) != envelope.id
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
        redriven=redriven,
    )


def _more(message: Message, envelope: Envelope, digest: str, trust: Trust) -> tuple[Reason, str]:
    if message.headers.get(MESSAGE_ID) != envelope.id:
        if not is_redriven(message):
            return Reason.WRONG_MESSAGE_ID, "the message id is not the envelope's"
        copy = check_copy(message, digest, trust, message.stored_ms)
        if not copy.ok:
            return copy.reason, copy.detail
    if envelope.span_id != span_of(envelope.id):
        return Reason.TRACE_MISMATCH, "spanId does not belong to the id"
    verdict = judge(envelope)
    return (Reason.OK, "") if verdict.allowed else (Reason.POLICY_DENIED, verdict.grounds[0].message)


class _Graph:
    """What the hops seen so far allow the next one to be. A hop in a wrong place may still be a parent, so that one
    fault is told once.
    """

    def __init__(self) -> None:
        self._parents: dict[str, Hop] = {}
        self._granted: dict[str, Amount] = {}

    def placed(self, hop: Hop) -> Hop:
        if not hop.verified or hop.envelope is None:
            return hop
        if hop.redriven:  # it stands where the hop stands that it repeats
            first = self._parents.get(hop.envelope.id)
            if first is not None and first.digest == hop.digest:
                return hop
            detail = "the hop that it repeats is not among the verified hops before it"
            return replace(hop, verified=False, reason=Reason.BAD_PARENT, detail=detail)
        detail = self._problem(hop.envelope)
        self._parents[hop.envelope.id] = hop
        return replace(hop, verified=False, reason=Reason.BAD_PARENT, detail=detail) if detail else hop

    def _problem(self, child: Envelope) -> str:
        problem = family_problem(child)
        if problem or child.parent_id is UNSET:
            return problem
        parent = self._parents.get(child.parent_id)
        if parent is None or parent.envelope is None:
            return f"its parent {child.parent_id} is not among the verified hops before it"
        above = parent.envelope
        if child.parent_digest != parent.digest:
            return "parentDigest is not that of its parent's bytes"
        if (child.goal_id, child.workspace, child.trace_id) != (above.goal_id, above.workspace, above.trace_id):
            return "goal, workspace or trace differ from its parent's"
        if child.policy_context != above.policy_context:
            return "its policyContext differs from its parent's"
        if time_ms(child.created_at) + child.ttl_ms > time_ms(above.created_at) + above.ttl_ms:
            return "it outlives its parent"
        total = self._granted.get(above.id, ZERO) + child.budget.amount
        if not total.within(above.budget.amount):
            return "the budgets of its parent's children exceed their parent's"
        self._granted[above.id] = total
        return ""


def _from_inside(hop: Hop) -> bool:
    """A forgery by an unknown key is noise at the door; anything that names a key we trust is not."""
    return hop.authentic or hop.reason in (Reason.BAD_SIGNATURE, Reason.KEY_NOT_FOR_AGENT, Reason.KEY_REVOKED)


def _is_same(known: Message, message: Message) -> bool:
    return (
        known.data == message.data
        and known.subject == message.subject
        and known.stored_ms == message.stored_ms
        and known.headers.get(MESSAGE_ID) == message.headers.get(MESSAGE_ID)
        and known.headers.get(REDRIVE) == message.headers.get(REDRIVE)
    )


def told_at(hop: Hop) -> str:
    return timestamp(hop.stored_ms)
