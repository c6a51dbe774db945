"""The gate that demands the grant of a hop's goal (goal_grant.NEEDING): of evaluator, auditor and synthesizer only, so that the
hops of an executor, which the rest of the table is of, do not have it.
"""

from __future__ import annotations

import time

from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import Hop
from interlock.bus.transport import Message
from interlock.envelope.amounts import Amount, clock_ms, timestamp
from interlock.envelope.capability_token import Proven, first_grant
from interlock.envelope.children import Draft, derive
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.payloads import TaskResult
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import seal
from interlock.envelope.trust import AgentRecord, KeyRecord, TrustStore, load, sign_store
from interlock.envelope.verification import Limits, decode
from scripts.bench.mandates import KEYS, ROOT, mandate

COUNT = 2_000
GOALS = 200
GATEWAY = SigningKey(b"gateway".ljust(32, b"."))
BUDGET = Amount(10**6, 10**9, 10**9, 10**9)
RESULT = TaskResult(task_id="t", attempt=1, skill="noop", skill_digest="0" * 64, outcome="done", detail="")


class Trusted:
    """A gateway, which signs grants, and an orchestrator, to whom they are given."""

    def __init__(self) -> None:
        now = clock_ms()
        window = {"not_before": timestamp(now - 10**6), "not_after": timestamp(now + 10**9)}
        keys = {"gateway": GATEWAY, "orchestrator": KEYS["orchestrator"]}
        records = [
            AgentRecord(agent=a, keys=[KeyRecord(key_id=k.key_id, **window)], capabilities=["skill:*"], trust_level=90)
            for a, k in sorted(keys.items())
        ]
        store = TrustStore(workspace="default", version=1, issued_at=timestamp(now), agents=records)
        self.trust = load(sign_store(store, [ROOT]), [ROOT.key_id])


def results_of(goal_id: str, count: int) -> list[Hop]:
    """Results of one goal as an evaluator reads them: decoded anew each, with one grant in all of them."""
    now_ms, parent = clock_ms(), mandate(goal_id, BUDGET)
    grant = first_grant(
        "orchestrator",
        goal_id,
        parent.policy_context.capabilities,
        given_by="gateway",
        key=GATEWAY,
        now_ms=now_ms,
        life_ms=parent.deadline_ms - now_ms,
        budget=BUDGET.budget,
        contract_ref=parent.policy_context.contract_ref,
    )
    draft = Draft(to="evaluator", intent="observe", payload=RESULT, step="result", attestations=[grant])
    key = KEYS["executor"]
    envelope = derive(parent, draft, sender="executor", key_id=key.key_id, now_ms=now_ms)
    data = seal(envelope, key).wire
    hops = []
    for _ in range(count):
        hop, checked = Hop(Message(envelope.subject, data), now_ms + 1), decode(data)
        if checked.envelope is None:
            raise SystemExit(f"the bench's result is no hop: {checked}")
        hop.envelope = checked.envelope
        hops.append(hop)
    return hops


def gate_us(hops: list[Hop]) -> float:
    """Mean CPU time of the gate, us."""
    source = Trusted()
    receiver = Receiver("evaluator", source, Limits(), ReplayMemory(), proven=Proven())
    gate = dict(receiving_gates(receiver))["grant"]
    began_ns = time.thread_time_ns()
    refused = [checked for checked in map(gate, hops) if not checked.ok]
    spent_ns = time.thread_time_ns() - began_ns
    if refused:
        raise SystemExit(f"the gate refuses what it should let in: {refused[0]}")
    return spent_ns / len(hops) / 1_000


def measure() -> dict[str, float]:
    """grant: a hop of a goal whose grant has been seen; grant_first: the first of its goal, whose signature is verified."""
    firsts = [hop for _ in range(GOALS) for hop in results_of(new_id(clock_ms()), 1)]
    return {
        "hop_stage_us.grant": gate_us(results_of(new_id(clock_ms()), COUNT)),
        "hop_stage_us.grant_first": gate_us(firsts),
    }
