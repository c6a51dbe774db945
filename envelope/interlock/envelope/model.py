"""The envelope: one signed JSON object per message (ENV-01). Field names on the wire are those of envelope.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from interlock.envelope.amounts import MAX_INT, Budget, Count, Decimal6, Timestamp
from interlock.envelope.canonical import check_plain
from interlock.envelope.ids import AgentId, Digest, SpanId, Token, TraceId, Uuid7
from interlock.envelope.payloads import AnyPayload, RiskTier

SPEC_VERSION = "1.0"
Intent = Literal["plan", "act", "observe", "escalate", "complete"]
KeyId = Annotated[str, Meta(pattern=r"^[UAO][A-Z2-7]{55}(?!\n)$")]
Signature = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{86}(?!\n)$")]
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
    estimated_cost_usd: Decimal6 = field(name="estimatedCostUSD", default="0")
    carbon_grams_co2: Decimal6 = field(name="carbonGramsCO2", default="0")


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

    spec_version: Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+(?!\n)$")] = SPEC_VERSION
    id: Uuid7
    workspace: Token
    goal_id: Uuid7
    trace_id: TraceId
    span_id: SpanId
    parent_id: Uuid7 | UnsetType = UNSET
    parent_digest: Digest | UnsetType = UNSET
    sender: AgentId = field(name="from")
    to: AgentId | Annotated[list[AgentId], Meta(min_length=1, max_length=16)]
    subject: Annotated[str, Meta(max_length=256)]
    intent: Intent
    payload: AnyPayload
    policy_context: PolicyContext
    budget: Budget
    thinking_budget: Count
    ttl_ms: Annotated[int, Meta(gt=0, le=MAX_INT)]
    created_at: Timestamp
    compliance_tags: list[Annotated[str, Meta(max_length=64)]]
    confidence_score: Confidence
    risk_tier: RiskTier
    cost_estimate: CostEstimate
    sbom_hash: Digest | UnsetType = UNSET
    watermark: Watermark | UnsetType = UNSET
    attestations: Annotated[list[Attestation], Meta(max_length=64)]
    key_id: KeyId
    signature: Signature | UnsetType = UNSET

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
