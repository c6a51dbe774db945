"""The loop: look, decide, let a goal act, verify, write down. One Loop for all services of a watcher; each service is looked
at by itself, so that nobody waits for another's approval.

Decisions are made here and made again inside the goal from the same inputs: what counts is what the goal's tasks decided,
governed and signed, and a goal that decides something else does nothing. What is under way is kept on disk before it begins:
after a crash the same goal is asked for again. A goal whose blueprint changed meanwhile is withdrawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

from msgspec.structs import replace

from interlock.agents.blueprints.composing import action_goal, verification_goal
from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.fleet import Fleet
from interlock.agents.blueprints.outcomes import checked, executed, governance_check
from interlock.agents.blueprints.ports import Cluster, Goals
from interlock.agents.blueprints.resetting import Resets
from interlock.agents.blueprints.settling import is_under_way, still_verifying
from interlock.agents.blueprints.told import Fate, Told
from interlock.agents.blueprints.wanting import BLUEPRINT_CHANGED, CHANGE_LOOK_S, ended_or_withdrawn
from interlock.agents.blueprints.watched import Acting, Pending, Watched, blueprint_of
from interlock.agents.errors import UserError
from interlock.bus.clock import Clock
from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import new_id
from interlock.envelope.verdict import Decision as Verdicts
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.decision import remembering
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.reasons import Reason
from interlock.skills.infrastructure.decision.record import (
    ExecutionPart,
    Final,
    GovernanceCheck,
    VerificationPart,
    record_of,
)
from interlock.skills.infrastructure.decision.safety import Outcome
from interlock.skills.infrastructure.governing import govern_operation
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operations import Operation, operation_name
from interlock.skills.infrastructure.telling import summary

DECLINED_MS = 3_600_000
NOT_NEEDED = GovernanceCheck(operation="", status="not_needed", rule="")
Mode = Literal["act", "dry_run", "shadow"]
_FATES: dict[Verdicts, Fate] = {
    Verdicts.ALLOW: "done",
    Verdicts.NEEDS_APPROVAL: "would_ask",
    Verdicts.DENY: "forbidden",
}
_FAILURES: dict[Final, Outcome] = {"success": "done", "rolled_back": "rolled_back", "unknown": "unknown"}


class Loop:
    """resets: which orders close a breaker. agent_id: who decides, for the log. change_look_s: how often the files are looked
    at while a goal runs.
    """

    def __init__(
        self,
        cluster: Cluster,
        goals: Goals,
        log: DecisionLog,
        fleet: Fleet,
        clock: Clock,
        *,
        resets: Resets,
        tell: Callable[[Told], None],
        mode: Mode = "act",
        agent_id: str = "decision-engine",
        change_look_s: float = CHANGE_LOOK_S,
    ) -> None:
        self._cluster = cluster
        self._goals = goals
        self._log = log
        self._fleet = fleet
        self._clock = clock
        self._resets = resets
        self._tell = tell
        self._mode = mode
        self._agent_id = agent_id
        self._change_look_s = change_look_s

    async def look(self, watched: Watched) -> None:
        """One look at one service: at most one goal, and another where the first was withdrawn. Raises BusError or UserError
        where goals cannot be run.
        """
        while await self._looked_in_vain(watched):
            pass

    async def _looked_in_vain(self, watched: Watched) -> bool:
        """Whether the look came to nothing because the blueprint changed while a goal waited."""
        is_new = self._read_again(watched)
        memory, service = watched.memory, watched.service
        if memory.acting is not None:
            return await self._finish_action(watched, memory.acting)
        blueprint = service.blueprint if not service.problems else None
        if memory.pending is not None:
            await self._await_effect(watched, blueprint, memory.pending, is_new)
            return False
        state = await self._observed(watched, blueprint) if blueprint is not None else None
        return blueprint is not None and state is not None and await self._decide(watched, blueprint, state)

    async def _await_effect(
        self, watched: Watched, blueprint: Blueprint | None, pending: Pending, is_new: bool
    ) -> None:
        """Verifies what was done once it is due, by the blueprint it was done by where the present one is not right. A new
        blueprint is decided by at once, but nothing is done before the last thing is verified.
        """
        now_ms = self._cluster.now_ms()
        if now_ms < pending.due_ms and not (is_new and blueprint is not None):
            return
        under = blueprint or blueprint_of(pending.handed_in)
        state = await self._observed(watched, under)
        if state is None:
            return
        if now_ms < pending.due_ms:
            self._decide_only(watched, under, pending, state)
        elif not is_under_way(under, pending, state, now_ms):
            await self._verify(watched, under, pending, state)

    def reset(self, watched: Watched, data: bytes) -> None:
        """A human has looked: the breaker of the service, and that of all, is closed, if these bytes are an order that
        counts. Raises UserError without a trust store.
        """
        order, checked = self._resets.judge(data, watched.name, watched.memory.reset_ms)
        if order is None or not checked.ok:
            self._say(watched, "problem", f"the breaker stays as it is: {checked.reason}: {checked.detail}")
            return
        watched.memory.reset_ms = time_ms(order.at)
        watched.memory.history = remembering.reset(watched.memory.history)
        watched.save()
        self._fleet.reset()
        self._log.keep_order(data)
        self._say(watched, "breaker", f"closed by {order.by}{f': {order.why}' if order.why else ''}")

    def _read_again(self, watched: Watched) -> bool:
        """Whether there is a new blueprint, or its files are wrong since now."""
        order = watched.reset_asked()
        if order is not None:
            self.reset(watched, order)
        problems = watched.look()
        if problems is None:
            return False
        blueprint = watched.service.blueprint
        for problem in problems:
            self._say(watched, "problem", problem)
        if blueprint is not None and not problems:
            self._say(watched, "blueprint", f"blueprint {blueprint.version} ({blueprint.digest[:12]}) is in force")
        return True

    async def _observed(self, watched: Watched, blueprint: Blueprint) -> ObservedState | None:
        try:
            return await self._cluster.observe(blueprint)
        except SkillsError as error:
            self._say(watched, "problem", f"nothing is seen of it, so nothing is done: {error}")
            return None

    async def _decide(self, watched: Watched, blueprint: Blueprint, state: ObservedState) -> bool:
        """Decides, and acts. Whether that came to nothing because the blueprint changed meanwhile."""
        memory, now_ms = watched.memory, self._cluster.now_ms()
        asked = memory.history
        decision = decide(blueprint, state, asked, now_ms, fleet=self._fleet.breaker)
        memory.history = remembering.looked(asked, blueprint, decision)
        operation = decision.operation
        if operation is None:
            self._looked(watched, state, decision, "nothing")
            watched.save()
            self._record(watched, decision, NOT_NEEDED, "held")
            return False
        policies = watched.service.policies
        verdict = govern_operation(blueprint, operation, state, policies)
        check = governance_check(operation_name(operation, blueprint.scaling, state), verdict)
        self._looked(watched, state, decision, _FATES[verdict.decision])
        if self._mode == "shadow":
            part = ExecutionPart(operation=operation, status="shadow", duration_ms=0)
            self._begin(watched, blueprint, decision, now_ms)
            watched.save()
            self._record(watched, decision, check, "shadow", execution=part)
            return False
        key = action_key(operation)
        if memory.declined.get(key, 0) > now_ms:
            watched.save()
            final: Final = "rejected" if verdict.decision is Verdicts.NEEDS_APPROVAL else "blocked"
            self._record(watched, decision, check, final)
            return False
        stop = self._fleet.stop(policies, now_ms)
        if stop is not None:
            self._hold(watched, decision, stop)
            return False
        goal = action_goal(
            blueprint,
            decision,
            handed_in=watched.handed_in(),
            state=state,
            history=asked,
            fleet=self._fleet.breaker,
            cluster=self._cluster.access,
            needs_approval=verdict.decision is Verdicts.NEEDS_APPROVAL,
            dry_run=self._mode == "dry_run",
            log=self._log.state,
            wall_ms=self._clock.now_ms(),
        )
        after_look = memory.history
        self._begin(watched, blueprint, decision, now_ms)
        acting = Acting(
            goal_id=new_id(self._clock.now_ms()),
            goal=goal,
            decision=decision,
            governance=check,
            before=state,
            looked=after_look,
            since_ms=now_ms,
            files=watched.files,
        )
        memory.acting = acting
        watched.save()
        if verdict.decision is Verdicts.NEEDS_APPROVAL:
            self._say(watched, "asks", f"may it {summary(operation)}? {decision.rationale}")
        return await self._finish_action(watched, acting)

    def _decide_only(self, watched: Watched, blueprint: Blueprint, pending: Pending, state: ObservedState) -> None:
        history, now_ms = watched.memory.history, self._cluster.now_ms()
        decision = decide(blueprint, state, history, now_ms, fleet=self._fleet.breaker)
        watched.memory.history = remembering.looked(history, blueprint, decision)
        self._looked(watched, state, decision, "nothing")
        self._hold(watched, decision, still_verifying(pending, now_ms))

    def _hold(self, watched: Watched, decision: Decision, stop: Reason) -> None:
        """Writes down that what was decided is not done, and why."""
        watched.save()
        held = replace(decision, kind="hold", operation=None, reasons=(*decision.reasons, stop), then={})
        self._record(watched, held, NOT_NEEDED, "held")

    def _begin(self, watched: Watched, blueprint: Blueprint, decision: Decision, now_ms: int) -> None:
        watched.memory.history = remembering.began(watched.memory.history, blueprint, decision, now_ms)
        if self._mode == "act":
            self._fleet.began(watched.service.policies, now_ms)

    async def _finish_action(self, watched: Watched, acting: Acting) -> bool:
        """Whether it was withdrawn."""
        decision, memory = acting.decision, watched.memory
        handed_in = acting.goal["inputs"]["blueprint"]
        blueprint = blueprint_of(handed_in)

        def changed() -> bool:
            return watched.changed(acting.files)

        try:
            ended = await ended_or_withdrawn(self._goals, acting, changed, self._change_look_s)
        except UserError as error:
            if error.reason != "invalid_goal":
                raise
            self._say(watched, "problem", f"the gateway refuses the goal: {error}")
            self._declined(watched, acting)
            self._record(watched, decision, acting.governance, "blocked")
            return False
        did = executed(ended, blueprint, decision) if ended is not None else None
        if ended is None or did is None or (did.part is None and changed()):
            memory.acting, memory.history = None, acting.looked
            watched.save()
            self._say(watched, "withdrawn", f"{BLUEPRINT_CHANGED} (goal {acting.goal_id})")
            self._record(watched, decision, acting.governance, "withdrawn")
            return True
        check = replace(acting.governance, approved_by=ended.approved_by)
        if not did.may_repeat:
            self._declined(watched, acting)
            self._say(watched, "problem", f"not done, and not asked for again within the hour: {did.told}")
            for name, data in ended.proposals.items():
                self._say(
                    watched, "proposal", f"Git keeps the object: commit {self._log.put_beside('proposals', name, data)}"
                )
            self._record(watched, decision, check, did.final or "blocked", execution=did.part)
            return False
        memory.acting = None
        if did.final is None and did.part is not None:
            memory.pending = Pending(
                decision=decision,
                governance=check,
                execution=did.part,
                before=acting.before,
                undo=did.undo,
                due_ms=self._cluster.now_ms() + blueprint.reliability.verification_wait_ms,
                handed_in=handed_in,
            )
            watched.save()
            self._record(watched, decision, check, "success", execution=did.part, is_final=False)
            return False
        self._end(watched, blueprint, decision, did.final or "unknown", did.told)
        self._record(watched, decision, check, did.final or "unknown", execution=did.part)
        return False

    def _declined(self, watched: Watched, acting: Acting) -> None:
        """Governance, a human or the gateway said no before anything was done: it is not asked for again at once."""
        memory, now_ms = watched.memory, self._cluster.now_ms()
        memory.acting = None
        memory.history = remembering.asked(acting.looked, acting.decision, now_ms)
        if acting.decision.operation is not None:
            memory.declined[action_key(acting.decision.operation)] = now_ms + DECLINED_MS
        watched.save()

    def _end(self, watched: Watched, blueprint: Blueprint, decision: Decision, final: Final, why: str) -> None:
        """An action is over, and failures count. What was refused because the object had changed may be decided again."""
        memory, policies = watched.memory, watched.service.policies
        outcome = _FAILURES.get(final, "refused")
        was_open = memory.history.breaker.open
        revision = memory.pending.before.rollout.revision if memory.pending and memory.pending.before.rollout else None
        memory.history = remembering.ended(memory.history, blueprint, decision, outcome, revision=revision)
        self._fleet.ended(policies, outcome)
        memory.pending = None
        watched.save()
        if final == "unknown":
            self._say(watched, "escalation", f"a human must look: {why}")
        if memory.history.breaker.open and not was_open:
            failures = memory.history.breaker.failures
            self._say(watched, "breaker", f"open after {failures} failures in a row; a human must reset it")

    async def _verify(self, watched: Watched, blueprint: Blueprint, pending: Pending, state: ObservedState) -> None:
        now_ms = self._cluster.now_ms()
        goal = verification_goal(
            blueprint,
            pending,
            handed_in=watched.handed_in() if not watched.service.problems else pending.handed_in,
            after=state,
            cluster=self._cluster.access,
            log=self._log.state,
            now_ms=now_ms,
        )
        ended = await self._goals.run(goal, new_id(self._clock.now_ms()))
        found = checked(ended)
        wait_ms = now_ms - pending.due_ms + blueprint.reliability.verification_wait_ms
        part = VerificationPart(
            wait_ms=wait_ms, post_operation_state=found.figures, targets_met=found.met, rationale=found.rationale
        )
        self._end(watched, blueprint, pending.decision, found.final, found.rationale)
        self._record(
            watched,
            pending.decision,
            pending.governance,
            found.final,
            execution=pending.execution,
            verification=part,
        )

    def _record(
        self,
        watched: Watched,
        decision: Decision,
        governance: GovernanceCheck,
        final: Final,
        *,
        execution: ExecutionPart | None = None,
        verification: VerificationPart | None = None,
        is_final: bool = True,
    ) -> None:
        """Writes what became of a decision, and tells it. One that has still to be verified is only told."""
        record = record_of(decision, self._agent_id, governance, final, execution=execution, verification=verification)
        if is_final:
            self._log.write(record)
        kind = "verified" if verification is not None else "decision"
        self._tell(
            Told(
                at_ms=self._cluster.now_ms(),
                service=watched.name,
                kind=kind if is_final else "executed",
                text=verification.rationale if verification is not None else decision.rationale,
                record=record,
            )
        )

    def _looked(self, watched: Watched, state: ObservedState, decision: Decision, fate: Fate) -> None:
        seen = (state, decision)
        self._tell(Told(at_ms=decision.at_ms, service=watched.name, kind="look", text="", seen=seen, fate=fate))

    def _say(self, watched: Watched, kind: str, text: str) -> None:
        self._tell(Told(at_ms=self._cluster.now_ms(), service=watched.name, kind=kind, text=text))


def action_key(operation: Operation) -> str:
    """What is done to which object, whatever the state of the object: what was declined once is known by it."""
    bare = replace(operation, target=replace(operation.target, resource_version=""))
    return hashlib.sha256(canonical(bare)).hexdigest()[:32]
