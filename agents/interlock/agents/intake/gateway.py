"""The gateway's shell: goals in, signed intakes and answers out; it also hosts the ledger writer.

JetStream consumers do not carry the publisher's reply subject, so every gateway also listens to the plain messages and
remembers, for a while, who wants an answer to which bytes; whichever handles the stored message answers.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.agents.goal.plan import Problem
from interlock.agents.intake.validate import Accepted, read_intake
from interlock.agents.planning.catalogue import Catalogue, load_catalogue
from interlock.bus.backoff import Backoff, delay_ms
from interlock.bus.deadletters import bury
from interlock.bus.errors import BusError, Unavailable
from interlock.bus.ledger.client import Ask, open_goal
from interlock.bus.ledger.writer import LedgerWriter
from interlock.bus.sender import Sender
from interlock.bus.streams import GOALS, consumers_of
from interlock.bus.transport import MESSAGE_ID, Incoming, Message, Transport
from interlock.envelope.amounts import time_ms
from interlock.envelope.children import Draft, root
from interlock.envelope.ids import is_uuid7, new_id, sha256_hex
from interlock.envelope.model import PolicyContext
from interlock.envelope.payloads import Intake
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verification import Limits

if TYPE_CHECKING:
    from interlock.agents.parts import Parts

log = logging.getLogger("interlock.gateway")
GOAL_TTL_MS = 900_000
KEPT_REPLIES = 10_000
CLOSING_MS = 60_000
INVALID = "invalid_intake"


class GatewayRole:
    """policy: what every envelope of a goal says was in force."""

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        sender: Sender,
        *,
        catalogue: Catalogue,
        ledger: Ask,
        policy: PolicyContext,
        limits: Limits,
    ) -> None:
        self._transport = transport
        self._workspace = workspace
        self._sender = sender
        self._catalogue = catalogue
        self._ledger = ledger
        self._policy = policy
        self._limits = limits
        self._replies: OrderedDict[str, list[str]] = OrderedDict()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        consumer = next(spec for spec in consumers_of(self._workspace) if spec.stream == GOALS.name)
        subject = workspace_subject(self._workspace, "goal", "submit")
        listening = self._transport.subscribe(subject, self._remember)
        async with listening, self._transport.consume(consumer, self._on_goal, concurrency=32):
            yield

    async def _remember(self, message: Message) -> None:
        if message.reply:
            self._replies.setdefault(sha256_hex(message.data), []).append(message.reply)
            while len(self._replies) > KEPT_REPLIES:
                self._replies.popitem(last=False)

    async def _on_goal(self, incoming: Incoming) -> None:
        message = incoming.message
        try:
            answer = await self._handled(message)
            await self._reply(message, answer)
            await incoming.ack()
        except BusError as error:
            log.warning("goal at %s not taken in: %s", message.sequence, error)
            await incoming.retry(delay_ms(Backoff(), message.delivered, str(message.sequence)))
        except Exception:
            log.exception("goal at %s failed", message.sequence)
            await self._refuse(message, [Problem("$", "the gateway failed on this goal; its log says why")])
            await incoming.terminate(INVALID)

    async def _handled(self, message: Message) -> dict[str, Any]:
        now_ms = self._transport.clock.now_ms()
        read = read_intake(message.data, now_ms=now_ms, max_ttl_ms=self._limits.max_ttl_ms, catalogue=self._catalogue)
        if not isinstance(read, Accepted):
            return await self._refuse(message, read.problems)
        goal_id = goal_id_of(message)
        # A redelivered goal gets the ids and times of its first delivery: those of the stored message.
        began_ms = message.stored_ms or now_ms
        deadline_ms = time_ms(read.intake.deadline) + CLOSING_MS if read.intake.deadline else began_ms + GOAL_TTL_MS
        ttl_ms = min(deadline_ms - began_ms, self._limits.max_ttl_ms)
        limit = read.intake.budget_limits.amount
        opened = await open_goal(
            self._ledger, goal_id, limit, now_ms=began_ms, expires_ms=began_ms + ttl_ms + CLOSING_MS
        )
        if not opened.granted:
            if opened.reason == "unavailable":
                raise Unavailable(f"the ledger is not available: {opened.detail}")
            return await self._refuse(message, [Problem("$.budget_limits", f"{opened.reason}: {opened.detail}")])
        await self._publish(read.intake, goal_id, began_ms, ttl_ms)
        return {"goalId": goal_id, "workspace": self._workspace, "stream": GOALS.name, "seq": message.sequence}

    async def _publish(self, intake: Intake, goal_id: str, began_ms: int, ttl_ms: int) -> None:
        draft = Draft(
            to="orchestrator", intent="plan", payload=intake, step="intake", budget=intake.budget_limits.amount
        )
        envelope = root(
            draft,
            goal_id=goal_id,
            workspace=self._workspace,
            trace_id=hashlib.sha256(goal_id.encode()).hexdigest()[:32],
            sender=self._sender.identity.agent,
            key_id=self._sender.identity.key.key_id,
            now_ms=began_ms,
            ttl_ms=ttl_ms,
            policy_context=self._policy,
            compliance_tags=[f"data:{intake.data_classification}"],
        )
        await self._sender.publish(self._sender.sealed(envelope))

    async def _refuse(self, message: Message, problems: list[Problem]) -> dict[str, Any]:
        """Told to whoever asked; kept as a dead letter when nobody did."""
        answer = {"errors": [{"path": problem.path, "message": problem.message} for problem in problems]}
        if not self._replies.get(sha256_hex(message.data)):
            await bury(
                self._transport,
                self._workspace,
                "gateway",
                GOALS.name,
                message,
                reason=INVALID,
                detail=msgspec.json.encode(answer["errors"]).decode(),
                now_ms=self._transport.clock.now_ms(),
            )
        return answer

    async def _reply(self, message: Message, answer: dict[str, Any]) -> None:
        replies = self._replies.get(sha256_hex(message.data))
        if not replies:
            return
        reply = replies.pop(0)
        if not replies:
            del self._replies[sha256_hex(message.data)]
        try:
            await self._transport.send(reply, msgspec.json.encode(answer))
        except BusError as error:
            log.warning("an answer was lost: %s", error)


def goal_id_of(message: Message) -> str:
    """The submitter's own choice, if the message id is a UUIDv7; else derived from where the message is stored."""
    chosen = message.headers.get(MESSAGE_ID, "")
    if is_uuid7(chosen):
        return chosen
    place = f"{message.subject}:{message.sequence}:{message.stored_ms}"
    return new_id(message.stored_ms, hashlib.sha256(place.encode()).digest()[:10])


def policy_digest(config: Path) -> str:
    """SHA-256 over the configuration's YAML files by name: what policyContext.policyBundle stands for."""
    digest = hashlib.sha256()
    for path in sorted(config.rglob("*.yaml")):
        digest.update(path.relative_to(config).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@asynccontextmanager
async def gateway_running(parts: Parts) -> AsyncIterator[None]:
    """The gateway with the ledger writer in its process."""
    writer = LedgerWriter(parts.transport, parts.workspace, parts.day_limit)
    role = GatewayRole(
        parts.transport,
        parts.workspace,
        parts.sender,
        catalogue=load_catalogue(parts.config, parts.skills, parts.playbooks),
        ledger=writer,
        policy=PolicyContext(policy_bundle=policy_digest(parts.config), contract_ref="", capabilities=["skill:*"]),
        limits=parts.limits,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(writer.running())
        await stack.enter_async_context(role.running())
        yield
