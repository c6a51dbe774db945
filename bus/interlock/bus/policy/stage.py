"""The policy layer of the onion: the facts of a hop are judged before anything is done with it (bus.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from interlock.bus.authority import payload_type
from interlock.bus.gates import CONSEQUENCE, TrustSource
from interlock.bus.hop import Disposition, Handler, Hop, Middleware, Outcome
from interlock.bus.policy.facts import (
    NOBODY,
    AgentFacts,
    ApprovalFacts,
    Facts,
    RateFacts,
    TaskFacts,
    facts_of,
    performer_facts,
    rate_step,
    sender_facts,
)
from interlock.bus.policy.window import Window
from interlock.bus.policy.worker import PASSING
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Decision, Reason, Verdict

TaskFactsOf = Callable[[Hop], TaskFacts | None]
ApprovalFactsOf = Callable[[Hop], ApprovalFacts | None]
RATE_LIMITED = "rate_limited"
TASK = "task"


class Judge(Protocol):
    """Whoever answers facts with a verdict (service.PolicyService)."""

    async def judge(self, facts: Facts) -> Verdict: ...


def no_task(_: Hop) -> TaskFacts | None:
    """For roles that run nothing."""
    return None


def no_approval(_: Hop) -> ApprovalFacts | None:
    """Where nothing is approved."""
    return None


class HopFactsSource:
    """Gathers the facts of hops at one receiver."""

    def __init__(
        self,
        agent: str,
        trust: TrustSource,
        task_of: TaskFactsOf = no_task,
        approval_of: ApprovalFactsOf = no_approval,
    ) -> None:
        self._agent = agent
        self._trust = trust
        self._task_of = task_of
        self._approval_of = approval_of
        self._agents, self._workspaces = Window(), Window()
        self._performer: tuple[Trust, AgentFacts] | None = None
        self._senders: dict[tuple[str, bool], AgentFacts] = {}

    def of(self, hop: Hop) -> Facts:
        envelope, trust = hop.envelope, self._trust.trust
        if self._performer is None or self._performer[0] is not trust:
            self._performer = (trust, performer_facts(trust, self._agent))
            self._senders.clear()
        return facts_of(
            hop,
            self._sender(trust, envelope.key_id, hop.now_ms),
            self._performer[1],
            task=self._task_of(hop),
            approval=self._approval_of(hop),
            rates=RateFacts(
                agent_per_minute=rate_step(self._agents.add(envelope.sender, hop.now_ms)),
                workspace_per_minute=rate_step(self._workspaces.add(envelope.workspace, hop.now_ms)),
            ),
        )

    def _sender(self, trust: Trust, key_id: str, now_ms: int) -> AgentFacts:
        """The same for as long as the store is the same and the key has not come to be revoked."""
        key = trust.find(key_id)
        if key is None:
            return NOBODY
        state = (key_id, key.is_revoked(now_ms))
        found = self._senders.get(state)
        if found is None:
            found = self._senders[state] = sender_facts(trust, key_id, now_ms)
        return found


def policy_layer(judge: Judge, source: HopFactsSource) -> Middleware:
    """Lets through what is allowed. The verdict stays with the hop for whoever handles or reports it."""

    def middleware(handle_next: Handler) -> Handler:
        async def handle(hop: Hop) -> Outcome:
            try:
                hop.policy = verdict = await judge.judge(source.of(hop))
            except Exception as error:  # gates fail closed
                detail = f"policy: {type(error).__name__}: {error}"[:300]
                return Outcome(CONSEQUENCE[Reason.GATE_FAILED], Reason.GATE_FAILED, detail)
            if hop.span is not None:
                hop.span.policy_done(verdict.decision)
            return await handle_next(hop) if verdict.allowed else refusal(verdict, payload_type(hop.envelope))

        return handle

    return middleware


def told(verdict: Verdict) -> str:
    """The grounds in words, each with its code, its rule and what would be allowed."""
    return "; ".join(
        f"{ground.code} ({ground.rule}): {ground.message}" + (f"; allowed: {ground.instead}" if ground.instead else "")
        for ground in verdict.grounds
    )


def unanswerable(verdict: Verdict, payload: str) -> str:
    """Empty, or that no approval helps what was judged, for people: a policy asks for one where nobody can wait for it."""
    if verdict.decision is not Decision.NEEDS_APPROVAL or payload == TASK:
        return ""
    return f"only a task can wait for an approval, and this is of the type {payload}: it is denied"


def refusal(verdict: Verdict, payload: str = TASK) -> Outcome:
    """What follows from a verdict that is no allow. A denial for want of an answer and one for haste come again. payload: the
    type of what was judged.
    """
    codes = {ground.code for ground in verdict.grounds}
    told_first = unanswerable(verdict, payload)
    detail = f"{verdict.decision}: {told_first + '; ' if told_first else ''}{told(verdict)}"[:1_000]
    if codes and codes <= PASSING:
        return Outcome(Disposition.RETRY, Reason.GATE_FAILED, detail)
    reason = Reason.RATE_LIMITED if codes == {RATE_LIMITED} else Reason.POLICY_DENIED
    return Outcome(CONSEQUENCE[reason], reason, detail)
