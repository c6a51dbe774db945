"""Who may say what to whom: the static part of policy, checked by sender and receiver alike (agents.md, the roles)."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from interlock.envelope.ids import role_of
from interlock.envelope.model import Envelope
from interlock.envelope.verdict import ALLOW, Reason, Verdict, deny

_WORKERS = ("evaluator", "executor", "auditor", "synthesizer")

# (from role, to role, intent) → payload types
AUTHORITY: dict[tuple[str, str, str], frozenset[str]] = {
    ("gateway", "orchestrator", "plan"): frozenset({"intake"}),
    ("orchestrator", "evaluator", "plan"): frozenset({"plan_draft"}),
    ("evaluator", "orchestrator", "observe"): frozenset({"plan_verdict", "verification"}),
    ("orchestrator", "executor", "act"): frozenset({"task"}),
    ("executor", "evaluator", "observe"): frozenset({"task_result"}),
    ("orchestrator", "auditor", "act"): frozenset({"audit_request"}),
    ("auditor", "orchestrator", "observe"): frozenset({"audit_report"}),
    ("orchestrator", "synthesizer", "act"): frozenset({"knowledge_request"}),
    ("synthesizer", "orchestrator", "observe"): frozenset({"knowledge_pack"}),
    ("orchestrator", "human", "escalate"): frozenset({"escalation", "approval_request"}),
    ("auditor", "human", "escalate"): frozenset({"escalation"}),
    ("orchestrator", "human", "complete"): frozenset({"completion"}),
    ("human", "orchestrator", "observe"): frozenset({"decision"}),
    **{(role, "orchestrator", "escalate"): frozenset({"escalation"}) for role in _WORKERS},
}

# What carries a grant: work that is to be done, and the plan it follows from. All else is told, and has nothing to spend.
GRANTING = frozenset({"intake", "plan_draft", "plan_verdict", "task"})


def payload_type(envelope: Envelope) -> str:
    """The wire tag of the payload."""
    return _tag(type(envelope.payload))


@lru_cache(maxsize=64)
def _tag(payload: type[Struct]) -> str:
    return str(payload.__struct_config__.tag)


def judge(envelope: Envelope) -> Verdict:
    """Whether the sender's role may send this payload with this intent to every role it is addressed to, and grant what
    it grants.
    """
    kind = payload_type(envelope)
    if kind not in GRANTING and not envelope.budget.amount.is_zero:
        return deny(
            Reason.POLICY_DENIED,
            f"{kind} grants {envelope.budget.cost_usd} USD and {envelope.budget.thinking_tokens} tokens to nobody",
            rule="authority",
            instead="a budget of nothing",
        )
    to = envelope.to
    return _may_say(kind, envelope.sender, (to,) if isinstance(to, str) else tuple(to), envelope.intent)


@lru_cache(maxsize=1024)  # the same few say the same to the same, hop by hop
def _may_say(kind: str, sender: str, recipients: tuple[str, ...], intent: str) -> Verdict:
    """A pure function of these and of AUTHORITY."""
    for recipient in recipients:
        route = (role_of(sender), role_of(recipient), intent)
        if kind not in AUTHORITY.get(route, frozenset()):
            allowed = sorted(
                f"{intent} {name} to {to}"
                for (sender, to, intent), names in AUTHORITY.items()
                if sender == route[0]
                for name in names
            )
            return deny(
                Reason.POLICY_DENIED,
                f"{route[0]} may not send {kind} to {route[1]} with intent {route[2]}",
                rule="authority",
                instead="; ".join(allowed),
            )
    return ALLOW
