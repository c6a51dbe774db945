"""Putting the roles together. The one place where roles, bus and skills meet; no role knows another.

`running(role, parts)` is an async context: while it lasts, one instance of the role works. Imports are inside, so that
a role's process loads only what is its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import cache, partial
from pathlib import Path

import anyio

from interlock.agents.parts import Parts, receiving, tell_orchestrator, worker
from interlock.bus.breaker import Breakers
from interlock.bus.hop import Hop, Outcome
from interlock.bus.layers import breaker_layer
from interlock.bus.ledger.client import LedgerClient
from interlock.bus.ledger.stage import Charge, budget_layer, granted_budget
from interlock.bus.tasks import background
from interlock.envelope.payloads import Task
from interlock.envelope.verdict import Reason

REPORTS_AFTER_S = 15


@asynccontextmanager
async def running(role: str, parts: Parts) -> AsyncIterator[None]:
    """Runs one instance of a role. Raises KeyError for a role that is none."""
    async with ROLES[role](parts):
        yield


@asynccontextmanager
async def orchestrator(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.approvals.notify import notifying
    from interlock.agents.goal.decide import Decider
    from interlock.agents.goal.gates import load_gates
    from interlock.agents.orchestration.orchestrator import OrchestratorRole
    from interlock.agents.orchestration.permitting import permit_of
    from interlock.agents.planning.planner import planner_of

    decider = Decider(load_gates(parts.config / "gates.yaml"))
    role = OrchestratorRole(
        parts.transport,
        parts.workspace,
        parts.sender,
        decider,
        planner_of(parts),
        parts.seals,
        control=parts.control,
        trust=parts.trust,
        terms=parts.approvals,
        telemetry=parts.telemetry,
        permit=permit_of(parts),
        contract=parts.contract,
    )
    if parts.telemetry.metrics is not None:
        from interlock.agents.telemetry.gauges import show_open

        show_open(parts.telemetry.metrics, role.open_now)
    inbox = worker(parts, receiving(parts, role.handle), on_dead=role.give_up)
    hook = parts.webhook
    notices = (
        notifying(parts.transport, parts.workspace, hook, parts.trust, parts.limits)
        if hook is not None
        else nullcontext()
    )
    async with background() as group, inbox.running(), role.hearing_reminders(), notices:
        group.start_soon(role.watch_deadlines)
        yield


@asynccontextmanager
async def evaluator(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.evaluation.evaluation import Evaluation, load_review_rules
    from interlock.agents.evaluation.evaluator import EvaluatorRole
    from interlock.agents.evaluation.verify_result import skill_facts
    from interlock.agents.flags.file import AI_ACT, ENHANCED, load_flags
    from interlock.agents.flags.provider import flag_asker
    from interlock.skills.registry import Registry
    from interlock.skills.schemas import check

    registry = Registry.load(parts.skills)
    # A flag that cannot be resolved is on: it only makes the review stricter.
    ask = flag_asker(load_flags(parts.config / "flags.yaml"), parts)
    evaluation = Evaluation(
        rules=load_review_rules(parts.config),
        capabilities=registry.capabilities,
        facts_of=lambda name: skill_facts(registry, name),
        check_schema=check,
        contract=parts.contract,
        is_enhanced=lambda tier: ask(ENHANCED, True, riskTier=tier),
        demands_ai_act=lambda tier: ask(AI_ACT, True, riskTier=tier),
        approvals=registry.approvals,
    )
    role = EvaluatorRole(parts.sender, evaluation)
    async with worker(parts, receiving(parts, role.handle), on_dead=tell_orchestrator(parts)).running():
        yield


@asynccontextmanager
async def executor(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.approvals.evidence import ApprovalCheck
    from interlock.agents.contract.kinds import kind_of_task
    from interlock.agents.execution.executor import ExecutorRole, Granted
    from interlock.agents.goal.task_facts import task_facts
    from interlock.skills.cost import load_prices
    from interlock.skills.registry import Registry
    from interlock.skills.runner import RunnerSettings, SkillRunner

    def circuit(hop: Hop) -> str:
        payload = hop.envelope.payload
        return f"executor:{payload.skill}" if isinstance(payload, Task) else ""

    approvals = ApprovalCheck(parts.trust, parts.approvals, parts.limits)
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-executor-")))
        settings = RunnerSettings(concurrency=parts.concurrency, isolation=parts.isolation)
        runner = await stack.enter_async_context(SkillRunner.started(settings))
        registry = Registry.load(parts.skills)
        role = ExecutorRole(
            parts.transport,
            parts.workspace,
            parts.sender,
            registry=registry,
            runner=runner,
            prices=load_prices(parts.config / "prices.yaml", parts.region),
            granted=Granted(parts.read_roots, parts.write_roots, parts.config),
            scratch=scratch,
            trust=parts.trust,
            control=parts.control,
            grace_ms=parts.halt_grace_ms,
            approvals=approvals,
            telemetry=parts.telemetry,
        )
        ledger = LedgerClient(parts.transport, parts.workspace)
        handler = receiving(
            parts,
            role.handle,
            ("breaker", breaker_layer(Breakers(parts.breaker), circuit)),
            ("budget", budget_layer(ledger, Charge(granted_budget, kind=partial(kind_of_task, parts.contract)))),
            task_facts=lambda hop: task_facts(hop, registry.find),
            approval_facts=approvals.facts,
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

    async with background() as group, auditor_running(parts):
        group.start_soon(_reporting, parts)
        yield


async def _reporting(parts: Parts) -> None:
    """The production rhythm. It is loaded when the house has had time to begin: a goal that waits comes first."""
    await anyio.sleep(REPORTS_AFTER_S)
    from interlock.agents.deviations.book import Book
    from interlock.agents.deviations.fold import Deviation
    from interlock.agents.replay.code import Code, load_code
    from interlock.agents.reports.gathering import Sources
    from interlock.agents.reports.rhythm import Rhythm

    @cache
    def code() -> Code:
        return load_code(
            parts.config,
            skills=parts.skills,
            playbooks=parts.playbooks,
            workspace=parts.workspace,
            environment=parts.environment,
        )

    async def deviations() -> list[Deviation]:
        return list((await Book(parts.transport, parts.workspace, parts.seals).refresh()).values())

    contract = parts.contract
    sources = Sources(
        parts.transport,
        parts.workspace,
        parts.trust,
        parts.limits,
        chain=lambda: None if contract is None else contract.chain,
        code=code,
    )
    rhythm = Rhythm(sources, parts.identity, parts.config, parts.region, deviations, parts.reports)
    async with rhythm.running():
        await anyio.sleep_forever()


@asynccontextmanager
async def synthesizer(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.learning.synthesizer import SynthesizerRole

    role = SynthesizerRole(parts.transport, parts.sender)
    async with worker(parts, receiving(parts, role.handle), on_dead=tell_orchestrator(parts)).running():
        yield


@asynccontextmanager
async def gateway(parts: Parts) -> AsyncIterator[None]:
    from interlock.agents.intake.running import gateway_running

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
