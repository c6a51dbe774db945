"""The contract gate: whether a hop moves under a version of the workspace's contract that is in force (GOV-08). Pure."""

from __future__ import annotations

from interlock.envelope.amounts import time_ms
from interlock.envelope.capabilities import exceeding
from interlock.envelope.contract_chain import Chain, Version
from interlock.envelope.ids import role_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Intake
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import OK, Checked

# A proposal is signed within a day of being issued (PENDING_MS), and no goal lives longer than an hour: whatever names a
# version later than that after its successor was issued began under one it should not have.
PENDING_MS = 24 * 3_600_000
LINGERING_MS = PENDING_MS + 3_600_000 + 10_000


def check_contract(envelope: Envelope, chain: Chain) -> Checked:
    """The newest version decides whether anything moves at all; the version that the goal began under decides who may
    send and what the goal may do. A ref that is not known may be newer than what has arrived here: tried again.
    """
    stopped = check_in_force(chain)
    if not stopped.ok:
        return stopped
    ref = envelope.policy_context.contract_ref
    version = chain.find(ref)
    if version is None:
        return Checked(Reason.CONTRACT_UNKNOWN if ref else Reason.CONTRACT_MISMATCH, f"contractRef {ref or 'is empty'}")
    if chain.is_retired(version.ref):
        return Checked(Reason.CONTRACT_MISMATCH, f"version {version.contract.contract_version} is retired")
    ended_ms = chain.superseded_ms(ref)
    if ended_ms is not None and time_ms(envelope.created_at) > ended_ms + LINGERING_MS:
        detail = f"version {version.contract.contract_version} was superseded before any goal that still lives began"
        return Checked(Reason.CONTRACT_MISMATCH, detail)
    overridden = chain.head.contract.emergency_flags.budget_override
    detail = context_problem(envelope, version) or ("" if overridden else quota_problem(envelope, version))
    return Checked(Reason.CONTRACT_MISMATCH, detail) if detail else OK


def check_in_force(chain: Chain) -> Checked:
    """Whether the newest version lets anything move: active or frozen, and not halted."""
    contract = chain.head.contract
    if contract.emergency_flags.halted:
        return Checked(Reason.HALTED, f"emergencyFlags.halted of contract version {contract.contract_version}")
    if contract.lifecycle in ("draft", "retired"):
        return Checked(
            Reason.CONTRACT_MISMATCH, f"contract version {contract.contract_version} is {contract.lifecycle}"
        )
    return Checked(Reason.OK)


def quota_problem(envelope: Envelope, version: Version) -> str:
    """Empty, or that a goal begins with more than its version allows one; what follows from it is held by its grant."""
    contract = version.contract
    if not isinstance(envelope.payload, Intake) or envelope.budget.amount.within(contract.quotas.per_goal.amount):
        return ""
    return f"more budget than contract version {contract.contract_version} allows a goal"


def context_problem(envelope: Envelope, version: Version) -> str:
    """Empty, or how the envelope's policyContext or sender leaves the version it names."""
    context, held = envelope.policy_context, version.goal_capabilities
    if context.policy_bundle != version.contract.policy_bundle_checksum:
        return f"policyBundle is not that of contract version {version.contract.contract_version}"
    if envelope.sender not in version.agents and role_of(envelope.sender) not in version.agents:
        return f"{envelope.sender} is no agent of contract version {version.contract.contract_version}"
    if context.capabilities == held:
        return ""
    wider = exceeding(held, context.capabilities)
    return f"capabilities beyond the contract's: {', '.join(wider)[:300]}" if wider else ""
