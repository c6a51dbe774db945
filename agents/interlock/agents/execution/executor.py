"""The executor: finds the skill, checks its capability, runs it isolated, journals, attests, prices, answers (ROL-04).

Borders at which it may be killed, and what the redelivery of the task finds. A skill without effects runs again at any of
them: isolation kept it from having any, and the broker keeps its first answer. With effects:
1. before the intent: nothing happened; it runs.
2. after the intent, before the outcome: it is asked by its own `check`; if that cannot tell either, the outcome is
   `unknown` and a human is asked.
3. after the outcome: the outcome is sent again, nothing runs.

Halted before its handler was called, a run never happened: its intent is withdrawn, and the task waits and begins anew.
Halted later it is stopped after its grace period, which is border 2.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from interlock.agents.approvals.evidence import ApprovalCheck, own_approval
from interlock.agents.artefacts import ArtefactCache, media_type, put_artefact
from interlock.agents.execution.effects import EffectJournal, Intent, Settled, Used
from interlock.agents.execution.halting import Begin, HaltedRun, run_unless_halted
from interlock.agents.execution.results import Ran, answer_of, refused, result_of, signed_anew
from interlock.agents.execution.sealing import BUNDLE, seal_deliverable
from interlock.agents.execution.token_use import use_of
from interlock.agents.parts import UNDELIVERABLE
from interlock.agents.telemetry.skills import SkillsShown
from interlock.agents.telemetry.telemetry import OFF, Telemetry
from interlock.bus.control.halts import Doing, doing_of
from interlock.bus.control.source import NO_CONTROL, ControlSource, proceed
from interlock.bus.errors import BusError, Conflict, NotFound
from interlock.bus.failpoints import failpoint
from interlock.bus.gates import TrustSource
from interlock.bus.hop import Disposition, Hop, Outcome, Postpone, Refusal
from interlock.bus.sender import Sender
from interlock.bus.transport import Transport
from interlock.envelope.amounts import Amount, micro_usd
from interlock.envelope.capabilities import holds
from interlock.envelope.capability_token import Proven, check_token
from interlock.envelope.children import Draft
from interlock.envelope.goal_grant import goal_grant_of
from interlock.envelope.payloads import ArtefactRef, Escalation, Task, TaskResult
from interlock.envelope.signing import attest
from interlock.envelope.verdict import Reason

if TYPE_CHECKING:
    from interlock.skills.cost import Prices
    from interlock.skills.manifest import Skill
    from interlock.skills.registry import Registry
    from interlock.skills.runner import RunRequest, RunResult, SkillRunner


class Granted(msgspec.Struct, frozen=True):
    """Which directories of the host runs may read or write, and where configuration is."""

    read_roots: tuple[Path, ...]
    write_roots: tuple[Path, ...]
    config: Path


class ExecutorRole:
    """One instance; any number may share the inbox."""

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        sender: Sender,
        *,
        registry: Registry,
        runner: SkillRunner,
        prices: Prices,
        granted: Granted,
        scratch: Path,
        trust: TrustSource,
        approvals: ApprovalCheck,
        control: ControlSource = NO_CONTROL,
        grace_ms: int = 2_000,
        telemetry: Telemetry = OFF,
    ) -> None:
        self._shown = SkillsShown(telemetry, sender.identity.role)
        self._transport = transport
        self._sender = sender
        self._registry = registry
        self._runner = runner
        self._prices = prices
        self._granted = granted
        self._scratch = scratch
        self._trust = trust
        self._proven = Proven()
        self._control = control
        self._grace_ms = grace_ms
        self._approvals = approvals
        self._cache = ArtefactCache(transport, scratch)
        self._journal = EffectJournal(transport, workspace)
        self._numbers = itertools.count(1)
        self._empty: list[Path] = []

    async def handle(self, hop: Hop) -> Outcome:
        task = hop.envelope.payload
        if not isinstance(task, Task):
            raise Refusal(Reason.WRONG_PAYLOAD, f"an executor does not handle {type(task).__name__}")
        revision, record = 0, None
        if hop.again:  # else there is nothing yet; were there something, its revision would refuse us
            revision, record = await self._journal.look(hop.envelope.id)
        if isinstance(record, Settled):
            settled = record
        else:
            settled = await self._carry_out(hop, task, revision, interrupted=record is not None)
        failpoint("outcome_stored")
        await self._answer(hop, settled)
        result = settled.result
        spent = Amount(result.usage.tokens, micro_usd(result.cost_usd), result.usage.wall_ms, 1)
        return Outcome(Disposition.DONE, spent=spent)

    async def refuse(self, hop: Hop, reason: Reason, detail: str) -> None:
        """Tells the orchestrator side that an authentic task will not be run, so that its goal need not wait."""
        task = hop.envelope.payload
        if isinstance(task, Task):
            settled = Settled(refused(task, reason, detail), [], hop.now_ms)
            await self._answer(hop, settled)

    async def _carry_out(self, hop: Hop, task: Task, revision: int, *, interrupted: bool) -> Settled:
        skill = self._registry.find(task.skill)
        if skill is None:
            return await self._settle(
                hop, refused(task, "unknown_skill", f"there is no skill {task.skill} here"), revision
            )
        held = hop.envelope.policy_context.capabilities
        if not holds(held, skill.manifest.capability):
            detail = f"{task.skill} needs {skill.manifest.capability}; the goal holds {', '.join(held)}"
            return await self._settle(hop, refused(task, "capability_missing", detail), revision)
        use = use_of(hop, task, self._sender.identity.agent, skill.manifest.capability)
        token = check_token(hop.envelope.attestations, use, self._trust.trust, self._proven)
        if not token.allowed:
            ground = token.grounds[0]
            return await self._settle(hop, refused(task, ground.code, ground.message), revision)
        # One that was interrupted has used its approval up already: whether its effect happened is the question now.
        unapproved = None if interrupted else await self._unapproved(hop, task, skill)
        if unapproved is not None:
            return await self._settle(hop, unapproved, revision)
        external = skill.manifest.effects == "external"
        with self._results() as results:
            try:
                request = await self._request(hop, task, skill, results)
            except NotFound as error:
                return await self._settle(hop, refused(task, "artefact_missing", str(error)), revision)
            if external and interrupted:
                return await self._find_out(hop, task, request, revision)
            if external:
                failpoint("intent_due")
                intent = Intent(task=task.task_id, skill=skill.digest, at_ms=hop.now_ms)
                revision = await self._claim(hop, intent, revision)
                failpoint("intent_stored")
            try:
                ran = await self._run(hop, task, skill, request)
            except HaltedRun as halted:
                if external and not halted.begun:
                    await self._journal.withdraw(hop.envelope.id, hop.now_ms, revision)
                raise
        failpoint("effect_done")
        return await self._settle(hop, ran.result, revision, ran)

    async def _unapproved(self, hop: Hop, task: Task, skill: Skill) -> TaskResult | None:
        """The refusal of a task that lacks the approvals it needs; its own is used up from here on."""
        required = skill.manifest.approval == "required"
        now_ms = self._transport.clock.now_ms()
        verdict = self._approvals.judge(hop.envelope, task, required=required, now_ms=now_ms)
        if not verdict.allowed:
            ground = verdict.grounds[0]
            return refused(task, ground.code, ground.message)
        own = own_approval([] if task.approvals is UNSET else task.approvals)
        if own is None:
            return None
        # Whether its manifest or a policy asked for it: one approval, one run.
        if not required:
            verdict = self._approvals.judge(hop.envelope, task, required=True, now_ms=now_ms)
            if not verdict.allowed:
                return refused(task, verdict.grounds[0].code, verdict.grounds[0].message)
        use = Used(envelope_id=hop.envelope.id, task=task.task_id, at_ms=now_ms)
        if await self._journal.use_approval(own.approval_id, use):
            return None
        return refused(task, "approval_used", f"approval {own.approval_id} has allowed another run already")

    async def _claim(self, hop: Hop, intent: Intent, revision: int) -> int:
        proceed(self._control, self._doing(hop))
        try:
            return await self._journal.intend(hop.envelope.id, intent, revision)
        except Conflict as error:
            raise Postpone(Reason.HANDLER_FAILED, "another executor has begun this task") from error

    async def _find_out(self, hop: Hop, task: Task, request: RunRequest, revision: int) -> Settled:
        """An effect may or may not have happened: ask the skill, never repeat blindly."""
        checked = await self._unless_halted(hop, lambda begin_by: self._runner.check(request, begin_by))
        if checked.outcome == "done":
            ran = await self._ran(hop, task, request.skill, request, checked)
            return await self._settle(hop, ran.result, revision, ran)
        if checked.outcome == "not_happened":
            ran = await self._run(hop, task, request.skill, request)
            return await self._settle(hop, ran.result, revision, ran)
        detail = "the executor was interrupted during the effect, and the skill cannot tell whether it happened"
        escalation = Escalation(
            code="unknown_outcome",
            question=f"task {task.task_id} ({task.skill}): did its effect happen?",
            task_id=task.task_id,
            options=["it happened", "it did not happen"],
        )
        draft = Draft(to="orchestrator", intent="escalate", payload=escalation, step="unknown")
        await self._sender.send(hop.origin, [draft], now_ms=hop.now_ms)
        return await self._settle(hop, refused(task, "unknown", detail), revision)

    @contextmanager
    def _results(self) -> Iterator[Path]:
        """A directory for what one run produces, empty at first. One that a run has left empty serves another, if whoever
        could write to it has ended for sure.
        """
        from interlock.skills.watch.disk import remove_tree

        if self._empty:
            place = self._empty.pop()
        else:
            place = self._scratch / f"results-{next(self._numbers)}"
            place.mkdir(mode=0o700)
        try:
            yield place
        except BaseException:
            remove_tree(place)
            raise
        with os.scandir(place) as entries:
            is_empty = next(entries, None) is None
        if is_empty and self._runner.is_strict:
            self._empty.append(place)
        else:
            remove_tree(place)

    async def _request(self, hop: Hop, task: Task, skill: Skill, results: Path) -> RunRequest:
        from interlock.skills.runner import RunRequest

        return RunRequest(
            skill=skill,
            input=task.input,
            files={ref.name: await self._cache.path_of(ref) for ref in task.files},
            read_roots=self._granted.read_roots,
            write_roots=self._granted.write_roots,
            config=self._granted.config,
            now=task.now,
            seed=task.seed,
            wall_ms=hop.envelope.budget.wall_ms,
            results=results,
            goal=hop.envelope.goal_id,
        )

    async def _run(self, hop: Hop, task: Task, skill: Skill, request: RunRequest) -> Ran:
        with self._shown.running(skill, task) as shown:
            answer = await self._unless_halted(hop, lambda asked: self._runner.run(request, shown.begins(asked)))
            ran = await self._ran(hop, task, skill, request, answer)
            shown.result = ran.result
        return ran

    async def _unless_halted(self, hop: Hop, begin: Begin) -> RunResult:
        return await run_unless_halted(self._control, self._doing(hop), self._grace_ms, begin)

    def _doing(self, hop: Hop) -> Doing:
        return doing_of(self._sender.identity.agent, hop.envelope)

    async def _ran(self, hop: Hop, task: Task, skill: Skill, request: RunRequest, answer: RunResult) -> Ran:
        ran = result_of(task, skill, answer, self._prices)
        if ran.result.outcome != "done":
            return ran
        stored = [await put_artefact(self._transport, file.name, file.path.read_bytes()) for file in ran.files]
        deliverable = await self._sealed(request, ran) if task.seal else None
        result = msgspec.structs.replace(ran.result, files=stored, deliverable=deliverable)
        statement = ran.statement(hop.envelope.id, result)
        return msgspec.structs.replace(ran, result=result, attestation=attest(statement, self._sender.identity.key))

    async def _sealed(self, request: RunRequest, ran: Ran) -> ArtefactRef | None:
        files = {**request.files, **{file.name: file.path for file in ran.files}}
        if "manifest.json" not in files:
            return None
        bundle = seal_deliverable(files, self._sender.identity.key)
        ref = await put_artefact(self._transport, BUNDLE, bundle)
        return msgspec.structs.replace(ref, media_type=media_type(BUNDLE))

    async def _settle(self, hop: Hop, result: TaskResult, revision: int, ran: Ran | None = None) -> Settled:
        attestations = [ran.attestation] if ran is not None and ran.attestation is not None else []
        settled = Settled(result, attestations, hop.now_ms)
        if result.retryable or not revision:
            # The orchestrator asks again under a new id, or no effect was ever intended: nothing needs remembering.
            return settled
        try:
            await self._journal.settle(hop.envelope.id, settled, revision)
        except Conflict as error:
            raise Postpone(Reason.HANDLER_FAILED, "another executor has finished this task") from error
        return settled

    async def _answer(self, hop: Hop, settled: Settled) -> None:
        now_ms = self._transport.clock.now_ms()
        grant = goal_grant_of(hop.envelope.attestations)
        if grant is None:  # no evaluator would take the result: who sent the task is told
            told = f"{settled.result.outcome}: {settled.result.detail}"
            escalation = Escalation(code=UNDELIVERABLE, question=told[:2000], task_id=settled.result.task_id)
            draft = Draft(to="orchestrator", intent="escalate", payload=escalation, step="ungranted")
            await self._sender.send(hop.origin, [draft], now_ms=now_ms)
            return
        identity, trust = self._sender.identity, self._trust.trust
        ours = signed_anew(settled.attestations, identity.agent, identity.key, trust, now_ms)
        settled = msgspec.structs.replace(settled, attestations=ours)
        try:
            await self._sender.send(hop.origin, [answer_of(settled, grant)], now_ms=now_ms)
        except BusError as error:
            if error.reason != "broker_refused":
                raise
            # Too large for an envelope: the goal must hear that rather than wait.
            small = refused_like(settled.result, str(error))
            await self._sender.send(hop.origin, [answer_of(Settled(small, [], settled.at_ms), grant)], now_ms=now_ms)


def refused_like(result: TaskResult, detail: str) -> TaskResult:
    """The same result without what made it too large to send."""
    return msgspec.structs.replace(
        result, outcome="output_too_large", detail=detail[:2000], output={}, findings=[], files=[], retryable=False
    )
