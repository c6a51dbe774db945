"""Whether a goal that is said to be released had what a release takes, from its signed hops (ROL-07, GOV-08). Pure.

The orchestrator decides a release. Here its word is held against those of the others: the evaluator's review and
verifications, the humans' decisions, the auditor's own report, and the gates that the contract names.
"""

from __future__ import annotations

from collections.abc import Iterable

from interlock.agents.audit.hop_graph import HopAudit
from interlock.agents.goal.gates import lacking
from interlock.envelope.contract_chain import Chain
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import (
    AuditReport,
    Completion,
    GateOutcome,
    HumanDecision,
    PlanVerdict,
    Verification,
)


def release_problems(audit: HopAudit, chain: Chain | None) -> list[str]:
    """What is missing; empty where nothing is, and where no release is claimed. chain: the contract's versions."""
    said = [hop.envelope for hop in audit.hops if hop.verified and hop.envelope is not None]
    released = [one for one in said if isinstance(one.payload, Completion) and one.payload.outcome == "released"]
    if not released:
        return []
    end = released[-1]
    completion = end.payload
    if not isinstance(completion, Completion):
        return []
    reports = [one.payload for one in said if isinstance(one.payload, AuditReport)]
    problems = _review_problems(said)
    if not reports or reports[-1].decision != "allow":
        problems.append("no audit allowed it")
    allowed = {
        one.payload.result.task_id
        for one in said
        if isinstance(one.payload, Verification) and one.payload.decision == "allow"
    }
    unverified = [task.id for task in completion.tasks if task.status != "done" or task.id not in allowed]
    if unverified:
        problems.append(f"tasks without an allowed result: {', '.join(unverified[:10])}")
    missing = lacking(completion.gates, _required(end, chain))
    if missing:
        problems.append(f"gates that the contract names were not passed: {', '.join(missing)}")
    return [*problems, *_failed(completion.gates)]


def _review_problems(said: Iterable[Envelope]) -> list[str]:
    payloads = [one.payload for one in said]
    verdicts = [payload for payload in payloads if isinstance(payload, PlanVerdict)]
    if not verdicts:
        return ["no evaluator reviewed its plan"]
    verdict = verdicts[-1]
    problems = _failed(verdict.gates)
    if verdict.decision == "deny":
        problems.append("the evaluator denied its plan")
    approved = any(isinstance(payload, HumanDecision) and payload.decision == "allow" for payload in payloads)
    if verdict.decision == "needs_approval" and not approved:
        problems.append("no human approved its plan")
    return problems


def _required(end: Envelope, chain: Chain | None) -> list[str]:
    version = None if chain is None else chain.find(end.policy_context.contract_ref)
    return [] if version is None else list(version.contract.gates)


def _failed(gates: Iterable[GateOutcome]) -> list[str]:
    return [f"gate {gate.gate} has failed" for gate in gates if not gate.passed]
