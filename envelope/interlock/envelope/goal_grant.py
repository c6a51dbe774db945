"""What the gateway gave a goal, carried by what its roles are sent: nobody can widen it on the way (envelope.md, Children).

A receiver sees one hop, not its parent. The first grant of the goal, signed by the gateway, tells it what no hop of the goal
may exceed: deadline, budget, capabilities, and the contract it began under. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from interlock.envelope.amounts import time_ms
from interlock.envelope.capability_token import PREDICATE, Proven, beyond, link_problem, read_grant
from interlock.envelope.ids import role_of
from interlock.envelope.model import Attestation, Envelope
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import OK, Checked

# Who neither signs the grant nor holds the intake that it came with; the executor wants a whole token (check_token).
NEEDING = frozenset({"evaluator", "auditor", "synthesizer"})


def goal_grant_of(attestations: Sequence[Attestation]) -> Attestation | None:
    """The first grant among them."""
    return next((one for one in attestations if one.statement.get("predicateType") == PREDICATE), None)


def without_grants(attestations: Sequence[Attestation]) -> list[Attestation]:
    """What else they attest."""
    return [one for one in attestations if one.statement.get("predicateType") != PREDICATE]


def check_goal_grant(envelope: Envelope, trust: Trust, now_ms: int, proven: Proven) -> Checked:
    """Whether the envelope stays within what its goal was given. now_ms: of the receiver. bad_parent if not, or if it does
    not carry a grant that says so.
    """
    link = goal_grant_of(envelope.attestations)
    if link is None:
        return _refused("it carries no grant of its goal")
    grant = read_grant(link)
    if grant is None or grant.budget is UNSET or grant.contract_ref is UNSET:
        return _refused("the grant that it carries cannot be read, or does not say what the goal may spend")
    if grant.goal_id != envelope.goal_id:
        return _refused(f"the grant that it carries is for goal {grant.goal_id}")
    if not proven.has_signed(link):
        return _refused(f"the grant that it carries is not signed by {link.key_id}, or was changed afterwards")
    _, detail = link_problem(link, grant, None, now_ms, trust)
    wider = detail or beyond(
        grant,
        held=envelope.policy_context.capabilities,
        deadline_ms=time_ms(envelope.created_at) + envelope.ttl_ms,
        budget=envelope.budget.amount,
        contract_ref=envelope.policy_context.contract_ref,
    )
    return _refused(wider) if wider else OK


def needs_grant(agent: str) -> bool:
    """Whether what this agent is sent has to carry the grant of its goal."""
    return role_of(agent) in NEEDING


def _refused(detail: str) -> Checked:
    return Checked(Reason.BAD_PARENT, detail)
