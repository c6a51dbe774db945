"""The orchestrator's shell: hop → event → journal → commands → hops out (ROL-02).

Order of work at every event, and what a crash in between leaves (docs/architecture/agents.md):
1. decide (in memory): nothing happened.
2. append to the goal's journal, only if nobody else appended: the event is redelivered and found in the journal.
3. send what was decided: redelivery folds the journal again, decides the same and sends the same ids; the broker
   drops the repeats.
4. tell the status, acknowledge.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import msgspec

from interlock.agents.approvals.view import ApprovalStatus
from interlock.agents.contract.kinds import kinds_of
from interlock.agents.goal.approving import matters, waiting_for
from interlock.agents.goal.deadline import deadline_ms
from interlock.agents.goal.decide import UNDELIVERABLE, Decider
from interlock.agents.goal.events import event_of
from interlock.agents.goal.state import (
    AnyEvent,
    ApprovalTimedOut,
    Began,
    DeadlinePassed,
    Escalated,
    GoalState,
    Send,
)
from interlock.agents.orchestration.asking import (
    check,
    decision_event,
    hearing_reminders,
    set_reminders,
    tell_approvals,
)
from interlock.agents.orchestration.granting import with_grants
from interlock.agents.orchestration.permitting import Permit
from interlock.agents.orchestration.telling import status_of
from interlock.agents.status import BUCKET, GoalStatus, decoded, write_status
from interlock.agents.telemetry.goals import GoalsShown
from interlock.agents.telemetry.telemetry import OFF, Telemetry
from interlock.bus.control.halts import Doing
from interlock.bus.control.source import NO_CONTROL, ControlSource
from interlock.bus.errors import BusError, Conflict
from interlock.bus.failpoints import failpoint
from interlock.bus.gates import ContractSource, TrustSource
from interlock.bus.hop import DONE, Hop, Outcome, Postpone, Refusal
from interlock.bus.journal import append, journal_subject, read_journal
from interlock.bus.kv import kv_entries
from interlock.bus.records import Seals
from interlock.bus.sender import Sender
from interlock.bus.transport import Transport
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.children import ChildRefused, Origin, exceeds
from interlock.envelope.ids import is_uuid7
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.payloads import Escalation, Ground, HumanDecision, Intake, PlanDraft
from interlock.envelope.verdict import Reason

log = logging.getLogger("interlock.orchestrator")

Plan = Callable[[Intake], Awaitable[PlanDraft | list[Ground]]]
MAX_CACHED_GOALS = 2_000
# How often a goal's progress is told: the more goals run at a time, the less often each, 50 a second together.
STATUS_EVERY_MS, STATUS_MS_A_GOAL = 250, 20
DEADLINE = "deadline"
LASTING = ("approval", "running", "releasing", "ended")
_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


@dataclass
class _Goal:
    """A goal in memory: its folded state, the journal revision it stands for, and who may touch it now. unsent: what was
    decided and journaled, by its cause, and could not be sent: a halt, or a broker that is away.
    """

    state: GoalState = field(default_factory=GoalState)
    revision: int = -1
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    told_ms: int = 0
    told_phase: str = ""
    unsent: dict[str, tuple[list[Send], int]] = field(default_factory=dict)
    told_approvals: dict[str, ApprovalStatus] = field(default_factory=dict)


class OrchestratorRole:
    """plan: drafts the plan of an intake (planning is an effect; its result is part of the journal). seals: signs the
    journals, and only signed records count. trust: who signs for whom; terms: what goals that begin now ask of
    approvals. permit: what policies let go out. contract: names the gates without which nothing is released.
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        sender: Sender,
        decider: Decider,
        plan: Plan,
        seals: Seals | None = None,
        *,
        trust: TrustSource,
        terms: ApprovalTerms,
        permit: Permit,
        contract: ContractSource | None = None,
        control: ControlSource = NO_CONTROL,
        telemetry: Telemetry = OFF,
    ) -> None:
        self._shown = GoalsShown(telemetry)
        self._seals = seals
        self._transport = transport
        self._workspace = workspace
        self._sender = sender
        self._decider = decider
        self._plan = plan
        self._permit = permit
        self._contract = contract
        self._control = control
        self._untold: set[str] = set()
        self._trust = trust
        self._terms = terms
        self._goals: OrderedDict[str, _Goal] = OrderedDict()

    async def handle(self, hop: Hop) -> Outcome:
        """One hop: an intake, a verdict, a verification, a report, a pack, or an escalation."""
        goal_id = hop.envelope.goal_id
        event = await self._event_of(hop)
        is_first = isinstance(event, Began) and not hop.again
        await self._happened(goal_id, event, hop.origin, is_first=is_first)
        return DONE

    def hearing_reminders(self) -> AbstractAsyncContextManager[None]:
        """While the context lasts, approvals whose time is up end."""
        return hearing_reminders(self._transport, self._workspace, self._reminded)

    async def _reminded(self, goal_id: str, event: ApprovalTimedOut) -> None:
        if not self._may_act(goal_id):
            raise Postpone(Reason.HALTED, f"goal {goal_id} is halted: that its time is up is told when it is resumed")
        await self._happened(goal_id, event)

    async def give_up(self, hop: Hop, outcome: Outcome) -> None:
        """A hop to this role that is given up after its tries: its goal ends rather than waits for its deadline. What is
        refused ends nothing: else whoever may send at all could end any goal.
        """
        if outcome.reason not in (Reason.MAX_DELIVERIES, Reason.HANDLER_FAILED):
            return
        envelope, told = hop.envelope, f"{outcome.reason}: {outcome.detail}"[:2000]
        if isinstance(envelope.payload, Intake):
            why = [Ground(code=UNDELIVERABLE, message=told)]
            event = event_of(envelope, hop.origin, hop.now_ms, why, self._terms)
        elif await self._has_begun(envelope.goal_id):
            escalation = Escalation(code=UNDELIVERABLE, question=told)
            sender = self._sender.identity.agent
            event = Escalated(cause=envelope.id, at_ms=hop.now_ms, sender=sender, escalation=escalation)
        else:
            return  # nobody waits for a goal that there is not
        if event is not None:
            await self._happened(envelope.goal_id, event)

    def open_now(self) -> tuple[int, int]:
        """(goals that have not ended, approvals that are waited for), of those this instance has in memory."""
        states = [goal.state for goal in self._goals.values() if goal.state.began is not None]
        return len(states), sum(len(waiting_for(state)) for state in states)

    async def _has_begun(self, goal_id: str) -> bool:
        async with self._alone(goal_id) as goal:
            if goal.revision < 0:
                await self._load(goal, goal_id)
            return goal.state.began is not None

    async def watch_deadlines(self, every_ms: int = 1_000, rescan_ms: int = 30_000) -> None:
        """Ends goals whose deadline passed, also those that no hop would ever reach again. Runs for ever."""
        next_scan_ms = 0
        while True:
            now_ms = self._transport.clock.now_ms()
            if now_ms >= next_scan_ms:
                next_scan_ms = now_ms + rescan_ms
                await self._find_open_goals()
            for goal_id, goal in list(self._goals.items()):
                began = goal.state.began
                late = began is not None and now_ms > deadline_ms(began)
                if late and (goal.state.phase != "ended" or goal_id in self._untold) and self._may_act(goal_id):
                    await self._pass_deadline(goal_id, now_ms)
            await anyio.sleep(every_ms / 1000)

    async def _pass_deadline(self, goal_id: str, now_ms: int) -> None:
        """No message will be delivered again for this: what was journaled but could not be told is told next time."""
        self._untold.add(goal_id)
        try:
            await self._happened(goal_id, DeadlinePassed(cause=DEADLINE, at_ms=now_ms))
            self._untold.discard(goal_id)
        except (BusError, Postpone) as error:
            log.warning("deadline of %s: %s", goal_id, error)

    def _may_act(self, goal_id: str) -> bool:
        """The deadline of a halted goal passes all the same, but that is told when it is resumed."""
        return self._control.verdict(Doing(agent=self._sender.identity.agent, goal=goal_id)).allowed

    async def _find_open_goals(self) -> None:
        try:
            async with aclosing(kv_entries(self._transport, BUCKET, self._workspace)) as entries:
                async for entry in entries:
                    goal_id = entry.key.removeprefix(f"{self._workspace}.")
                    if not is_uuid7(goal_id) or goal_id in self._goals:
                        continue
                    # What is not readable may stand for a goal that is open: its journal knows.
                    status = decoded(entry, GoalStatus)
                    if status is None or status.phase != "ended":
                        goal = self._entry(goal_id)
                        async with goal.lock:
                            await self._load(goal, goal_id)
                        if DEADLINE in goal.state.causes:
                            self._untold.add(goal_id)
        except BusError as error:
            log.warning("open goals could not be read: %s", error)

    async def _event_of(self, hop: Hop) -> AnyEvent:
        payload = hop.envelope.payload
        if isinstance(payload, HumanDecision):
            return decision_event(hop, self._trust)
        planned = await self._plan(payload) if isinstance(payload, Intake) else []
        gates: Sequence[str] = ()
        kinds: Sequence[KindQuota] = ()
        if self._contract is not None:
            chain, ref = self._contract.chain, hop.envelope.policy_context.contract_ref
            gates, kinds = (chain.find(ref) or chain.head).contract.gates, kinds_of(chain, ref)
        event = event_of(hop.envelope, hop.origin, hop.now_ms, planned, self._terms, gates, kinds)
        if event is None:
            raise Refusal(Reason.WRONG_PAYLOAD, f"an orchestrator does not handle {type(payload).__name__}")
        return event

    async def _happened(
        self, goal_id: str, event: AnyEvent, told_by: Origin | None = None, *, is_first: bool = False
    ) -> None:
        """is_first: nothing can have happened to the goal before; had it all the same, its journal's revision refuses us."""
        async with self._alone(goal_id) as goal:
            if goal.revision < 0 and is_first:
                goal.revision = 0
            elif goal.revision < 0:
                await self._load(goal, goal_id)
            if event.cause in goal.unsent:
                sends, at_ms = goal.unsent[event.cause]
            elif event.cause in goal.state.causes:
                sends, at_ms = await self._decided_before(goal_id, event.cause)
            elif not matters(goal.state, event):
                return
            else:
                sends, at_ms = await self._decide(goal, goal_id, event, told_by), event.at_ms
                goal.unsent[event.cause] = (sends, at_ms)
            failpoint("event_recorded")
            going, withheld = await self._permit.sorted_out(sends, at_ms)
            await self._send([with_grants(send, goal.state, self._sender.identity, at_ms) for send in going], at_ms)
            goal.unsent.pop(event.cause, None)
            failpoint("event_sent")
            await self._tell(goal, goal_id)
            await tell_approvals(self._transport, self._workspace, goal_id, goal.state, goal.told_approvals)
            failpoint("event_told")
        if goal.state.phase == "ended":
            self._goals.pop(goal_id, None)
        for kept in withheld:
            await self._happened(goal_id, kept)

    @asynccontextmanager
    async def _alone(self, goal_id: str) -> AsyncIterator[_Goal]:
        """The goal as it stands, while nobody else changes it. Who waited behind an event that could not be journaled must
        not go on with what that one left in memory: what follows from it would be sent, and its answer come to a goal that,
        by its journal, does not wait for one.
        """
        while True:
            goal = self._entry(goal_id)
            async with goal.lock:
                if self._goals.get(goal_id) is not goal:
                    continue
                try:
                    yield goal
                except BaseException:
                    if goal.state.began is None:
                        self._goals.pop(goal_id, None)  # nothing is known of it: its journal is read again
                    raise
                return

    async def _decide(self, goal: _Goal, goal_id: str, event: AnyEvent, told_by: Origin | None) -> list[Send]:
        if goal.state.began is None and not isinstance(event, Began):
            raise Postpone(Reason.HANDLER_FAILED, f"goal {goal_id} has not begun here yet")
        check(goal.state, event)
        if (
            goal.state.began is not None
            and told_by is not None
            and (wider := exceeds(told_by, goal.state.began.origin))
        ):
            raise Refusal(Reason.BAD_PARENT, wider)
        decided, had_ended = len(goal.state.gates), goal.state.completion is not None
        sends = self._decider.apply(goal.state, event)
        failpoint("event_decided")
        try:
            goal.revision = await append(
                self._transport,
                self._journal(goal_id),
                _encoder.encode(event),
                revision=goal.revision,
                seals=self._seals,
            )
        except BusError as error:
            # What is in memory may now differ from the journal: forget it, the next delivery reads it again.
            self._goals.pop(goal_id, None)
            if isinstance(error, Conflict):
                raise Postpone(Reason.HANDLER_FAILED, "another orchestrator advanced the goal first") from error
            raise
        self._shown.gates(goal.state.gates[decided:])
        if goal.state.completion is not None and not had_ended and goal.state.began is not None:
            began_ms, ended_ms = goal.state.began.at_ms, goal.state.ended_ms
            self._shown.ended(goal_id, self._workspace, goal.state.completion, began_ms, ended_ms)
        return sends

    async def _send(self, sends: Sequence[Send], at_ms: int) -> None:
        try:
            await set_reminders(self._transport, self._workspace, sends)
            await asyncio.gather(
                *(self._sender.send(send.parent, [send.draft], now_ms=at_ms, granted=send.granted) for send in sends)
            )
        except ChildRefused as error:
            # Past the deadline nothing may be sent any more; the deadline watch ends the goal.
            log.warning("not sent: %s", error)

    async def _load(self, goal: _Goal, goal_id: str) -> None:
        records, revision = await read_journal(self._transport, self._journal(goal_id), self._seals)
        state = GoalState()
        for record in records:
            self._decider.apply(state, _decoder.decode(record.data))
        goal.state, goal.revision = state, revision  # only now: what could not be read is no goal without a past

    async def _decided_before(self, goal_id: str, cause: str) -> tuple[list[Send], int]:
        """What was decided when this cause was first journaled: the same fold, stopped there."""
        state = GoalState()
        records, _ = await read_journal(self._transport, self._journal(goal_id), self._seals)
        for record in records:
            event = _decoder.decode(record.data)
            sends = self._decider.apply(state, event)
            if event.cause == cause:
                return sends, event.at_ms
        return [], 0

    async def _tell(self, goal: _Goal, goal_id: str) -> None:
        now_ms, phase = self._transport.clock.now_ms(), goal.state.phase
        # A phase that may last is told at once; what passes in a moment need not be.
        lasting = phase in LASTING and phase != goal.told_phase
        if not lasting and now_ms - goal.told_ms < max(STATUS_EVERY_MS, STATUS_MS_A_GOAL * len(self._goals)):
            return
        status = status_of(goal.state, self._workspace, goal_id, now_ms)
        if status is not None:
            await write_status(self._transport, status)
            goal.told_ms, goal.told_phase = now_ms, phase

    def _entry(self, goal_id: str) -> _Goal:
        goal = self._goals.get(goal_id)
        if goal is None:
            goal = self._goals[goal_id] = _Goal()
            while len(self._goals) > MAX_CACHED_GOALS and not next(iter(self._goals.values())).lock.locked():
                self._goals.popitem(last=False)
        return goal

    def _journal(self, goal_id: str) -> str:
        return journal_subject(self._workspace, "goal", goal_id)
