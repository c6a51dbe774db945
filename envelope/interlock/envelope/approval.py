"""What an approval binds to, who may give it, and whether evidence of one holds (GOV-06). Pure.

A human signs the digest of the exact action. Whoever is about to act computes that digest again from what it is really
going to do, so that one byte changed after the approval makes it void.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec
from msgspec import Struct

from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import role_of, sha256_hex
from interlock.envelope.model import Envelope, PolicyContext
from interlock.envelope.payloads import Approval, HumanDecision, JsonObject, Task
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import ALLOW, Verdict, deny
from interlock.envelope.verification import Limits, check_freshness, check_signature, decode

PLAN_START = "plan.start"
TASK_RUN = "task.run"
HUMAN = "human"
# How evidence may fail (`judge_evidence`).
EVIDENCE_CODES = frozenset(
    {
        "not_human",
        "not_its_own",
        "approval_invalid",
        "approval_mismatch",
        "approval_expired",
        "approval_not_entitled",
        "approval_incomplete",
    }
)


class ApprovalTerms(Struct, frozen=True, kw_only=True):
    """What a workspace asks of approvals. needed: how many different humans; timeout_ms: how long they have; age_ms: how
    old a decision may be when its action begins.
    """

    needed: int = 1
    timeout_ms: int = 3_600_000
    age_ms: int = 3_600_000


class Action(Struct, frozen=True, rename="camel", kw_only=True):
    """The exact action: operation, what it is done to, with which arguments, under which policies and contract."""

    operation: str
    target: str
    arguments: JsonObject
    policy_bundle: str
    contract: str

    @property
    def digest(self) -> str:
        """SHA-256 over the RFC 8785 form, 64 hex digits."""
        return sha256_hex(canonical(self))


def action_of(operation: str, target: str, arguments: JsonObject, context: PolicyContext) -> Action:
    return Action(
        operation=operation,
        target=target,
        arguments=arguments,
        policy_bundle=context.policy_bundle,
        contract=context.contract_ref,
    )


def task_action(goal_id: str, task: Task, context: PolicyContext) -> Action:
    """Running a task: everything its effect follows from. Not the attempt and the time, which differ when it is started
    again; an approval is used up by the run it allowed anyway.
    """
    arguments = {
        "skill": task.skill,
        "input": task.input,
        "files": msgspec.to_builtins(task.files),
        "seed": task.seed,
        "seal": task.seal,
    }
    return action_of(TASK_RUN, f"{goal_id}/{task.task_id}", arguments, context)


def judge_decider(envelope: Envelope, trust: Trust) -> Verdict:
    """Whether this decision is a human's own: never that of an agent, so never that of whoever asked. The signature
    itself is not looked at here.
    """
    key, decision = trust.find(envelope.key_id), envelope.payload
    if key is None or role_of(envelope.sender) != HUMAN or role_of(key.agent) != HUMAN:
        return deny("not_human", f"{envelope.sender} is no human", rule="GOV-06", instead="a human's own key")
    if not isinstance(decision, HumanDecision) or decision.by != envelope.sender:
        return deny("not_its_own", f"{envelope.sender} decides in another's name", rule="GOV-06")
    return ALLOW


def may_approve(capabilities: Sequence[str], operation: str) -> bool:
    """Whether `approve:<operation>` is covered by one of these, which may end in `*`."""
    return any(fnmatchcase(f"approve:{operation}", pattern) for pattern in capabilities)


def capabilities_of(envelope: Envelope, trust: Trust) -> tuple[str, ...]:
    """What the signer's key is enrolled with."""
    key = trust.find(envelope.key_id)
    return () if key is None else key.capabilities


def decider_of(envelope: Envelope, trust: Trust) -> str:
    """Who decided, for counting: the agent the key is enrolled for. A key of `human` signs as `human.ada` and as
    `human.bob`, and one human with two keys is still one.
    """
    key = trust.find(envelope.key_id)
    return envelope.sender if key is None else key.agent


def judge_evidence(
    action: Action,
    approval: Approval,
    *,
    goal_id: str,
    trust: Trust,
    now_ms: int,
    terms: ApprovalTerms,
    limits: Limits | None = None,
) -> Verdict:
    """Whether enough humans who may have approved exactly this action, recently, for this goal. Codes: EVIDENCE_CODES."""
    bounds = limits or Limits()
    deciders: set[str] = set()
    for wire in approval.decisions:
        checked = decode(wire.encode(), bounds)
        envelope = checked.envelope
        if checked.ok and envelope is not None:
            checked = check_signature(envelope, trust, now_ms)
        if not checked.ok or envelope is None:
            return deny("approval_invalid", f"{checked.reason}: {checked.detail}"[:500], rule="GOV-06")
        verdict = _judge_one(action, approval.approval_id, goal_id, envelope, now_ms, terms, bounds)
        if verdict.allowed:
            verdict = judge_decider(envelope, trust)
        if not verdict.allowed:
            return verdict
        if not may_approve(capabilities_of(envelope, trust), action.operation):
            told = f"{envelope.sender} does not hold approve:{action.operation}"
            return deny("approval_not_entitled", told, rule="GOV-06")
        deciders.add(decider_of(envelope, trust))
    if len(deciders) < terms.needed:
        told = f"{len(deciders)} of {terms.needed} humans approved {action.operation} of {action.target}"
        return deny("approval_incomplete", told, rule="GOV-06")
    return ALLOW


def _judge_one(
    action: Action,
    approval_id: str,
    goal_id: str,
    envelope: Envelope,
    now_ms: int,
    terms: ApprovalTerms,
    limits: Limits,
) -> Verdict:
    decision = envelope.payload
    if not isinstance(decision, HumanDecision) or decision.decision != "allow":
        return deny("approval_invalid", f"envelope {envelope.id} approves nothing", rule="GOV-06")
    if envelope.goal_id != goal_id or decision.about != approval_id:
        return deny("approval_mismatch", f"envelope {envelope.id} is about something else", rule="GOV-06")
    if decision.action_digest != action.digest:
        told = f"what was approved is not {action.operation} of {action.target} as it now stands"
        return deny("approval_mismatch", told, rule="GOV-06", instead="ask again for the action as it is")
    created_ms = time_ms(envelope.created_at)
    if created_ms > now_ms + limits.skew_ms:
        return deny("approval_invalid", check_freshness(envelope, now_ms, limits).detail, rule="GOV-06")
    if now_ms - created_ms > terms.age_ms:
        told = f"approved {now_ms - created_ms} ms ago; at most {terms.age_ms} ms"
        return deny("approval_expired", told, rule="GOV-06", instead="ask again")
    return ALLOW


def signed_by(approval: Approval, limits: Limits | None = None) -> tuple[str, int]:
    """(who says to have decided first, the time of the oldest decision in ms), for telling. Proves nothing; empty and 0 if
    a decision cannot be read.
    """
    bounds = limits or Limits()
    found = [decode(wire.encode(), bounds).envelope for wire in approval.decisions]
    known = [envelope for envelope in found if envelope is not None]
    if len(known) < len(found):
        return "", 0
    return known[0].sender, min(time_ms(envelope.created_at) for envelope in known)
