"""The contract gate: whether a hop moves under a version of the workspace's contract that is in force (GOV-08). Pure."""

from __future__ import annotations

from interlock.envelope.capabilities import exceeding
from interlock.envelope.contract import Contract
from interlock.envelope.contract_chain import Chain, Version
from interlock.envelope.ids import role_of
from interlock.envelope.model import Envelope
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Checked

GOAL_AGENT = "executor"  # what a goal may do is what its executor may


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
    detail = context_problem(envelope, version)
    return Checked(Reason.CONTRACT_MISMATCH, detail) if detail else Checked(Reason.OK)


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


def context_problem(envelope: Envelope, version: Version) -> str:
    """Empty, or how the envelope's policyContext or sender leaves the version it names."""
    contract, context = version.contract, envelope.policy_context
    if context.policy_bundle != contract.policy_bundle_checksum:
        return f"policyBundle is not that of contract version {contract.contract_version}"
    if not _names(contract, envelope.sender):
        return f"{envelope.sender} is no agent of contract version {contract.contract_version}"
    wider = exceeding(goal_capabilities(contract), context.capabilities)
    return f"capabilities beyond the contract's: {', '.join(wider)[:300]}" if wider else ""


def goal_capabilities(contract: Contract) -> list[str]:
    """What goals hold under this contract."""
    return next((entry.capabilities for entry in contract.agents if entry.agent == GOAL_AGENT), [])


def _names(contract: Contract, agent: str) -> bool:
    role = role_of(agent)
    return any(entry.agent in (agent, role) for entry in contract.agents)
