"""A policy decision: by the worker child, there and back, with all policies of the distribution and with so many that 50 rules
remain; by the engine alone; and from the memo.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from interlock.bus.policy.bundle import PolicyBundle, load_bundle
from interlock.bus.policy.engine import Engine
from interlock.bus.policy.facts import AgentFacts, BudgetFacts, Facts, GoalFacts, HopFacts, TaskFacts
from interlock.bus.policy.rego_source import Module, read_source
from interlock.bus.policy.service import PolicyService
from scripts.bench.mandates import POLICIES

COUNT = 2_000
RULES = 50
# Without these two nothing is decided; each of the others can be left out as a whole.
NEEDED = {"main.rego", "authz.rego", "approval.rego"}
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


def rules_in(module: Module) -> int:
    """Rules by their names: several bodies of one are one."""
    return len(read_source(module.name, module.text).heads)


def cut(bundle: PolicyBundle, rules: int) -> PolicyBundle:
    """The bundle without whole policies, so that at least as many rules remain and as few more as can be, of the fewest files.

    The one decision names each policy in lines of its own, which go with it; what remains is vetted like any bundle.
    """
    counts = {module.name.rpartition("/")[2]: rules_in(module) for module in bundle.modules}
    others = sorted(counts.keys() - NEEDED)
    total = sum(counts.values())
    left = [out for size in range(len(others) + 1) for out in itertools.combinations(others, size)]
    enough = [out for out in left if total - sum(counts[name] for name in out) >= rules]
    out = min(enough, key=lambda names: (total - sum(counts[name] for name in names), len(names)))
    with tempfile.TemporaryDirectory() as directory:
        policies = Path(directory)
        for name in counts.keys() - set(out):
            shutil.copy(POLICIES / name, policies)
        main = policies / "main.rego"
        named = re.compile(rf"\b({'|'.join(name.removesuffix('.rego') for name in out)})\b(?=\.|$)")
        main.write_text(
            "".join(line for line in main.read_text().splitlines(True) if not out or not named.search(line))
        )
        return load_bundle(policies)


def there_and_back(bundle: PolicyBundle) -> dict[str, float]:
    service = PolicyService(bundle)
    problem = service.worker.start()
    if problem is not None:
        raise SystemExit(problem.grounds[0].message)
    try:
        return asyncio.run(asked(service))
    finally:
        service.close()


def measure() -> dict[str, float]:
    bundle = load_bundle(POLICIES)
    smaller = cut(bundle, RULES)
    return there_and_back(bundle) | {
        "policy_p99_ms_50_rules": there_and_back(smaller)["policy_p99_ms"],
        "policy_rules": float(sum(map(rules_in, bundle.modules))),
        "policy_rules_50": float(sum(map(rules_in, smaller.modules))),
        "policy_cpu_p99_ms": cpu_p99_ms(bundle.modules),
        "policy_cpu_p99_ms_50_rules": cpu_p99_ms(smaller.modules),
    }
