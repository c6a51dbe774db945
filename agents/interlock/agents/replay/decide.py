"""The replay itself: every recorded input through today's code at its recorded time, every decision compared (AUD-04).

Decisions: what the receiving gates and the policies say of each hop; the plan; the events the orchestrator makes of its hops; the
evaluator's reviews and verifications; every envelope that follows from them, with id, payload, budget and deadline. What
models, skills, the auditor and the synthesizer answered are inputs. Pure.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from interlock.agents.goal.events import Planned, event_of
from interlock.agents.goal.state import AnyEvent, ApprovalTimedOut, Began, DeadlinePassed, GoalState, Send, Withheld
from interlock.agents.orchestration.asking import decision_event
from interlock.agents.orchestration.granting import with_grants
from interlock.agents.replay.code import Code
from interlock.agents.replay.compare import (
    Divergence,
    Kind,
    ReplayReport,
    first_difference,
    first_difference_of,
    is_decided_alike,
)
from interlock.agents.replay.ledger import Asked, decided, refused_again
from interlock.agents.replay.policies import Policies, recorded_decision
from interlock.agents.replay.receiving import OBSERVER, Receiving, Trusted
from interlock.agents.replay.recording import Recording
from interlock.bus.gates import CONSEQUENCE
from interlock.bus.hop import Disposition, Hop, Refusal
from interlock.bus.ledger.balance import Reservation
from interlock.bus.ledger.client import goal_scope
from interlock.bus.ledger.stage import Charge, granted_budget
from interlock.bus.policy.stage import told as explained
from interlock.bus.sender import Identity
from interlock.bus.transport import Message
from interlock.envelope.amounts import ZERO, Amount, time_ms
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.children import ChildRefused, Draft, Origin, derive, origin_of
from interlock.envelope.ids import derived_id, role_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import AnyPayload, Escalation, HaltNotice, HumanDecision, Intake, PlanDraft
from interlock.envelope.verdict import Reason

# Nobody receives through gates what is sent to people, and nothing is sent to a gateway.
_UNJUDGED = ("human", "gateway", "")
# Reasons of what comes behind the gates: policies, rates, budgets, the handler. The gates had said ok before.
_BEHIND = frozenset(
    {
        Reason.POLICY_DENIED,
        Reason.RATE_LIMITED,
        Reason.CIRCUIT_OPEN,
        Reason.OVER_BUDGET,
        Reason.OVER_QUOTA,
        Reason.LEDGER_UNAVAILABLE,
        Reason.WRONG_PAYLOAD,
        Reason.GATE_FAILED,
        Reason.HANDLER_FAILED,
        Reason.MAX_DELIVERIES,
    }
)
_events = msgspec.json.Decoder(AnyEvent)


class _Read(Struct, frozen=True):
    """A hop that verified: message, envelope, digest of its bytes."""

    message: Message
    envelope: Envelope
    digest: str

    @property
    def origin(self) -> Origin:
        return origin_of(self.envelope, self.digest)


class _Unsigning(SigningKey):
    """Tokens are compared without their signatures, so none is made."""

    __slots__ = ()

    def sign(self, message: bytes) -> bytes:
        return bytes(64)


def replay(recording: Recording, code: Code) -> ReplayReport:
    """Never raises for what a recording may hold."""
    # What is decoded stays until the report is made, and goes with the last that names it: nothing of it forms a cycle, so that
    # looking for some again and again is in vain.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _Replay(recording, code).run()
    finally:
        if collects:
            gc.enable()


class _Replay:
    def __init__(self, recording: Recording, code: Code) -> None:
        self._recording = recording
        self._code = code
        self._report = ReplayReport(goal_id=recording.goal_id, hops=len(recording.hops))
        self._read: dict[str, _Read] = {}
        self._explained: set[str] = set()
        self._orchestrators = ["orchestrator"]
        self._evaluators = ["evaluator"]
        self._trust = Trusted(recording.trust)
        self._key = _Unsigning.generate()

    def run(self) -> ReplayReport:
        events = self._journal()
        terms = next((event.terms for event in events if isinstance(event, Began)), ApprovalTerms())
        recording = self._recording
        self._gates(Policies(self._code, self._trust, terms, recording.limits))
        self._evaluations()
        self._fold(events)
        self._ledger()
        self._unexplained()
        return self._report

    def _journal(self) -> list[AnyEvent]:
        """The recorded events."""
        events: list[AnyEvent] = []
        for number, record in enumerate(self._recording.journal, 1):
            try:
                events.append(_events.decode(record))
            except (msgspec.MsgspecError, RecursionError) as error:
                self._differ(None, "event", f"journal record {number} cannot be read by today's code", str(error)[:300])
        return events

    # Gates

    def _gates(self, policies: Policies) -> None:
        receiving = Receiving(self._recording)
        for message in self._recording.hops:
            tokens = message.subject.split(".")
            role = tokens[3] if len(tokens) > 3 else ""
            hop = Hop(message, message.stored_ms)
            recorded = self._recording.refused.get((role, message.sequence))
            if recorded is not None:
                hop.now_ms = recorded.at_ms
            unjudged = role in _UNJUDGED
            reason, detail = receiving.first_reason(hop, OBSERVER if unjudged else role)
            told = str(Reason.OK) if recorded is None else recorded.reason
            # What was let in then had its consequences, whatever today's gates say of it.
            if hop.parsed is not None and (reason is Reason.OK or (told == Reason.OK and not unjudged)):
                self._remember(_Read(message, hop.envelope, hop.digest))
            if not unjudged:
                self._report.compared(
                    None if _agree(reason, told) else self._gate_differs(message, hop, told, reason, detail)
                )
                if reason is Reason.OK:
                    self._policies(policies, hop, role, told)

    def _remember(self, read: _Read) -> None:
        self._read.setdefault(read.envelope.id, read)
        sender = read.envelope.sender
        known = {"orchestrator": self._orchestrators, "evaluator": self._evaluators}.get(role_of(sender))
        if known is not None and sender not in known:
            known.append(sender)

    def _gate_differs(self, message: Message, hop: Hop, told: str, reason: Reason, detail: str) -> Divergence:
        name = hop.parsed.id if hop.parsed is not None else message.subject
        return Divergence(
            sequence=message.sequence,
            hop=name,
            kind="gate",
            what="the receiving gates' verdict",
            path="$.reason",
            recorded=str(told),
            now=f"{reason}: {detail}" if detail else str(reason),
        )

    def _policies(self, policies: Policies, hop: Hop, role: str, told: str) -> None:
        recorded = recorded_decision(told)
        if recorded is None:
            return
        verdict = policies.verdict(hop, role)
        if verdict.allowed == recorded:
            self._report.compared(None)
            return
        now = "allow" if verdict.allowed else f"{verdict.decision}: {explained(verdict)}"[:500]
        self._report.compared(
            Divergence(
                sequence=hop.message.sequence,
                hop=hop.envelope.id,
                kind="policy",
                what="what its receiver's policies say",
                path="$.decision",
                recorded="allow" if recorded else told,
                now=now,
            )
        )

    # Evaluator

    def _evaluations(self) -> None:
        for read in list(self._read.values()):
            envelope = read.envelope
            if not any(role_of(to) == "evaluator" for to in envelope.recipients):
                continue
            kind: Kind = "review" if isinstance(envelope.payload, PlanDraft) else "verification"
            step = "verdict" if kind == "review" else "verification"
            answers = list(self._children(read.origin, step, self._evaluators))
            for answer in answers:
                at_ms = time_ms(answer.envelope.created_at)
                draft = self._code.evaluation_at(self._recording.chain, at_ms).answer(envelope, at_ms)
                if draft is not None:
                    self._hold(read, kind, read.origin, draft, answer, at_ms, ZERO)
            self._report.unanswered += not answers

    def _children(self, parent: Origin, step: str, senders: list[str]) -> Iterator[_Read]:
        for sender in senders:
            found = self._read.get(derived_id(parent.workspace, parent.id, sender, step))
            if found is not None:
                yield found

    def _hold(
        self, cause: _Read | None, kind: Kind, parent: Origin, draft: Draft, answer: _Read, at_ms: int, granted: Amount
    ) -> None:
        """Today's child against the recorded one."""
        recorded = answer.envelope
        self._explained.add(recorded.id)
        try:
            now = derive(parent, draft, sender=recorded.sender, key_id=recorded.key_id, now_ms=at_ms, granted=granted)
        except ChildRefused as error:
            self._differ(cause or answer, kind, f"what follows at step {draft.step}", f"refused: {error}")
            return
        if is_decided_alike(recorded, now):
            self._report.compared(None)
            return
        path, left, right = first_difference_of(recorded, now)
        self._differ(cause or answer, kind, f"what follows at step {draft.step}", right, left, path)

    # Orchestrator

    def _fold(self, events: list[AnyEvent]) -> None:
        state = GoalState()
        kept = {event.step for event in events if isinstance(event, Withheld)}
        for number, event in enumerate(events, 1):
            cause = self._read.get(event.cause)
            if cause is not None:
                self._event(cause, event)
            elif not isinstance(event, DeadlinePassed | ApprovalTimedOut | Withheld):
                self._differ(None, "event", f"the hop {event.cause} that a journal record names", "not among the hops")
            may_lack = number == len(events) and not self._recording.ended
            try:
                self._follow(state, event, cause, kept, may_lack=may_lack)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                # A journal that was tampered with holds what no orchestrator writes, such as an id that is none.
                self._differ(cause, "event", "what follows from it", f"nothing can: {error}"[:300])

    def _follow(
        self, state: GoalState, event: AnyEvent, cause: _Read | None, kept: set[str], *, may_lack: bool
    ) -> None:
        identity = Identity(self._orchestrators[0], self._key)
        sends = self._code.decider.apply(state, event)
        for send in (with_grants(one, state, identity, event.at_ms) for one in sends):
            if send.draft.step in kept:
                continue  # policies, which are not asked again, did not let it go out
            self._send(cause, send, event.at_ms, may_lack=may_lack)

    def _event(self, cause: _Read, recorded: AnyEvent) -> None:
        now = self._event_now(cause, recorded)
        kind: Kind = "plan" if isinstance(recorded, Began) else "event"
        if now == recorded:
            self._report.compared(None)
            return
        path, left, right = first_difference(recorded, now)
        what = "the plan drafted from it" if kind == "plan" else "what it tells the goal"
        self._differ(cause, kind, what, right, left, path)

    def _event_now(self, cause: _Read, recorded: AnyEvent) -> AnyEvent | None:
        envelope = cause.envelope
        if isinstance(envelope.payload, HumanDecision):
            hop = Hop(cause.message, recorded.at_ms)
            hop.envelope, hop.digest = envelope, cause.digest
            try:
                return decision_event(hop, self._trust)
            except Refusal:
                return None
        planned = self._planned(envelope.payload, recorded)
        if not isinstance(recorded, Began):
            return event_of(envelope, cause.origin, recorded.at_ms, planned, ApprovalTerms())
        mandate = (recorded.gates, recorded.kinds)
        return event_of(envelope, cause.origin, recorded.at_ms, planned, recorded.terms, *mandate)

    def _planned(self, payload: AnyPayload, recorded: AnyEvent) -> Planned:
        """A model's plan is an input: it is not asked again."""
        if not isinstance(payload, Intake) or not isinstance(recorded, Began):
            return []
        if recorded.draft is not None and recorded.draft.source == "model":
            return recorded.draft
        if any(problem.code == "policy_denied" for problem in recorded.problems):
            return recorded.problems  # nor are policies, whether it may be
        return self._code.plan(payload)

    def _send(self, cause: _Read | None, send: Send, at_ms: int, *, may_lack: bool) -> None:
        answers = list(self._children(send.parent, send.draft.step, self._orchestrators))
        for answer in answers:
            self._hold(cause, "child", send.parent, send.draft, answer, at_ms, send.granted)
        if not answers and (may_lack or at_ms >= send.parent.deadline_ms):
            self._report.unanswered += 1
        elif not answers:
            told = f"{type(send.draft.payload).__name__} to {send.draft.to} at step {send.draft.step}"
            self._differ(cause, "child", "what is sent", told, "nothing")

    # Ledger

    def _ledger(self) -> None:
        recording, asked = self._recording, dict[str, Asked]()
        limit: Amount | None = None
        for read in self._read.values():
            envelope = read.envelope
            if isinstance(envelope.payload, Intake):
                limit = envelope.budget.amount
            if any(role_of(to) == "executor" for to in envelope.recipients):
                expires_ms, held = read.origin.deadline_ms + Charge(granted_budget).grace_ms, envelope.budget.amount
                asked[envelope.id] = Asked(read.message.sequence, Reservation(held, expires_ms, slack=held))
        if limit is None:
            return
        for found in decided(recording.ledger, goal_scope(recording.goal_id), limit, asked):
            self._report.compared(found)
        for (role, sequence), refusal in recording.refused.items():
            one = next((one for one in self._read.values() if one.message.sequence == sequence), None)
            wanted = asked.get(one.envelope.id) if one is not None else None
            if role == "executor" and refusal.reason == Reason.OVER_BUDGET and one is not None and wanted is not None:
                again = refused_again(recording.ledger, one.envelope.id, wanted)
                self._report.compared(None if again else self._granted_now(one, refusal.detail))

    def _granted_now(self, read: _Read, told: str) -> Divergence:
        return Divergence(
            sequence=read.message.sequence,
            hop=read.envelope.id,
            kind="ledger",
            what="whether its goal's balance holds it",
            path="$.granted",
            recorded=told,
            now="granted",
        )

    # The other way round

    def _unexplained(self) -> None:
        """What the two deciding roles sent, and today's code would not have sent."""
        for read in self._read.values():
            envelope = read.envelope
            # An evaluator's escalation says that it gave a hop up; a notice of a halt answers a person.
            deciding = "orchestrator", "evaluator"
            told_only = isinstance(envelope.payload, HaltNotice) or (
                isinstance(envelope.payload, Escalation) and role_of(envelope.sender) == "evaluator"
            )
            if role_of(envelope.sender) in deciding and not told_only and envelope.id not in self._explained:
                told = f"{type(envelope.payload).__name__} to {', '.join(envelope.recipients)}"
                self._differ(read, "child", "what is sent", "nothing", told)

    def _differ(
        self, cause: _Read | None, kind: Kind, what: str, now: object, recorded: object = None, path: str = "$"
    ) -> None:
        self._report.compared(
            Divergence(
                sequence=0 if cause is None else cause.message.sequence,
                hop="" if cause is None else cause.envelope.id,
                kind=kind,
                what=what,
                path=path,
                recorded=recorded,
                now=now,
            )
        )


def _agree(reason: Reason, told: str) -> bool:
    """Today's gates against what was recorded. Who is told to wait was let through later, or given up."""
    if reason == told:
        return True
    if told == Reason.OK or told in _BEHIND:
        return reason is Reason.OK or CONSEQUENCE[reason] is Disposition.RETRY
    return False
