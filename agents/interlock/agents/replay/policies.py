"""What today's policies say of a recorded hop, where its receiver asked its own (GOV-04, AUD-04).

Rates count as none: how many hops of other goals there were is not in the record of one.
"""

from __future__ import annotations

from interlock.agents.approvals.evidence import ApprovalCheck
from interlock.agents.goal.task_facts import task_facts
from interlock.agents.replay.code import Code
from interlock.bus.gates import TrustSource
from interlock.bus.hop import Hop
from interlock.bus.policy.facts import AgentFacts, facts_of, performer_facts, sender_facts
from interlock.envelope.approval import ApprovalTerms
from interlock.envelope.verdict import Reason, Verdict
from interlock.envelope.verification import Limits

# What came behind the policies, so that they had allowed it. Of the rest it is not known whether they were asked.
ALLOWED = frozenset(
    {
        Reason.OK,
        Reason.CIRCUIT_OPEN,
        Reason.OVER_BUDGET,
        Reason.OVER_QUOTA,
        Reason.LEDGER_UNAVAILABLE,
        Reason.WRONG_PAYLOAD,
        Reason.HANDLER_FAILED,
    }
)
_EXECUTOR = "executor"


class Policies:
    """The policies of `code`, asked with what was known at the time."""

    def __init__(self, code: Code, trust: TrustSource, terms: ApprovalTerms, limits: Limits) -> None:
        self._code = code
        self._trust = trust.trust
        self._approvals = ApprovalCheck(trust, terms, limits)
        self._performers: dict[str, AgentFacts] = {}

    def verdict(self, hop: Hop, role: str) -> Verdict:
        """hop: one that the receiving gates let in, with its envelope."""
        performer = self._performers.get(role)
        if performer is None:
            performer = self._performers[role] = performer_facts(self._trust, role)
        runs = role == _EXECUTOR
        facts = facts_of(
            hop,
            sender_facts(self._trust, hop.envelope.key_id, hop.now_ms),
            performer,
            task=task_facts(hop, self._code.catalogue.registry.find) if runs else None,
            approval=self._approvals.facts(hop) if runs else None,
        )
        return self._code.judge(facts)


def recorded_decision(told: str) -> bool | None:
    """Whether a receiver's policies had let the hop through, by why it was refused if it was; None: that cannot be told."""
    if told in ALLOWED:
        return True
    return False if told == Reason.POLICY_DENIED else None
