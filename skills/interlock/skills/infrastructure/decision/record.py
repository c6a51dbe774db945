"""The decision log: one JSON object per decision, in the shape of seed 001 with numbers as numbers and units in names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from interlock.envelope.canonical import canonical
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.decision.model import BlueprintRef, Contribution, Decision, Kind
from interlock.skills.infrastructure.decision.reasons import Reason
from interlock.skills.infrastructure.operations import Operation

MAX_LINE_BYTES = 256 * 1024
Final = Literal["success", "rolled_back", "unknown", "blocked", "rejected", "held", "shadow", "withdrawn"]
"""What became of a decision. withdrawn: its blueprint changed before it was done."""
GovernanceStatus = Literal["allowed", "requires_approval", "forbidden", "not_needed"]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class GovernanceCheck(_Part, frozen=True):
    """Under which name and by which rule the operation was judged. not_needed: nothing is done."""

    operation: str
    status: GovernanceStatus
    rule: str
    approved_by: str = ""


class DecisionPart(_Part, frozen=True):
    """What was decided, from what, for what reasons."""

    id: str
    type: Kind
    current_state: dict[str, int]
    target_state: dict[str, int]
    rationale: str
    blueprint_references: tuple[str, ...]
    reasons: tuple[Reason, ...]
    contributions: tuple[Contribution, ...]
    score_ppm: int
    confidence_percent: int
    governance_check: GovernanceCheck


class ExecutionPart(_Part, frozen=True):
    """What was done. status `shadow` and `dry_run`: nothing was changed."""

    operation: Operation
    status: Literal["success", "failed", "unknown", "refused", "shadow", "dry_run"]
    duration_ms: int
    detail: str = ""


class VerificationPart(_Part, frozen=True):
    """What was measured wait_ms after the operation."""

    wait_ms: int
    post_operation_state: dict[str, int]
    targets_met: bool
    rationale: str


class DecisionRecord(_Part, frozen=True):
    """One line of the log. timestamp: RFC 3339, UTC, milliseconds."""

    timestamp: str
    agent_id: str
    target: str
    blueprint: BlueprintRef
    decision: DecisionPart
    outcome: Final
    execution: ExecutionPart | None = None
    verification: VerificationPart | None = None


_decoder = msgspec.json.Decoder(DecisionRecord)


def record_of(
    decision: Decision,
    agent_id: str,
    governance: GovernanceCheck,
    outcome: Final,
    *,
    execution: ExecutionPart | None = None,
    verification: VerificationPart | None = None,
) -> DecisionRecord:
    """The record of one decision and what became of it."""
    return DecisionRecord(
        timestamp=timestamp(decision.at_ms),
        agent_id=agent_id,
        target=str(decision.target),
        blueprint=decision.blueprint,
        decision=DecisionPart(
            id=decision.id,
            type=decision.kind,
            current_state=decision.now,
            target_state=decision.then,
            rationale=decision.rationale,
            blueprint_references=decision.references,
            reasons=decision.reasons,
            contributions=decision.contributions,
            score_ppm=decision.score_ppm,
            confidence_percent=decision.confidence_percent,
            governance_check=governance,
        ),
        outcome=outcome,
        execution=execution,
        verification=verification,
    )


def timestamp(at_ms: int) -> str:
    """`2026-02-10T15:30:00.000Z`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def encode_record(record: DecisionRecord) -> bytes:
    """One line, canonical (RFC 8785), without its line end: the same record has the same bytes."""
    return canonical(record)


def read_records(path: Path) -> Iterator[DecisionRecord]:
    """The records of a log file, in order. Raises SkillsError `decision_log_unreadable` with file and line."""
    with path.open("rb") as lines:
        for number in range(1, 1 << 62):
            line = lines.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise _unreadable(path, number, f"longer than {MAX_LINE_BYTES} bytes")
            if not line.endswith(b"\n"):
                raise _unreadable(path, number, "cut off: no line end")
            try:
                yield _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise _unreadable(path, number, str(error)) from error


def _unreadable(path: Path, number: int, why: str) -> SkillsError:
    return SkillsError("decision_log_unreadable", f"{path}:{number}: {why}", "Restore the log from the audit log")
