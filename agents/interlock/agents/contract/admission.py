"""What the contract says to a goal that wants in: the policyContext it moves under, or why not (GOV-08). Pure."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from interlock.agents.contract.configuration import ConfigurationDigests
from interlock.bus.gates import ContractSource
from interlock.envelope.amounts import Amount
from interlock.envelope.contract import Contract
from interlock.envelope.contract_gate import check_in_force
from interlock.envelope.model import PolicyContext
from interlock.envelope.verdict import Ground

RENEW = "`interlock contract propose` and `interlock contract sign` make a version for what is configured now"


class Admission(Protocol):
    """Whatever decides whether a goal may begin now."""

    def admit(self, wanted: Amount) -> PolicyContext | Ground: ...

    def day_cap(self) -> Amount: ...


class Unbound(Struct, frozen=True):
    """Admits everything under one context: where there is no contract, as in tests of single roles."""

    context: PolicyContext
    cap: Amount

    def admit(self, wanted: Amount) -> PolicyContext | Ground:
        return self.context

    def day_cap(self) -> Amount:
        return self.cap


class UnderContract(Struct, frozen=True):
    """Admits what the newest version allows, if the configuration that runs here is the one it pins."""

    contract: ContractSource
    digests: ConfigurationDigests

    def admit(self, wanted: Amount) -> PolicyContext | Ground:
        """wanted: the goal's budget. Refuses with halted, contract_mismatch, configuration_drift or over_quota."""
        chain = self.contract.chain
        stopped, contract = check_in_force(chain), chain.head.contract
        if not stopped.ok:
            return Ground(stopped.reason, stopped.detail, "contract", "lifted by a new version that a human signs")
        drifted = drift(contract, self.digests)
        if drifted:
            return Ground("configuration_drift", f"differs from the contract: {', '.join(drifted)}", "contract", RENEW)
        over = exceeded(wanted, contract.quotas.per_goal.amount)
        if over and not contract.emergency_flags.budget_override:
            detail = f"more than contract version {contract.contract_version} allows a goal"
            return Ground("over_quota", detail, "quotas.perGoal", f"at most {over}")
        return PolicyContext(
            policy_bundle=contract.policy_bundle_checksum,
            contract_ref=chain.head.ref,
            capabilities=chain.head.goal_capabilities,
        )

    def day_cap(self) -> Amount:
        """What all goals of a day may spend together."""
        return self.contract.chain.head.contract.quotas.per_day.amount


def drift(contract: Contract, digests: ConfigurationDigests) -> list[str]:
    """Which part of the configuration here is not the one that the contract pins."""
    pinned, here = contract.checksums, digests.checksums
    pairs = {
        "policies": (contract.policy_bundle_checksum, digests.policy_bundle),
        "plan logic": (pinned.plan_logic, here.plan_logic),
        "compliance checks": (pinned.compliance, here.compliance),
        "prices": (pinned.economics, here.economics),
    }
    return [name for name, (wanted, found) in pairs.items() if wanted != found]


def exceeded(wanted: Amount, cap: Amount) -> str:
    """The caps that are exceeded, for people: `costUSD 0.5, actions 10`; empty if none is."""
    pairs = {
        f"thinkingTokens {cap.tokens}": wanted.tokens > cap.tokens,
        f"costUSD {cap.budget.cost_usd}": wanted.usd_micro > cap.usd_micro,
        f"wallMs {cap.wall_ms}": wanted.wall_ms > cap.wall_ms,
        f"actions {cap.actions}": wanted.actions > cap.actions,
    }
    return ", ".join(name for name, over in pairs.items() if over)
