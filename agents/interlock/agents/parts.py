"""What every role is put together from: Parts, the receiving onion, the actor on an inbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from interlock.agents.planning.model_settings import ModelPlanner
from interlock.agents.posting import Webhook
from interlock.agents.telemetry.telemetry import OFF, Telemetry
from interlock.bus.actor import Actor, ActorSettings, OnDead
from interlock.bus.breaker import BreakerSettings
from interlock.bus.control.source import NO_CONTROL, ControlSource
from interlock.bus.gates import ContractSource, Receiver, TrustSource, receiving_gates
from interlock.bus.hop import Handler, Hop, Outcome
from interlock.bus.layers import rate_layer
from interlock.bus.middleware import Stage, first_refusal, gates_stage, onion
from interlock.bus.policy.service import policy_service
from interlock.bus.policy.stage import ApprovalFactsOf, HopFactsSource, TaskFactsOf, no_approval, no_task, policy_layer
from interlock.bus.rates import Buckets, RateLimit
from interlock.bus.records import Seals
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import inbox_of
from interlock.bus.transport import Transport
from interlock.envelope.amounts import Amount
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.capability_token import Proven
from interlock.envelope.children import ChildRefused, Draft
from interlock.envelope.goal_grant import needs_grant
from interlock.envelope.payloads import Escalation
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.verification import Limits

UNDELIVERABLE = "undeliverable"


class Parts(Struct, frozen=True, kw_only=True):
    """What a role is put together from. config: the read-only configuration directory. contract: the mandate that
    every hop moves under; None only in tests of single roles. skills, playbooks, policies: further directories of
    them. read_roots, write_roots: what skills may be given of the host. day_limit: what the workspace may spend a day.
    approvals: what is asked of them; webhook: where people are told of them; witness: who is handed the audit log's
    checkpoints. model_planner: a model that drafts plans of free-text goals, if any. log_memory: where the auditor
    remembers its last checkpoint, outside the broker. reports: where it lays out its reports by date. pseudonyms:
    whether goals name people by salted hashes. token_key: the URI of the key that signs goals' capability tokens, if
    not the gateway's own. secured: the broker knows its users. control: which halts are in force. halt_grace_ms: how
    long a running skill may go on after a halt. telemetry: what the role shows itself by.
    """

    transport: Transport
    workspace: str
    identity: Identity
    trust: TrustSource
    config: Path
    contract: ContractSource | None = None
    skills: tuple[Path, ...] = ()
    playbooks: tuple[Path, ...] = ()
    policies: tuple[Path, ...] = ()
    read_roots: tuple[Path, ...] = ()
    write_roots: tuple[Path, ...] = ()
    isolation: Literal["strict", "best_effort"] = "strict"
    concurrency: int = 4
    region: str = ""
    environment: str = "development"
    day_limit: Amount = Amount(10**9, 500_000_000, 10**12, 10**7)
    limits: Limits = Limits()
    agent_rate: RateLimit = RateLimit()
    workspace_rate: RateLimit = RateLimit()
    breaker: BreakerSettings = BreakerSettings()
    approvals: ApprovalTerms = ApprovalTerms()
    webhook: Webhook | None = None
    witness: Webhook | None = None
    model_planner: ModelPlanner | None = None
    pseudonyms: bool = False
    token_key: str = ""
    secured: bool = False
    log_memory: Path | None = None
    reports: Path | None = None
    control: ControlSource = NO_CONTROL
    halt_grace_ms: int = 2_000
    telemetry: Telemetry = OFF

    @property
    def seals(self) -> Seals:
        return Seals(self.identity, self.trust)

    @property
    def sender(self) -> Sender:
        return Sender(self.transport, self.identity, self.limits, self.control, self.telemetry.tracer)


def receiving(
    parts: Parts,
    handler: Handler,
    *extra: Stage,
    task_facts: TaskFactsOf = no_task,
    approval_facts: ApprovalFactsOf = no_approval,
) -> Handler:
    """The receiving onion of a worker: gates in their order, policy, rate, then the role's own layers, then its handler.
    task_facts, approval_facts: what policies are to know of a task and its approval. Raises PolicyError.
    """
    agent = parts.identity.agent
    proven = Proven() if needs_grant(agent) else None
    receiver = Receiver(agent, parts.trust, parts.limits, ReplayMemory(), parts.contract, parts.control, proven)
    stages = [gates_stage(receiving_gates(receiver))]
    service = policy_service(parts.config / "policies", parts.policies)
    facts = HopFactsSource(agent, parts.trust, task_facts, approval_facts)
    stages.append(("policy", policy_layer(service, facts)))
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
    role, agent = parts.identity.role, parts.identity.agent
    consumer = inbox_of(parts.workspace, role)
    return Actor(
        parts.transport,
        workspace=parts.workspace,
        role=role,
        consumer=consumer,
        handler=handler,
        settings=ActorSettings(concurrency=concurrency),
        on_dead=on_dead,
        control=parts.control,
        agent=agent,
        recognise=recognising(parts),
        watch=parts.telemetry.watch(agent, consumer.name),
    )


def recognising(parts: Parts) -> Callable[[Hop], None]:
    """Decodes a hop and checks its signature: the first two gates."""
    receiver = Receiver(parts.identity.agent, parts.trust, parts.limits, ReplayMemory())
    gates = [(name, gate) for name, gate in receiving_gates(receiver) if name in ("decode", "signature")]

    def recognise(hop: Hop) -> None:
        first_refusal(gates, hop)

    return recognise
