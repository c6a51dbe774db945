"""Capability tokens: who may do which operation, on what, until when, for which envelope (GOV-03). Pure.

A token is a chain of signed grants, carried as attestations: the first by the gateway, each next one by whoever the one
before was given to. Where the trust store knows an issuer of its own (ISSUER_AGENT), whose key may be in a key store, the
first is by that one, and a gateway cannot make one. A grant can only narrow what it hangs on; the last one is bound to one
envelope. So an orchestrator cannot hand an executor what the goal was never given, whatever it signs. The first grant alone
travels with what other roles are sent (goal_grant.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from interlock.envelope.amounts import ZERO, Amount, Budget, Timestamp, time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.capabilities import exceeding, holds
from interlock.envelope.ids import AgentId, Digest, Uuid7, role_of, sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Attestation
from interlock.envelope.signing import Signing, attest, is_valid_attestation
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import ALLOW, Reason, Verdict, deny

PREDICATE = "https://interlock.dev/capability-grant/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
ISSUER = "gateway"
ISSUER_AGENT = "gateway.issuer"
MAX_LIFE_MS = 2 * 3_600_000
MAX_GRANTS = 8
SKEW_MS = 5_000
Pattern = Annotated[str, Meta(min_length=1, max_length=160)]


class Grant(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """given_by, holder: agents or roles. capabilities, resources: patterns that may end in `*`. envelope: the one it is
    for, null where the holder is to pass it on. parent: SHA-256 of the grant it hangs on, null for the first. budget,
    contract_ref: what the goal may spend and the version it began under; only the first grant says that.
    """

    given_by: AgentId
    holder: AgentId
    goal_id: Uuid7
    capabilities: list[Pattern]
    resources: list[Pattern] = field(default_factory=list)
    issued_at: Timestamp
    until: Timestamp
    envelope: Uuid7 | None = None
    parent: Digest | None = None
    budget: Budget | UnsetType = UNSET
    contract_ref: str | UnsetType = UNSET


class GrantRefused(Exception):
    """A grant that may not be made: it would be wider or longer than it may be."""


def first_grant(
    holder: str,
    goal_id: str,
    capabilities: Sequence[str],
    *,
    given_by: str,
    key: Signing,
    now_ms: int,
    life_ms: int,
    budget: Budget | UnsetType = UNSET,
    contract_ref: str | UnsetType = UNSET,
) -> Attestation:
    """What a goal is given when it enters, for as long as it may live, at most two hours. Raises GrantRefused."""
    grant = Grant(
        given_by=given_by,
        holder=holder,
        goal_id=goal_id,
        capabilities=list(capabilities),
        resources=["*"],
        issued_at=timestamp(now_ms),
        until=timestamp(now_ms + life_ms),
        budget=budget,
        contract_ref=contract_ref,
    )
    if not 0 < life_ms <= MAX_LIFE_MS:
        raise GrantRefused(f"a grant lives up to {MAX_LIFE_MS} ms, not {life_ms}")
    return _signed(grant, key)


def narrowed(
    above: Attestation,
    *,
    given_by: str,
    holder: str,
    capabilities: Sequence[str],
    resources: Sequence[str],
    envelope: str | None,
    key: SigningKey,
    now_ms: int,
    until_ms: int,
) -> Attestation:
    """A grant that hangs on another and ends no later. Raises GrantRefused if it asks for more than it hangs on."""
    parent = read_grant(above)
    if parent is None:
        raise GrantRefused("it hangs on what is no grant")
    grant = Grant(
        given_by=given_by,
        holder=holder,
        goal_id=parent.goal_id,
        capabilities=list(capabilities),
        resources=list(resources),
        issued_at=timestamp(now_ms),
        until=timestamp(min(until_ms, time_ms(parent.until))),
        envelope=envelope if parent.envelope is None else parent.envelope,
        parent=_digest(above),
    )
    wider = _widening(parent, grant)
    if wider:
        raise GrantRefused(wider)
    return _signed(grant, key)


class Use(Struct, frozen=True, kw_only=True):
    """What somebody wants to do with a token, and when (ms since 1970 UTC). deadline_ms, held, budget, contract_ref: of
    the goal, as the envelope with the token has them.
    """

    agent: str
    capability: str
    resources: Sequence[str]
    goal_id: str
    envelope: str
    now_ms: int
    deadline_ms: int = 0
    held: Sequence[str] = ()
    budget: Amount = ZERO
    contract_ref: str = ""


class Proven:
    """Grants whose signature was found good: the first one of a goal comes again with each of its tasks. Bounded. A
    signature stays good for ever; whether its key may still sign is asked every time.
    """

    def __init__(self, capacity: int = 1_024) -> None:
        self._capacity = capacity
        self._known: dict[str, Attestation] = {}

    def has_signed(self, link: Attestation) -> bool:
        # Compared whole: that is cheaper than its digest.
        if self._known.get(link.signature) == link:
            return True
        if not is_valid_attestation(link):
            return False
        if len(self._known) >= self._capacity:
            self._known.pop(next(iter(self._known)))
        self._known[link.signature] = link
        return True


def check_token(attestations: Sequence[Attestation], use: Use, trust: Trust, proven: Proven | None = None) -> Verdict:
    """Whether the grants among the attestations, in their order, allow this use. Codes: token_missing, token_malformed,
    token_forged, token_untrusted, token_broken, token_widened, token_expired, token_elsewhere.
    """
    links = [one for one in attestations if one.statement.get("predicateType") == PREDICATE]
    if not links:
        return deny("token_missing", "there is no capability token", rule="GOV-03", instead="a grant of the gateway")
    if len(links) > MAX_GRANTS:
        return deny("token_malformed", f"{len(links)} grants; at most {MAX_GRANTS}", rule="GOV-03")
    known = proven or Proven()
    above: tuple[Attestation, Grant] | None = None
    for link in links:
        grant = read_grant(link)
        if grant is None:
            return deny("token_malformed", "a grant that cannot be read", rule="GOV-03")
        if not known.has_signed(link):
            return deny("token_forged", f"not signed by {link.key_id}, or changed afterwards", rule="GOV-03")
        code, detail = link_problem(link, grant, above, use.now_ms, trust)
        if code:
            return deny(code, detail, rule="GOV-03")
        above = (link, grant)
    first = read_grant(links[0])
    if first is None or above is None:
        return deny("token_malformed", "a grant that cannot be read", rule="GOV-03")
    wider = beyond(first, held=use.held, deadline_ms=use.deadline_ms, budget=use.budget, contract_ref=use.contract_ref)
    if wider:
        return deny("token_widened", wider, rule="GOV-03")
    return _for_this(above[1], use)


def beyond(first: Grant, *, held: Sequence[str], deadline_ms: int, budget: Amount, contract_ref: str) -> str:
    """In what an envelope goes beyond the first grant of its goal; empty if in nothing."""
    wider = exceeding(first.capabilities, held)
    if wider:
        return f"the goal was never given {', '.join(wider)[:300]}"
    if deadline_ms > time_ms(first.until):
        return f"the goal ends at {first.until}, and this later"
    if first.budget is not UNSET and not budget.within(first.budget.amount):
        return "it holds more budget than the goal was given"
    if first.contract_ref is not UNSET and contract_ref != first.contract_ref:
        return f"the goal began under contract {first.contract_ref or 'none'}, not {contract_ref or 'none'}"
    return ""


def link_problem(
    link: Attestation, grant: Grant, above: tuple[Attestation, Grant] | None, now_ms: int, trust: Trust
) -> tuple[str, str]:
    """(code, detail) of what is wrong with a grant that was signed, as it hangs on the one above; empty if nothing."""
    issued_ms, until_ms = time_ms(grant.issued_at), time_ms(grant.until)
    reason = trust.judge_key(link.key_id, grant.given_by, issued_ms, now_ms)
    if reason is Reason.KEY_EXPIRED:  # since it signed: what a rotated key has granted ends by itself
        reason = trust.judge_key(link.key_id, grant.given_by, issued_ms, issued_ms)
    if reason is not Reason.OK:
        return "token_untrusted", f"the key of {grant.given_by}: {reason}"
    if above is None:
        if role_of(grant.given_by) != ISSUER or grant.parent is not None:
            return "token_untrusted", f"the first grant is by {grant.given_by}, not by a {ISSUER}"
        signer = trust.find(link.key_id)
        if (signer is None or signer.agent != ISSUER_AGENT) and trust.has_key_for(ISSUER_AGENT, issued_ms, now_ms):
            return "token_untrusted", f"grants are issued by {ISSUER_AGENT} here, and this one is by {grant.given_by}"
    elif grant.parent != _digest(above[0]):
        return "token_broken", "a grant does not hang on the one before it"
    elif grant.given_by != above[1].holder and role_of(grant.given_by) != above[1].holder:
        return "token_untrusted", f"given on by {grant.given_by}, but held by {above[1].holder}"
    elif wider := _widening(above[1], grant):
        return "token_widened", wider
    if not 0 < until_ms - issued_ms <= MAX_LIFE_MS:
        return "token_expired", f"it would live {until_ms - issued_ms} ms; at most {MAX_LIFE_MS}"
    if now_ms >= until_ms + SKEW_MS or issued_ms > now_ms + SKEW_MS:
        return "token_expired", f"good from {grant.issued_at} until {grant.until}"
    return "", ""


def _widening(above: Grant, below: Grant) -> str:
    """Empty, or in what the lower grant exceeds the upper one."""
    for name, held, wanted in (
        ("capabilities", above.capabilities, below.capabilities),
        ("resources", above.resources, below.resources),
    ):
        wider = exceeding(held, wanted)
        if wider:
            return f"{name} beyond what it hangs on: {', '.join(wider)[:300]}"
    if below.goal_id != above.goal_id:
        return "it is for another goal"
    if above.envelope is not None and below.envelope != above.envelope:
        return "it is for another envelope"
    return "it ends later" if time_ms(below.until) > time_ms(above.until) else ""


def _for_this(grant: Grant, use: Use) -> Verdict:
    if use.agent != grant.holder and role_of(use.agent) != grant.holder:
        return deny("token_elsewhere", f"held by {grant.holder}, used by {use.agent}", rule="GOV-03")
    if (grant.goal_id, grant.envelope) != (use.goal_id, use.envelope):
        return deny("token_elsewhere", f"for envelope {grant.envelope} of goal {grant.goal_id}", rule="GOV-03")
    if not holds(grant.capabilities, use.capability):
        allowed = ", ".join(grant.capabilities)[:300]
        return deny("token_elsewhere", f"{use.capability} is not granted", rule="GOV-03", instead=allowed)
    outside = exceeding(grant.resources, use.resources)
    if outside:
        return deny("token_elsewhere", f"not granted: {', '.join(outside)[:300]}", rule="GOV-03")
    return ALLOW


def _signed(grant: Grant, key: Signing) -> Attestation:
    statement: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": [{"name": f"goal:{grant.goal_id}", "digest": {"sha256": sha256_hex(grant.goal_id.encode())}}],
        "predicateType": PREDICATE,
        "predicate": msgspec.to_builtins(grant),
    }
    return attest(statement, key)


def read_grant(link: Attestation) -> Grant | None:
    """None for what is no grant, or has no real times."""
    try:
        grant = msgspec.convert(link.statement.get("predicate"), Grant)
        time_ms(grant.issued_at), time_ms(grant.until)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError):
        return None
    return grant if link.statement.get("predicateType") == PREDICATE else None


def _digest(link: Attestation) -> str:
    return sha256_hex(canonical(link))
