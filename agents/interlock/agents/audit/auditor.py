"""The auditor's shell: judges every hop before it is recorded, answers audit requests, writes the signature log of goals
that ended. A log that does not follow from what was signed before is an alarm, and no goal passes its audit any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, nullcontext

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.artefacts import put_artefact
from interlock.agents.audit.heard import Heard
from interlock.agents.audit.hop_graph import Hop as AuditedHop
from interlock.agents.audit.hop_graph import HopAudit, Memo, audit_hops, refusal_of
from interlock.agents.audit.log.recorder import LogBroken, Recorder
from interlock.agents.audit.log.witness import Witness
from interlock.agents.audit.release import release_problems
from interlock.agents.audit.report import audit_report, compliance_log, judge_goal
from interlock.agents.audit.signature_log import signature_log
from interlock.agents.deviations.detect import of_audit, of_hop, of_release
from interlock.agents.deviations.fold import Detection
from interlock.agents.deviations.incident import Incidents
from interlock.agents.deviations.warning import warning
from interlock.agents.deviations.watch import DeviationWatch
from interlock.agents.parts import Parts, receiving, tell_orchestrator, worker
from interlock.agents.status import AuditStatus, read_audit, write_audit
from interlock.bus.catching_up import caught_up
from interlock.bus.deadletters import bury
from interlock.bus.errors import Unavailable
from interlock.bus.exhausted import AdvisoryWatch
from interlock.bus.failpoints import failpoint
from interlock.bus.gates import ContractSource, TrustSource
from interlock.bus.hop import DONE, Hop, Outcome, Refusal
from interlock.bus.sender import Sender
from interlock.bus.streams import HOPS, WORKER_ROLES
from interlock.bus.tasks import background
from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.children import Draft
from interlock.envelope.ids import is_uuid7
from interlock.envelope.payloads import AuditReport, AuditRequest, Completion, Ground
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits

log = logging.getLogger("interlock.auditor")
BUNDLES = "bundles"
CATCH_UP_TRIES, CATCH_UP_S = 5, 0.003


class MostHops(Struct, frozen=True):
    """What is held of one goal at a time: anybody who may publish can put hops on a goal's subjects, and memory ends."""

    hops: int = 50_000
    total_bytes: int = 256 << 20


MOST_HOPS = MostHops()
Detect = Callable[[Detection | None], Awaitable[None]]


async def no_detection(detection: Detection | None) -> None:
    """Nobody watches over deviations."""


class AuditorRole:
    """handle: the end of the receiving onion, for what is addressed to the auditor; observe: the recorder's eyes. detect:
    is told of everything that may be a deviation. contract: names the gates that a release has passed. log_known: no audit is
    answered before it is set: as long as nobody knows whether the log is broken, nothing is released.
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        sender: Sender,
        trust: TrustSource,
        limits: Limits,
        most: MostHops = MOST_HOPS,
        detect: Detect = no_detection,
        contract: ContractSource | None = None,
        log_known: anyio.Event | None = None,
    ) -> None:
        self._contract = contract
        self._log_known = log_known
        self._detect = detect
        self._transport = transport
        self._workspace = workspace
        self._sender = sender
        self._trust = trust
        self._limits = limits
        self._most = most
        self._memo = Memo()
        self.heard = Heard()
        self.hurry = asyncio.Event()
        self._alarm: Ground | None = None

    async def raise_alarm(self, error: LogBroken) -> None:
        """From now on every audit denies: what cannot be proven is not released."""
        log.error("the audit log is broken: %s", error)
        detail = f"the audit log is broken: {error}"
        instead = "`interlock audit check` shows where; restore the stream AUDIT from a copy"
        self._alarm = Ground(code="log_broken", message=detail[:2000], rule="AUD-01", instead=instead)
        if self._log_known is not None:
            self._log_known.set()
        alarm = {"reason": error.reason, "detail": str(error)[:2000]}
        await self._transport.publish(workspace_subject(self._workspace, "audit", "alarm"), msgspec.json.encode(alarm))

    async def handle(self, hop: Hop) -> Outcome:
        """An audit request: every hop of the goal up to it, verified again from the stream."""
        request = hop.envelope.payload
        if not isinstance(request, AuditRequest):
            raise Refusal(Reason.WRONG_PAYLOAD, f"an auditor does not handle {type(request).__name__}")
        goal_id = hop.envelope.goal_id
        if self._log_known is not None:
            await self._log_known.wait()
        self.heard.keep(hop.message)
        self.hurry.set()
        audit = await self.audit(goal_id, hop.message.sequence)
        judged = judge_goal(request, audit)
        # As of the request, whenever this is done: a redelivery writes the same files.
        at = timestamp(hop.message.stored_ms)
        report = audit_report(request, audit, judged, goal_id, at)
        entries = compliance_log(request, audit, judged, goal_id, at)
        files = [
            await put_artefact(self._transport, "audit_report.md", report.encode()),
            await put_artefact(
                self._transport, "compliance_log.json", msgspec.json.format(canonical(entries), indent=2)
            ),
        ]
        answer = AuditReport(
            decision="deny" if self._alarm else judged.decision,
            grounds=[*judged.grounds, *([self._alarm] if self._alarm else [])],
            hops=len(audit.hops),
            verified=audit.verified,
            refused=audit.refused[:50],
            scores={score.name: score.value for score in judged.scores},
            gates=[],
            files=files,
        )
        draft = Draft(to="orchestrator", intent="observe", payload=answer, step="report")
        await self._sender.send(hop.origin, [draft], now_ms=hop.now_ms)
        await self._detect(of_audit(goal_id, answer.grounds, hop.message.sequence, hop.message.stored_ms))
        return DONE

    async def observe(self, message: Message) -> str:
        """What is to be recorded of a hop: `ok` or the reason why its receiver refuses it. Whether it fits its parent is
        judged with its goal.
        """
        hop = audit_hops([message], self._trust.trust, self._limits, self._memo).hops[0]
        alone = Reason.OK if hop.reason is Reason.BAD_PARENT else hop.reason
        if alone is not Reason.OK:
            await self._record_refusal(message, hop)
            await self._detect(of_hop(hop))
        envelope = hop.envelope
        if envelope is not None and hop.authentic and isinstance(envelope.payload, Completion):
            await self._close(envelope.goal_id, message)
        return str(alone)

    async def _record_refusal(self, message: Message, hop: AuditedHop) -> None:
        refusal = refusal_of(hop)
        await self._transport.publish(
            workspace_subject(self._workspace, "audit", "refusal"),
            msgspec.json.encode(refusal),
            message_id=f"refusal-{message.sequence}",
        )
        if not _is_heard(message.subject):
            now_ms = self._transport.clock.now_ms()
            await bury(
                self._transport,
                self._workspace,
                "auditor",
                HOPS.name,
                message,
                reason=hop.reason,
                detail=hop.detail,
                now_ms=now_ms,
            )

    async def _close(self, goal_id: str, completion: Message) -> None:
        """The goal has ended: its signature log, as of its completion. Only once: a copy of a completion adds nothing. Who has
        heard it from its first hop and not forgotten it has not closed it; whoever did before him wrote the same.
        """
        is_open = self.heard.is_from_its_first(goal_id)
        if not is_open and await read_audit(self._transport, self._workspace, goal_id) is not None:
            return
        audit = await self.audit(goal_id, completion.sequence, is_last_heard=True)
        chain = None if self._contract is None else self._contract.chain
        problems = [] if audit.truncated else release_problems(audit, chain)
        await self._detect(of_release(goal_id, problems, completion.sequence, completion.stored_ms))
        at = timestamp(completion.stored_ms)
        name = f"signatures-{self._workspace}-{goal_id}.json"
        written = signature_log(self._workspace, goal_id, audit, at)
        await self._transport.put_object(BUNDLES, name, canonical(written))
        failpoint("goal_closing")
        await self._transport.publish(
            workspace_subject(self._workspace, "audit", "signatures"),
            msgspec.json.encode({"goalId": goal_id, "log": name, "summary": written["summary"]}),
            message_id=f"signatures-{self._workspace}-{goal_id}",
        )
        status = AuditStatus(
            goal_id=goal_id,
            hops=len(audit.hops),
            verified=audit.verified,
            refused=audit.refused[:50],
            log=name,
            at=at,
            truncated=audit.truncated,
        )
        await write_audit(self._transport, self._workspace, status)
        self._memo.forget(audit.hops, self._trust.trust)
        self.heard.forget(goal_id)

    async def audit(self, goal_id: str, up_to: int = 0, *, is_last_heard: bool = False) -> HopAudit:
        """Of what the stream gave this auditor, if that is all it has of the goal; else of what it gives now. is_last_heard:
        the hop at up_to came in its turn, so that nothing before it is on its way.
        """
        await self._until_there(up_to)
        if (is_last_heard and self.heard.is_from_its_first(goal_id)) or await self._heard_all(goal_id):
            messages = self.heard.of(goal_id, up_to)
        else:
            messages = await goal_messages(self._transport, self._workspace, goal_id, up_to, self._most)
        audit = audit_hops(messages, self._trust.trust, self._limits, self._memo)
        return replace(audit, truncated=is_truncated(messages, self._most))

    async def _until_there(self, up_to: int) -> None:
        """Returns when the broker gives the hop that an audit ends with, and so all before it: judged by half of its hops, a
        goal would be denied for what a replica has not caught up with. Raises Unavailable.
        """
        if not up_to or not self._transport.lag_ms:
            return
        hop = await caught_up(self._transport, lambda: self._transport.get(HOPS.name, up_to), bool)
        if hop is None:
            raise Unavailable(f"hop {up_to} is not to be read yet")

    async def _heard_all(self, goal_id: str) -> bool:
        """Whether the stream has given this auditor all that it holds of the goal. What it was given last may be on its
        way still: the request comes by another consumer than the hops before it.
        """
        if not self.heard.count(goal_id):
            return False
        held = await self._transport.count(HOPS.name, _hops_of(self._workspace, goal_id))
        for _ in range(CATCH_UP_TRIES):
            if self.heard.count(goal_id) >= held:
                break
            await anyio.sleep(CATCH_UP_S)
        return self.heard.is_all(goal_id, held)


def _is_heard(subject: str) -> bool:
    """Whether an inbox has it, so that its role buries what is wrong. Elsewhere nobody but the auditor could."""
    tokens = subject.split(".")
    return len(tokens) > 4 and tokens[3] in WORKER_ROLES


async def goal_messages(
    transport: Transport, workspace: str, goal_id: str, up_to: int = 0, most: MostHops = MOST_HOPS
) -> list[Message]:
    """All hops of a goal in stream order, up to and with a sequence (0: all). One hop or one byte beyond `most` it ends
    with the hop that was too much: see `is_truncated`.
    """
    if not is_uuid7(goal_id):
        return []
    messages: list[Message] = []
    held_bytes = 0
    async with aclosing(transport.read(HOPS.name, [_hops_of(workspace, goal_id)])) as reading:
        async for message in reading:
            if up_to and message.sequence > up_to:
                break
            messages.append(message)
            held_bytes += len(message.data)
            if len(messages) > most.hops or held_bytes > most.total_bytes:
                break
    return messages


def _hops_of(workspace: str, goal_id: str) -> str:
    return workspace_subject(workspace, "role", "*", goal_id, ">")


def is_truncated(messages: Sequence[Message], most: MostHops = MOST_HOPS) -> bool:
    """Whether goal_messages ended before the goal's hops did. What was not read was not verified: fail closed."""
    return len(messages) > most.hops or sum(len(message.data) for message in messages) > most.total_bytes


@asynccontextmanager
async def auditor_running(parts: Parts) -> AsyncIterator[None]:
    incidents = Incidents(parts.transport, parts.workspace, parts.seals, audit=lambda goal_id: role.audit(goal_id))
    watch = DeviationWatch(parts.transport, parts.workspace, parts.seals, incidents.respond, parts.telemetry)
    if parts.telemetry.metrics is not None:
        from interlock.agents.telemetry.gauges import show_deviations

        show_deviations(parts.telemetry.metrics, parts.transport, parts.workspace, lambda: watch.state)
    log_known = anyio.Event()
    role = AuditorRole(
        parts.transport,
        parts.workspace,
        parts.sender,
        parts.trust,
        parts.limits,
        detect=watch.detect,
        contract=parts.contract,
        log_known=log_known,
    )
    witness = _witness(parts, watch)
    recorder = Recorder(
        parts.transport,
        parts.workspace,
        parts.identity.key,
        observe=role.observe,
        hear=role.heard.keep,
        hurry=role.hurry,
        notice=watch.notice,
        memory=parts.log_memory,
        told=None if witness is None else witness.told,
        known=log_known,
    )

    async def record() -> None:
        try:
            await recorder.run()
        except LogBroken as error:
            await role.raise_alarm(error)
            await recorder.watch()

    actor = worker(parts, receiving(parts, role.handle), concurrency=32, on_dead=tell_orchestrator(parts))
    advisories = AdvisoryWatch(parts.transport, parts.workspace)
    hook = parts.webhook
    warnings = nullcontext() if hook is None else warning(parts.transport, parts.workspace, hook, watch.up_to_date)
    handing_over = nullcontext() if witness is None else witness.running()
    # The witness ends after the recorder, which signs a last checkpoint when it ends.
    async with handing_over, background() as group, watch.running(), advisories.running(), actor.running(), warnings:
        group.start_soon(record)
        yield


def _witness(parts: Parts, watch: DeviationWatch) -> Witness | None:
    if parts.witness is None:
        return None
    witness = Witness(parts.witness, parts.transport, parts.workspace, parts.trust, watch.detect)
    if parts.telemetry.metrics is not None:
        from interlock.agents.telemetry.gauges import show_witness

        show_witness(parts.telemetry.metrics, lambda: witness.behind_ms)
    return witness
