"""The envelope: one signed JSON object per message (ENV-01). Field names on the wire are those of envelope.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from interlock.envelope.amounts import DECIMAL6_PATTERN, MAX_INT, TIMESTAMP_PATTERN, Budget, Count, Timestamp
from interlock.envelope.canonical import check_plain
from interlock.envelope.ids import (
    AGENT_PATTERN,
    DIGEST_PATTERN,
    SPAN_ID_PATTERN,
    TOKEN_PATTERN,
    TRACE_ID_PATTERN,
    UUID7_PATTERN,
)
from interlock.envelope.payloads import AnyPayload, RiskTier
from interlock.envelope.spelling import KEY_ID_PATTERN, SIGNATURE_PATTERN, VERSION_PATTERN, spelt

SPEC_VERSION = "1.0"
Intent = Literal["plan", "act", "observe", "escalate", "complete"]
KeyId = Annotated[str, Meta(pattern=KEY_ID_PATTERN)]
Signature = Annotated[str, Meta(pattern=SIGNATURE_PATTERN)]
# Of an envelope's own: looked at all together (spelling.py).
_Id = Annotated[str, spelt(UUID7_PATTERN)]
_Digest = Annotated[str, spelt(DIGEST_PATTERN)]
_Agent = Annotated[str, spelt(AGENT_PATTERN)]
_Decimal6 = Annotated[str, spelt(DECIMAL6_PATTERN)]
Confidence = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]


class _Wire(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class PolicyContext(_Wire, frozen=True, kw_only=True):
    """What was in force when the envelope was signed: digests of policy bundle and contract, capabilities held."""

    policy_bundle: Annotated[str, Meta(max_length=80)]
    contract_ref: Annotated[str, Meta(max_length=80)]
    capabilities: list[Annotated[str, Meta(max_length=160)]]


class CostEstimate(_Wire, frozen=True, kw_only=True):
    """Expected cost: model tokens, money and carbon as decimal strings (ENV-07)."""

    tokens: Count = 0
    estimated_cost_usd: _Decimal6 = field(name="estimatedCostUSD", default="0")
    carbon_grams_co2: _Decimal6 = field(name="carbonGramsCO2", default="0")


class Watermark(_Wire, frozen=True, kw_only=True):
    """The mark of generated content (ENV-09)."""

    algorithm: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}(?!\n)$")]
    signature: Annotated[str, Meta(max_length=8192)]
    timestamp: Timestamp


class Attestation(_Wire, frozen=True, kw_only=True):
    """A signed in-toto Statement v1 (ENV-08)."""

    statement: dict[str, Any]
    key_id: KeyId
    signature: Signature

    def __post_init__(self) -> None:
        check_plain(self.statement, "$.attestations.statement")


class Envelope(_Wire, frozen=True, kw_only=True):
    """One message from one agent to others. Made by `children.derive` or `children.root`, signed by `signing.seal`.

    `signature` is unset only before signing. `thinking_budget` repeats `budget.thinkingTokens` under the name the
    seeds use. `parent_id` and `parent_digest` (SHA-256 of the parent's wire bytes) link the hops into a hash graph.
    """

    spec_version: Annotated[str, spelt(VERSION_PATTERN)] = SPEC_VERSION
    id: _Id
    workspace: Annotated[str, spelt(TOKEN_PATTERN)]
    goal_id: _Id
    trace_id: Annotated[str, spelt(TRACE_ID_PATTERN)]
    span_id: Annotated[str, spelt(SPAN_ID_PATTERN)]
    parent_id: _Id | UnsetType = UNSET
    parent_digest: _Digest | UnsetType = UNSET
    sender: _Agent = field(name="from")
    to: _Agent | Annotated[list[_Agent], Meta(min_length=1, max_length=16)]
    subject: Annotated[str, Meta(max_length=256)]
    intent: Intent
    payload: AnyPayload
    policy_context: PolicyContext
    budget: Budget
    thinking_budget: Count
    ttl_ms: Annotated[int, Meta(gt=0, le=MAX_INT)]
    created_at: Annotated[str, spelt(TIMESTAMP_PATTERN)]
    compliance_tags: list[Annotated[str, Meta(max_length=64)]]
    confidence_score: Confidence
    risk_tier: RiskTier
    cost_estimate: CostEstimate
    sbom_hash: _Digest | UnsetType = UNSET
    watermark: Watermark | UnsetType = UNSET
    attestations: Annotated[list[Attestation], Meta(max_length=64)]
    key_id: Annotated[str, spelt(KEY_ID_PATTERN)]
    signature: Annotated[str, spelt(SIGNATURE_PATTERN)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        score = self.confidence_score
        if type(score) is float and (score.is_integer() or round(score, 3) != score):
            raise ValueError("confidenceScore has at most three decimals, and 0 and 1 have none")
        if self.thinking_budget != self.budget.thinking_tokens:
            raise ValueError("thinkingBudget differs from budget.thinkingTokens")

    @property
    def recipients(self) -> list[str]:
        return [self.to] if isinstance(self.to, str) else self.to


def confidence(per_mille: int) -> int | float:
    """Parts per thousand as the wire writes it: 850 → 0.85, 1000 → 1. Raises ValueError outside 0..1000."""
    if not 0 <= per_mille <= 1000:
        raise ValueError(f"a confidence is 0 to 1000 parts per thousand, not {per_mille}")
    return per_mille // 1000 if per_mille % 1000 == 0 else per_mille / 1000
