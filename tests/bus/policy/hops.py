"""Decoded hops and a trust store for the policy layer."""

from __future__ import annotations

from typing import Any

from interlock.bus.hop import Hop
from interlock.bus.transport import Message
from interlock.envelope.amounts import Amount, timestamp
from interlock.envelope.children import Draft, root
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import Task
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store

NOW = 1_763_700_000_000
KEYS = {agent: SigningKey(agent.encode().ljust(32, b".")) for agent in ("orchestrator", "executor")}
ROOT = SigningKey(b"r" * 32, "O")


class Source:
    """A gates.TrustSource."""

    def __init__(self) -> None:
        window = {"not_before": timestamp(NOW - 10**6), "not_after": timestamp(NOW + 10**9)}
        records = [
            AgentRecord(
                agent=agent,
                keys=[KeyRecord(key_id=key.key_id, **window)],
                capabilities=["skill:*"] if agent == "executor" else [],
                trust_level=50,
            )
            for agent, key in KEYS.items()
        ]
        store = TrustStore(workspace="default", version=1, issued_at=timestamp(NOW), agents=records)
        self.trust: Trust = load(sign_store(store, [ROOT]), [ROOT.key_id])


def task_hop(*, tags: tuple[str, ...] = ("data:internal",), **draft: Any) -> Hop:
    """A task from the orchestrator to the executor, as the gates hand it on."""
    number = new_id(NOW)
    payload = Task(task_id="t", attempt=1, skill="resizing-images", input={}, now=timestamp(NOW))
    usual: dict[str, Any] = {"budget": Amount(usd_micro=500_000, actions=1), "intent": "act", "payload": payload}
    envelope = root(
        Draft(to="executor", step="1", **usual | draft),
        goal_id=number,
        workspace="default",
        trace_id="ab" * 16,
        sender="orchestrator",
        key_id=KEYS["orchestrator"].key_id,
        now_ms=NOW,
        ttl_ms=60_000,
        policy_context=PolicyContext(policy_bundle="", contract_ref="", capabilities=["skill:*"]),
        compliance_tags=list(tags),
    )
    hop = Hop(Message(envelope.subject, b""), NOW)
    hop.envelope = envelope
    return hop
