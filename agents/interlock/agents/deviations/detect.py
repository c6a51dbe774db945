"""What is a deviation (GOV-10), and what is noise. Pure.

A forgery by an unknown key is a counted refusal, however many there are: strangers must not be able to halt anything.
A signature that does not verify although it names a key of the trust store, among the hops of the roles, is one: either a
role's key or the path between roles is no longer what we think.
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.agents.audit.hop_graph import Hop
from interlock.agents.deviations.fold import Detection
from interlock.agents.deviations.statement import Statement
from interlock.bus.ledger.balance import Balance
from interlock.bus.streams import AUDIT, HOPS, LEDGER
from interlock.envelope.payloads import Ground
from interlock.envelope.verdict import Reason

BROKEN_SIGNATURES = (Reason.BAD_SIGNATURE, Reason.KEY_NOT_FOR_AGENT)
# Grounds on which an audit denies because of how the system worked. `too_many_hops` is not among them: it can be caused
# by a flood of forgeries. What a goal's own content fails blocks that goal and is no deviation.
COMPLIANCE = ("over_budget", "log_broken")
LEAST_DETERMINISM = 950


def of_hop(hop: Hop) -> Detection | None:
    """A hop as the auditor judged it by itself."""
    if hop.verified or hop.reason not in BROKEN_SIGNATURES:
        return None
    sender = hop.envelope.sender if hop.envelope is not None else "unknown"
    return Detection(
        kind="signature_failure",
        about="role:orchestrator",
        halts="role:orchestrator",
        evidence=f"{HOPS.name}:{hop.sequence}",
        detail=f"a hop that names a trusted key as {sender}'s does not verify: {hop.reason}",
        seen_ms=hop.stored_ms,
    )


def of_balance(balance: Balance, sequence: int, stored_ms: int) -> Detection | None:
    """Only where the limit holds work that runs: that a day has no room for one more goal is the gateway's answer to its
    submitter.
    """
    kind, _, name = balance.scope.partition(".")
    if not (balance.breached or (balance.refused and kind == "goal")) or kind not in ("goal", "day", "kind"):
        return None
    # The ledger lets no more work of a breached kind begin that day: there is nothing besides that a halt would stop.
    halts = {"goal": f"goal:{name}", "day": "workspace", "kind": ""}[kind]
    what = "used more than its limit" if balance.breached else "was asked for more than is left of its limit"
    if kind == "kind":
        what = "cost more than one may, or all of that day more than they may"
    return Detection(
        kind="cost_breach",
        about=f"{kind}:{name}",
        halts=halts,
        evidence=f"{LEDGER.name}:{sequence}",
        detail=f"{balance.scope} {what}",
        seen_ms=stored_ms,
    )


def of_audit(goal_id: str, grounds: Sequence[Ground], sequence: int, stored_ms: int) -> Detection | None:
    """The grounds on which a goal's audit denies; sequence: of the request it answers."""
    failed = sorted({ground.code for ground in grounds if ground.code in COMPLIANCE or ground.code.startswith("hop_")})
    if not failed:
        return None
    return _not_compliant(f"the compliance log of goal {goal_id} fails: {', '.join(failed)[:300]}", sequence, stored_ms)


def of_release(goal_id: str, problems: Sequence[str], sequence: int, stored_ms: int) -> Detection | None:
    """A release without what a release takes: whoever decides releases cannot be relied on."""
    if not problems:
        return None
    return _not_compliant(f"goal {goal_id} was released, but {'; '.join(problems)}"[:500], sequence, stored_ms)


def _not_compliant(detail: str, sequence: int, stored_ms: int) -> Detection:
    return Detection(
        kind="compliance_failure",
        about="workspace",
        halts="role:gateway",
        evidence=f"{HOPS.name}:{sequence}",
        detail=detail,
        seen_ms=stored_ms,
    )


def of_witness(size: int, sequence: int, seen_ms: int) -> Detection:
    """A witness refuses a checkpoint as contradicting what it holds. It halts nothing: whoever runs the witness may not stop
    goals.
    """
    return Detection(
        kind="compliance_failure",
        about="witness",
        halts="",
        evidence=f"{AUDIT.name}:{sequence}",
        detail=f"the witness holds a checkpoint that contradicts that of {size} records: was the log cut or replaced?",
        seen_ms=seen_ms,
    )


def of_report(report: Statement, sequence: int, stored_ms: int) -> Detection | None:
    """A replay's figure, already believed."""
    if report.per_mille >= LEAST_DETERMINISM:
        return None
    return Detection(
        kind="determinism",
        about="workspace",
        halts="",
        evidence=f"{AUDIT.name}:{sequence}",
        detail=f"a replay of {report.subject} agreed in {report.per_mille} of 1000 decisions",
        seen_ms=stored_ms,
    )
