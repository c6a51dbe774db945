"""Contracts signed by fixed keys at fixed times, and why one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from interlock.envelope.amounts import Budget, timestamp
from interlock.envelope.contract import (
    Change,
    ChangeRequest,
    Checksums,
    Contract,
    ContractAgent,
    EmergencyFlags,
    Quotas,
    change_message,
    sign_contract,
)
from interlock.envelope.contract_chain import Chain, ContractError, Signers, first
from interlock.envelope.contract_change import change_digest
from interlock.envelope.ids import new_id, sha256_hex
from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store

NOW = 1_763_700_000_000
DAY_MS = 86_400_000
WORKSPACE = "default"


def fixed_key(name: str, kind: str = "U") -> SigningKey:
    return SigningKey(bytes.fromhex(sha256_hex(name.encode())), kind)


ROOT = fixed_key("root", "O")
OTHER_ROOT = fixed_key("other root", "O")
ADA, GRACE, CLERK, EXECUTOR = (fixed_key(name) for name in ("ada", "grace", "clerk", "executor"))
SIGNING = ["approve:*", "contract:sign"]


def trust_of(**more: Any) -> Trust:
    """more: fields of every key record, by agent."""
    window = {"not_before": timestamp(NOW - DAY_MS), "not_after": timestamp(NOW + 30 * DAY_MS)}
    people = {"human.ada": (ADA, SIGNING), "human.grace": (GRACE, SIGNING), "human.clerk": (CLERK, ["approve:*"])}
    records = [
        AgentRecord(
            agent=agent,
            keys=[KeyRecord(key_id=key.key_id, **window | more.get(agent.partition(".")[2], {}))],
            capabilities=held,
        )
        for agent, (key, held) in (people | {"executor": (EXECUTOR, ["skill:*", "contract:sign"])}).items()
    ]
    store = TrustStore(workspace=WORKSPACE, version=1, issued_at=timestamp(NOW), agents=records)
    return load(sign_store(store, [ROOT]), [ROOT.key_id])


SIGNERS = Signers((ROOT.key_id,), trust_of())
FIRST = Contract(
    workspace=WORKSPACE,
    contract_version=1,
    previous_contract_ref=None,
    issued_at=timestamp(NOW),
    origin="proposed",
    policy_bundle_checksum="b" * 64,
    kms_key_ref="ed25519-nkey:x",
    lifecycle="active",
    emergency_flags=EmergencyFlags(),
    quotas=Quotas(per_goal=Budget(cost_usd="1", actions=10), per_day=Budget(cost_usd="500", actions=100)),
    agents=[ContractAgent(agent=name) for name in ("auditor", "evaluator")]
    + [ContractAgent(agent="executor", capabilities=["skill:*"])]
    + [ContractAgent(agent=name) for name in ("gateway", "human", "orchestrator", "synthesizer")],
    gates=["G0", "G1"],
    checksums=Checksums(plan_logic="1" * 64, compliance="2" * 64, economics="3" * 64),
)


def chain_of(contract: Contract = FIRST) -> Chain:
    return first(sign_contract(contract, [ROOT]), WORKSPACE, SIGNERS)


def after(chain: Chain, **more: Any) -> Contract:
    """The next version, an hour later."""
    head = chain.head
    fields: dict[str, Any] = {
        "contract_version": head.contract.contract_version + 1,
        "previous_contract_ref": head.ref,
        "issued_at": timestamp(NOW + 3_600_000 * head.contract.contract_version),
        "change_request": None,
    }
    return replace(head.contract, **fields | more)


def grown(
    chain: Chain, *keys: SigningKey, signers: Signers = SIGNERS, seen_ms: int | None = None, **more: Any
) -> Chain:
    """Extended by one more version with these changes."""
    return chain.extended(sign_contract(after(chain, **more), keys or [ROOT]), signers, seen_ms)


def frozen() -> Chain:
    return grown(chain_of(), lifecycle="frozen")


def asked(contract: Contract, change: Change, key: SigningKey = ADA, by: str = "human.ada", **more: Any) -> Contract:
    """With a request for exactly this version. more: fields of the request, changed before it is signed."""
    fields: dict[str, Any] = {
        "request_id": new_id(NOW, b"request-01"),
        "base": contract.previous_contract_ref,
        "change": change,
        "why": "it must be",
        "requested_by": by,
        "requested_at": contract.issued_at,
        "change_digest": change_digest(contract),
        "key_id": key.key_id,
        "signature": "A" * 86,
    }
    request = ChangeRequest(**fields | more)
    signed = replace(request, signature=base64url(key.sign(change_message(request))))
    return replace(contract, change_request=signed)


def reason(make: Any) -> str:
    """Of the refusal that it ends in."""
    with pytest.raises(ContractError) as caught:
        make()
    assert caught.value.detail
    return caught.value.reason
