"""What a bundle says of the contract: the chain is whole, and every hop moved under one of its versions (AUD-03). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from interlock.agents.audit.check import Check
from interlock.agents.audit.hop_graph import HopAudit
from interlock.envelope.contract_chain import Chain, ContractError, Signers, load_chain
from interlock.envelope.contract_gate import context_problem


def check_chain(stored: Sequence[str], signers: Signers, checks: list[Check]) -> Chain | None:
    """The chain, None if there is none to believe."""
    if not stored:
        return None
    try:
        chain = load_chain([str(version).encode() for version in stored], signers.trust.workspace, signers)
    except ContractError as error:
        checks.append(Check("contract", False, str(error)))
        return None
    head = chain.head.contract
    checks.append(Check("contract", True, f"{len(chain.versions)} versions, the last {head.lifecycle}, each signed"))
    return chain


def check_mandate(audit: HopAudit, chain: Chain | None, checks: list[Check]) -> None:
    """Every verified hop names a version of the chain, and keeps to it; without a chain no hop may name any."""
    hops = [(hop.sequence, hop.envelope) for hop in audit.hops if hop.verified and hop.envelope is not None]
    wrong: list[str] = []
    for sequence, envelope in hops:
        ref = envelope.policy_context.contract_ref
        version = None if chain is None else chain.find(ref)
        if version is not None:
            problem = context_problem(envelope, version)
        else:
            problem = "contractRef is not in the chain" if ref or chain is not None else ""
        if problem:
            wrong.append(f"{sequence}: {problem}")
    if wrong:
        checks.append(Check("mandate", False, "; ".join(wrong[:10])))
        return
    told = "no contract was in force" if chain is None else f"{len(hops)} hops under the contract they name"
    checks.append(Check("mandate", True, told))
