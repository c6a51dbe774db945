"""Putting a role together: transport, onion, core. The one place where roles, bus and skills meet.

`running(role, parts)` is an async context: while it lasts, one instance of the role works.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct

from interlock.agents.planning.model_settings import ModelPlanner
from interlock.bus.actor import Actor, ActorSettings, OnDead
from interlock.bus.breaker import Breakers, BreakerSettings
from interlock.bus.gates import Receiver, TrustSource, receiving_gates
from interlock.bus.hop import Handler, Hop, Outcome
from interlock.bus.layers import breaker_layer, rate_layer
from interlock.bus.ledger.client import LedgerClient
from interlock.bus.ledger.stage import Charge, budget_layer, granted_budget
from interlock.bus.middleware import Stage, gates_stage, onion
from interlock.bus.rates import Buckets, RateLimit
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import inbox_of
from interlock.bus.tasks import background
from interlock.bus.transport import Transport
from interlock.envelope.amounts import Amount
from interlock.envelope.children import ChildRefused, Draft
from interlock.envelope.payloads import Escalation, Task
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits

UNDELIVERABLE = "undeliverable"


class Parts(Struct, frozen=True, kw_only=True):
    """What a role is put together from. config: the read-only configuration directory. skills: further directories of
    skills. read_roots, write_roots: what skills may be given of the host. day_limit: what the workspace may spend a
    day. model_planner: a model that drafts plans of free-text goals, if any.
    """

    transport: Transport
    workspace: str
    identity: Identity
    trust: TrustSource
    config: Path
    skills: tuple[Path, ...] = ()
    playbooks: tuple[Path, ...] = ()
    read_roots: tuple[Path, ...] = ()
    write_roots: tuple[Path, ...] = ()
    isolation: Literal["strict", "best_effort"] = "strict"
    concurrency: int = 4
    region: str = ""
    day_limit: Amount = Amount(10**9, 500_000_000, 10**12, 10**7)
    limits: Limits = Limits()
    agent_rate: RateLimit = RateLimit()
    workspace_rate: RateLimit = RateLimit()
    breaker: BreakerSettings = BreakerSettings()
    model_planner: ModelPlanner | None = None

    @property
    def sender(self) -> Sender:
        return Sender(self.transport, self.identity, self.limits)


@asynccontextmanager
async def running(role: str, parts: Parts) -> AsyncIterator[None]:
    """Runs one instance of a role. Raises KeyError for a role that is none."""
    async with ROLES[role](parts):
        yield


def receiving(parts: Parts, handler: Handler, *extra: Stage) -> Handler:
    """The receiving onion of a worker: gates in their order, rate, then the role's own layers, then its handler."""
    receiver = Receiver(parts.identity.agent, parts.trust, parts.limits, ReplayMemory())
    stages = [gates_stage(receiving_gates(receiver))]
    stages.append(("rate", rate_layer(Buckets(parts.agent_rate), Buckets(parts.workspace_rate))))
    return onion([*stages, *extra], handler)


def tell_orchestrator(parts: Parts) -> Callable[[Hop, Outcome], Awaitable[None]]:
    """For authentic hops that are given up: their goal hears of it instead of waiting for its deadline."""
    sender = parts.sender

    async def tell(hop: Hop, outcome: Outcome) -> None:
        escalation = Escalation(code=UNDELIVERABLE, question=f"{outcome.reason}: {outcome.detail}"[:2000])
        draft = Draft(to="orchestrator", intent="escalate", payload=escalation, step="undeliverable")
        try:
            await sender.send(hop.origin, [draft], now_ms=parts.transport.clock.now_ms())
        except ChildRefused:
            return  # past its deadline: the orchestrator ends the goal by itself

    return tell


def worker(parts: Parts, handler: Handler, *, concurrency: int = 64, on_dead: OnDead | None = None) -> Actor:
    """An actor on the role's inbox."""
    role = parts.identity.role
    return Actor(
        parts.transport,
        workspace=parts.workspace,
        role=role,
        consumer=inbox_of(parts.workspace, role),
        handler=handler,
        settings=ActorSettings(concurrency=concurrency),
        on_dead=on_dead,
    )


@asynccontextmanager
async def orchestrator(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.goal.decide import Decider
    from interlock.agents.goal.gates import load_gates
    from interlock.agents.orchestration.orchestrator import OrchestratorRole
    from interlock.agents.planning.planner import planner_of

    decider = Decider(load_gates(parts.config / "gates.yaml"))
    role = OrchestratorRole(parts.transport, parts.workspace, parts.sender, decider, planner_of(parts))
    async with background() as group, worker(parts, receiving(parts, role.handle)).running():
        group.start_soon(role.watch_deadlines)
        yield


@asynccontextmanager
async def evaluator(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.evaluation.evaluator import EvaluatorRole
    from interlock.agents.evaluation.injection import load_checker
    from interlock.agents.evaluation.review import ReviewRules
    from interlock.agents.evaluation.risk import load_rules
    from interlock.agents.evaluation.verify_result import SkillFacts
    from interlock.agents.goal.gates import load_gates
    from interlock.skills.registry import Registry
    from interlock.skills.schemas import check

    registry = Registry.load(parts.skills)

    def facts_of(name: str) -> SkillFacts | None:
        skill = registry.find(name)
        return None if skill is None else SkillFacts(skill.digest, skill.manifest.output, skill.manifest.deterministic)

    rules = ReviewRules(
        load_gates(parts.config / "gates.yaml"),
        load_rules(parts.config / "risk.yaml"),
        load_checker(parts.config / "injection.yaml"),
    )
    role = EvaluatorRole(parts.sender, rules, capabilities=registry.capabilities, facts_of=facts_of, check_schema=check)
    async with worker(parts, receiving(parts, role.handle), on_dead=tell_orchestrator(parts)).running():
        yield


@asynccontextmanager
async def executor(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.execution.executor import ExecutorRole, Granted
    from interlock.skills.cost import load_prices
    from interlock.skills.registry import Registry
    from interlock.skills.runner import RunnerSettings, SkillRunner

    def circuit(hop: Hop) -> str:
        payload = hop.envelope.payload
        return f"executor:{payload.skill}" if isinstance(payload, Task) else ""

    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-executor-")))
        settings = RunnerSettings(concurrency=parts.concurrency, isolation=parts.isolation)
        runner = await stack.enter_async_context(SkillRunner.started(settings))
        role = ExecutorRole(
            parts.transport,
            parts.workspace,
            parts.sender,
            registry=Registry.load(parts.skills),
            runner=runner,
            prices=load_prices(parts.config / "prices.yaml", parts.region),
            granted=Granted(parts.read_roots, parts.write_roots, parts.config),
            scratch=scratch,
        )
        ledger = LedgerClient(parts.transport, parts.workspace)
        handler = receiving(
            parts,
            role.handle,
            ("breaker", breaker_layer(Breakers(parts.breaker), circuit)),
            ("budget", budget_layer(ledger, Charge(granted_budget))),
        )
        tell = tell_orchestrator(parts)

        async def give_up(hop: Hop, outcome: Outcome) -> None:
            if isinstance(hop.envelope.payload, Task) and outcome.reason is not Reason.EXPIRED:
                await role.refuse(hop, outcome.reason, outcome.detail)
            else:
                await tell(hop, outcome)

        async with worker(parts, handler, concurrency=max(16, 4 * parts.concurrency), on_dead=give_up).running():
            yield


@asynccontextmanager
async def auditor(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.audit.auditor import auditor_running

    async with auditor_running(parts):
        yield


@asynccontextmanager
async def synthesizer(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.learning.synthesizer import SynthesizerRole

    role = SynthesizerRole(parts.transport, parts.sender)
    async with worker(parts, receiving(parts, role.handle), on_dead=tell_orchestrator(parts)).running():
        yield


@asynccontextmanager
async def gateway(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.intake.gateway import gateway_running

    async with gateway_running(parts):
        yield


ROLES = {
    "gateway": gateway,
    "orchestrator": orchestrator,
    "evaluator": evaluator,
    "executor": executor,
    "auditor": auditor,
    "synthesizer": synthesizer,
}
