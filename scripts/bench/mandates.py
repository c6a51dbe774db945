"""What the hops of the bench move under: two agents, their trust and contract, a goal's mandate, and tasks to send."""

from __future__ import annotations

from pathlib import Path

from interlock.bus.hop import Hop
from interlock.bus.policy.facts import TaskFacts
from interlock.envelope.amounts import Amount, Budget, clock_ms, timestamp
from interlock.envelope.children import Draft, Origin
from interlock.envelope.contract import (
    Checksums,
    Contract,
    ContractAgent,
    EmergencyFlags,
    Quotas,
    sign_contract,
)
from interlock.envelope.contract_chain import Chain, Signers, first
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import Task
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store

POLICIES = Path(__file__).resolve().parents[2] / "config" / "policies"
BYTES = 1_200
KEYS = {role: SigningKey(role.encode().ljust(32, b".")) for role in ("orchestrator", "executor")}
ROOT = SigningKey(b"r" * 32, "O")
NOTHING = Budget()
# Issued at one time for ever, so that all processes of a measurement mean the same version.
CONTRACT = Contract(
    workspace="default",
    contract_version=1,
    previous_contract_ref=None,
    issued_at="2026-01-01T00:00:00.000Z",
    origin="proposed",
    policy_bundle_checksum="0" * 64,
    kms_key_ref="none",
    lifecycle="active",
    emergency_flags=EmergencyFlags(),
    quotas=Quotas(per_goal=NOTHING, per_day=NOTHING),
    agents=[ContractAgent(agent=role, capabilities=["skill:*"]) for role in sorted(KEYS)],
    gates=[],
    checksums=Checksums(plan_logic="0" * 64, compliance="0" * 64, economics="0" * 64),
)
SIGNED = sign_contract(CONTRACT, [ROOT])


class Source:
    """A trust store and a contract for two agents."""

    def __init__(self) -> None:
        now = clock_ms()
        window = {"not_before": timestamp(now - 10**6), "not_after": timestamp(now + 10**9)}
        records = [
            AgentRecord(agent=a, keys=[KeyRecord(key_id=k.key_id, **window)], capabilities=["skill:*"], trust_level=50)
            for a, k in KEYS.items()
        ]
        store = TrustStore(workspace="default", version=1, issued_at=timestamp(now), agents=records)
        self.trust: Trust = load(sign_store(store, [ROOT]), [ROOT.key_id])
        self.chain: Chain = first(SIGNED, "default", Signers((ROOT.key_id,), self.trust))


def mandate(goal_id: str, budget: Amount) -> Origin:
    return Origin(
        id=goal_id,
        digest="0" * 64,
        workspace="default",
        goal_id=goal_id,
        trace_id="ab" * 16,
        deadline_ms=clock_ms() + 3_000_000,
        budget=budget,
        risk_tier="minimal",
        policy_context=PolicyContext(policy_bundle="0" * 64, contract_ref=sha256_hex(SIGNED), capabilities=["skill:*"]),
        compliance_tags=["data:internal"],
    )


def described(hop: Hop) -> TaskFacts:
    """What an executor says of the task to the policies."""
    return TaskFacts(skill="noop", capability="skill:noop")


def draft(number: int) -> Draft:
    """An envelope of about 1.2 KB on the wire."""
    payload = Task(task_id=f"t{number}", attempt=1, skill="noop", input={"x": "y" * 120}, now=timestamp(clock_ms()))
    return Draft(to="executor", intent="act", payload=payload, step=str(number), budget=Amount(actions=1))
