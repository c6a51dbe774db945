"""How the short texts of an envelope are spelt: one match for all of them together, where one for each, as msgspec does
it, took a third of decoding. Whoever decodes an Envelope calls `check_spelling` next; `verification.decode` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import UNSET, Meta

from interlock.envelope.amounts import DECIMAL6_PATTERN, TIMESTAMP_PATTERN
from interlock.envelope.ids import (
    AGENT_PATTERN,
    DIGEST_PATTERN,
    SPAN_ID_PATTERN,
    TOKEN_PATTERN,
    TRACE_ID_PATTERN,
    UUID7_PATTERN,
)

if TYPE_CHECKING:
    from interlock.envelope.model import Envelope

VERSION_PATTERN = r"^[0-9]+\.[0-9]+(?!\n)$"
KEY_ID_PATTERN = r"^[UAO][A-Z2-7]{55}(?!\n)$"
SIGNATURE_PATTERN = r"^[A-Za-z0-9_-]{86}(?!\n)$"


def spelt(pattern: str) -> Meta:
    """A text that `check_spelling` looks at, and not msgspec; the JSON Schema names its pattern all the same."""
    return Meta(extra_json_schema={"pattern": pattern})


# In the order in which `check_spelling` joins them. No pattern lets a line break through, so that lines stay apart.
_LINES = (
    VERSION_PATTERN, UUID7_PATTERN, TOKEN_PATTERN, UUID7_PATTERN, TRACE_ID_PATTERN, SPAN_ID_PATTERN, UUID7_PATTERN,
    DIGEST_PATTERN, AGENT_PATTERN, AGENT_PATTERN, TIMESTAMP_PATTERN, DECIMAL6_PATTERN, DECIMAL6_PATTERN, KEY_ID_PATTERN,
    SIGNATURE_PATTERN,
)  # fmt: skip
_together = re.compile("\n".join(line.removeprefix("^").removesuffix(r"(?!\n)$") for line in _LINES)).fullmatch


def check_spelling(envelope: Envelope) -> None:
    """Raises ValueError, which names the JSON path, unless every text of the envelope has the form that it must have."""
    e, cost = envelope, envelope.cost_estimate
    if e.sbom_hash is UNSET and _together(
        f"{e.spec_version}\n{e.id}\n{e.workspace}\n{e.goal_id}\n{e.trace_id}\n{e.span_id}\n{e.parent_id}\n"
        f"{e.parent_digest}\n{e.sender}\n{e.to}\n{e.created_at}\n{cost.estimated_cost_usd}\n{cost.carbon_grams_co2}\n"
        f"{e.key_id}\n{e.signature}"
    ):
        return  # as all but few: a parent, one recipient, a signature; of what is unset or a list no pattern is
    texts: list[tuple[str, str, object]] = [
        ("specVersion", VERSION_PATTERN, e.spec_version),
        ("id", UUID7_PATTERN, e.id),
        ("workspace", TOKEN_PATTERN, e.workspace),
        ("goalId", UUID7_PATTERN, e.goal_id),
        ("traceId", TRACE_ID_PATTERN, e.trace_id),
        ("spanId", SPAN_ID_PATTERN, e.span_id),
        ("parentId", UUID7_PATTERN, e.parent_id),
        ("parentDigest", DIGEST_PATTERN, e.parent_digest),
        ("from", AGENT_PATTERN, e.sender),
        *(("to", AGENT_PATTERN, agent) for agent in e.recipients),
        ("createdAt", TIMESTAMP_PATTERN, e.created_at),
        ("costEstimate.estimatedCostUSD", DECIMAL6_PATTERN, cost.estimated_cost_usd),
        ("costEstimate.carbonGramsCO2", DECIMAL6_PATTERN, cost.carbon_grams_co2),
        ("sbomHash", DIGEST_PATTERN, e.sbom_hash),
        ("keyId", KEY_ID_PATTERN, e.key_id),
        ("signature", SIGNATURE_PATTERN, e.signature),
    ]
    for name, pattern, text in texts:
        if text is not UNSET and not re.search(pattern, str(text)):
            raise ValueError(f"Expected `str` matching regex {pattern!r} - at `$.{name}`")
