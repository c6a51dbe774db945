"""A policy decision, with all policies of the distribution: by the worker child, there and back; and from the memo."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from interlock.bus.policy.bundle import load_bundle
from interlock.bus.policy.engine import Engine
from interlock.bus.policy.facts import AgentFacts, BudgetFacts, Facts, GoalFacts, HopFacts, TaskFacts
from interlock.bus.policy.rego_source import Module, read_source
from interlock.bus.policy.service import PolicyService

POLICIES = Path(__file__).resolve().parents[2] / "config" / "policies"
COUNT = 2_000
WORKER = AgentFacts(capabilities=["skill:*"], trust_level=50, revoked=False)


def facts(number: int) -> Facts:
    """Inputs that differ, so that none is remembered; a few of them are denied."""
    hop = HopFacts(
        sender="orchestrator",
        from_role="orchestrator",
        to=["executor"],
        intent="act",
        payload="task",
        risk_tier="high" if number % 50 == 0 else "minimal",
        tags=["data:internal"],
        confidence=850 + number % 150,
    )
    return Facts(
        hop=hop,
        agent=WORKER,
        performer=WORKER,
        budget=BudgetFacts(within_grant=True, cost_usd_at_most=1),
        goal=GoalFacts(capabilities=["skill:*"]),
        task=TaskFacts(skill=f"skill-{number}", capability=f"skill:skill-{number}"),
    )


async def asked(service: PolicyService) -> dict[str, float]:
    samples = []
    for number in range(COUNT):
        given = facts(number)
        began = time.perf_counter()
        verdict = await service.judge(given)
        samples.append(time.perf_counter() - began)
        if verdict.allowed == (given.hop.risk_tier == "high"):
            raise SystemExit(f"the policies judged wrongly: {verdict}")
    given = facts(1)
    began_ns = time.process_time_ns()
    for _ in range(COUNT):
        await service.judge(given)
    memo_us = (time.process_time_ns() - began_ns) / COUNT / 1_000
    samples.sort()
    return {
        "policy_p50_ms": samples[COUNT // 2] * 1000,
        "policy_p99_ms": samples[COUNT * 99 // 100] * 1000,
        "policy_memo_us": memo_us,
    }


def cpu_p99_ms(modules: Sequence[Module]) -> float:
    """The engine alone, in CPU time: what is left of the figure on a machine that does other things as well."""
    engine = Engine(modules)
    samples = []
    for number in range(COUNT):
        document = msgspec.to_builtins(facts(number))
        began = time.thread_time()
        engine.judge(document)
        samples.append(time.thread_time() - began)
    return sorted(samples)[COUNT * 99 // 100] * 1000


def measure() -> dict[str, float]:
    bundle = load_bundle(POLICIES)
    service = PolicyService(bundle)
    problem = service.worker.start()
    if problem is not None:
        raise SystemExit(problem.grounds[0].message)
    try:
        figures = asyncio.run(asked(service))
    finally:
        service.close()
    rules = sum(len(read_source(module.name, module.text).heads) for module in bundle.modules)
    return figures | {"policy_rules": float(rules), "policy_cpu_p99_ms": cpu_p99_ms(bundle.modules)}
