"""The contract of a workspace, version 2: its signed, versioned, hash-chained mandate (GOV-08). The model only.

A version never changes: a change is a new version that names the one before by the SHA-256 of its stored bytes. Which
versions may follow which is contract_change.py; what makes a stored version believable is contract_chain.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from interlock.envelope.amounts import MAX_INT, Budget, Count, Timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.descriptions import in_one_line
from interlock.envelope.ids import AgentId, Digest, Token, Uuid7
from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.kind_quota import KindQuota, kinds_problem
from interlock.envelope.model import KeyId, Signature
from interlock.envelope.signing import CHANGE_DOMAIN, CONTRACT_DOMAIN, pre_auth

MAX_BYTES = 256 * 1024
Lifecycle = Literal["draft", "active", "frozen", "retired"]
Change = Literal[
    "agents", "plan_logic", "compliance", "economics", "signatures", "determinism", "evidence", "lifecycle"
]
Name = Annotated[str, Meta(min_length=1, max_length=160)]
Text = Annotated[str, Meta(min_length=1, max_length=1000)]
PerMille = Annotated[int, Meta(ge=0, le=1000)]
Days = Annotated[int, Meta(ge=1, le=36_500)]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class EmergencyFlags(_Part, frozen=True, kw_only=True):
    """halted: nothing moves. budgetOverride: goals may exceed quotas.perGoal. humanApprovalRequired: no goal's plan
    starts before a human has approved it.
    """

    halted: bool = False
    budget_override: bool = False
    human_approval_required: bool = False


class Quotas(_Part, frozen=True, kw_only=True):
    """What one goal may state at most, what all goals of a day (UTC) may spend together, and what a kind of work may."""

    per_goal: Budget
    per_day: Budget
    kinds: Annotated[list[KindQuota], Meta(max_length=64)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        problem = kinds_problem(self.kinds_of_work)
        if problem:
            raise ValueError(problem)

    @property
    def kinds_of_work(self) -> list[KindQuota]:
        return [] if self.kinds is UNSET else self.kinds


class ContractAgent(_Part, frozen=True, kw_only=True):
    """An agent that may send, `role` or `role.instance`; a bare role stands for all its instances."""

    agent: AgentId
    capabilities: Annotated[list[Name], Meta(max_length=256)] = field(default_factory=list)


class Checksums(_Part, frozen=True, kw_only=True):
    """SHA-256 over configuration, by what it decides: playbooks and gates; compliance checks; prices."""

    plan_logic: Digest
    compliance: Digest
    economics: Digest


class SigningRule(_Part, frozen=True, kw_only=True):
    """threshold: how many keys, of root or humans, must have signed the versions after this one."""

    threshold: Annotated[int, Meta(ge=1, le=16)] = 1


class Baselines(_Part, frozen=True, kw_only=True):
    """What operation is measured against. Thousandths; thinking in tokens."""

    determinism_per_mille: PerMille = 950
    signed_per_mille: PerMille = 1000
    confidence_per_mille: PerMille = 850
    thinking_tokens: Count = 4000
    complex_thinking_tokens: Count = 8000


class Evidence(_Part, frozen=True, kw_only=True):
    """How long evidence is kept."""

    decision_days: Days = 90
    signature_log_days: Days = 365


class ChangeRequest(_Part, frozen=True, kw_only=True):
    """Who asks to change a frozen contract, what and why. changeDigest: SHA-256 of the asked-for content (JCS of the
    version with neither signatures nor request), so that what is approved is what was asked. Approved by whoever signs
    the version; the asker's own key does not count.
    """

    request_id: Uuid7
    base: Digest
    change: Change
    why: Text
    requested_by: AgentId
    requested_at: Timestamp
    change_digest: Digest
    key_id: KeyId
    signature: Signature


class Contract(_Part, frozen=True, kw_only=True):
    """One version. previousContractRef: null only in version 1. kmsKeyRef: the key that signs bundles, as `scheme:id`.
    retiredRefs: earlier versions that even goals begun under them may not go on with. origin: `generated` was made by
    the system for whoever had none, and is renewed by it; a version that people propose is theirs from then on.
    """

    schema: Literal["interlock-contract-v2"] = "interlock-contract-v2"
    workspace: Token
    contract_version: Annotated[int, Meta(ge=1, le=MAX_INT)]
    previous_contract_ref: Digest | None
    issued_at: Timestamp
    origin: Literal["generated", "proposed"]
    policy_bundle_checksum: Digest
    kms_key_ref: Name
    lifecycle: Lifecycle
    emergency_flags: EmergencyFlags
    quotas: Quotas
    agents: Annotated[list[ContractAgent], Meta(min_length=1, max_length=256)]
    gates: Annotated[list[Annotated[str, Meta(pattern=r"^G[0-9]{1,2}(?!\n)$")]], Meta(max_length=32)]
    checksums: Checksums
    signing: SigningRule = SigningRule()
    baselines: Baselines = Baselines()
    evidence: Evidence = Evidence()
    retired_refs: Annotated[list[Digest], Meta(max_length=1024)] = field(default_factory=list)
    change_request: ChangeRequest | None = None

    def __post_init__(self) -> None:
        names = [entry.agent for entry in self.agents]
        if names != sorted(set(names)):
            raise ValueError("agents are sorted by name, each once")
        if self.gates != sorted(set(self.gates)):
            raise ValueError("gates are sorted, each once")
        if self.retired_refs != sorted(set(self.retired_refs)):
            raise ValueError("retiredRefs are sorted, each once")


class ContractSignature(_Part, frozen=True, kw_only=True):
    key_id: KeyId
    signature: Signature


class SignedContract(_Part, frozen=True, kw_only=True):
    """What is stored: the version and the signatures over its JCS bytes, sorted by key id."""

    contract: Contract
    signatures: Annotated[list[ContractSignature], Meta(max_length=32)]


def contract_message(contract: Contract) -> bytes:
    """What every signer signs."""
    return pre_auth(CONTRACT_DOMAIN, canonical(contract))


def sign_contract(contract: Contract, keys: Iterable[SigningKey], others: Iterable[ContractSignature] = ()) -> bytes:
    """The stored bytes with these keys' signatures beside those that others gave. A key signs once."""
    message = contract_message(contract)
    given = {entry.key_id: entry for entry in others}
    given |= {key.key_id: ContractSignature(key_id=key.key_id, signature=base64url(key.sign(message))) for key in keys}
    return canonical(SignedContract(contract=contract, signatures=[given[name] for name in sorted(given)]))


def change_message(request: ChangeRequest) -> bytes:
    """What the asker signs: the request without its signature."""
    body = msgspec.to_builtins(request)
    del body["signature"]
    return pre_auth(CHANGE_DOMAIN, canonical(body))


def contract_schema() -> dict[str, object]:
    """JSON Schema (2020-12) of a stored version."""
    schema: dict[str, object] = in_one_line(msgspec.json.schema(SignedContract))
    return schema
