"""What an hour of each service shows: SC-003 autonomy, SC-005 auditability, SC-007 independence."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from interlock.agents.scoring.hour import looks
from interlock.agents.scoring.model import Score, Subject, share
from interlock.skills.infrastructure.blueprint.format import entries
from interlock.skills.infrastructure.decision.record import (
    DecisionRecord,
    GovernanceCheck,
    encode_record,
    read_records,
    record_of,
)
from interlock.skills.infrastructure.operations import Scale, operation_name
from interlock.skills.infrastructure.simulation.simulate import Step


def autonomy(subjects: Sequence[Subject]) -> Score:
    """SC-003: every scaling operation within the limits was carried out without anybody being asked."""
    within = [step for subject in subjects for step in subject.steps if _scales_within(subject, step)]
    done = [step for step in within if step.fate == "done"]
    outside = sum(
        isinstance(step.decision.operation, Scale) and not _scales_within(subject, step)
        for subject in subjects
        for step in subject.steps
    )
    waited = sorted({step.decision.blueprint.name for step in within if step.fate != "done"})
    return Score(
        criterion="SC-003",
        title="Autonomous scaling",
        target="100 % of scaling within the limits needs no human",
        met=len(done) == len(within) > 0 and outside == 0,
        measured=share(len(done), len(within)),
        evidence=(
            f"scaling operations of {_counted(subjects)} in an hour of changing load each, nobody there to approve",
            f"{outside} outside min_replicas and max_replicas",
            *(f"{name}: scale_within_limits is not allowed by its blueprint" for name in waited),
        ),
    )


def _scales_within(subject: Subject, step: Step) -> bool:
    operation = step.decision.operation
    return (
        isinstance(operation, Scale)
        and operation_name(operation, subject.blueprint.scaling, step.state) == "scale_within_limits"
    )


def auditability(subjects: Sequence[Subject]) -> Score:
    """SC-005: every decision, through the log and back, names its blueprint's version and rules that the format has."""
    places = {entry.path for entry in entries()}
    kept = list(_through_the_log(subjects))
    good = [record for record in kept if _is_traceable(record, subjects, places)]
    made = sum(len(subject.steps) for subject in subjects)
    return Score(
        criterion="SC-005",
        title="Decision auditability",
        target="100 % of decisions logged with version and rule",
        met=len(good) == made > 0,
        measured=share(len(good), made),
        evidence=(
            "decisions written to a log and read again that name blueprint, version, digest and places of the format",
            f"{sum(len(record.decision.blueprint_references) for record in good)} references",
        ),
    )


def _through_the_log(subjects: Sequence[Subject]) -> Sequence[DecisionRecord]:
    with tempfile.TemporaryDirectory(prefix="interlock-score-") as directory:
        log = Path(directory) / "decisions.jsonl"
        with log.open("wb") as file:
            for step in chain.from_iterable(subject.steps for subject in subjects):
                file.write(encode_record(_record(step)) + b"\n")
        return list(read_records(log))


def _record(step: Step) -> DecisionRecord:
    check = GovernanceCheck(operation="", status="not_needed", rule="")
    return record_of(step.decision, "score", check, "shadow" if step.decision.operation is not None else "held")


def _is_traceable(record: DecisionRecord, subjects: Sequence[Subject], places: set[str]) -> bool:
    known = {(s.blueprint.name, s.blueprint.version, s.blueprint.digest) for s in subjects}
    blueprint, references = record.blueprint, record.decision.blueprint_references
    return (
        (blueprint.name, blueprint.version, blueprint.digest) in known
        and bool(references)
        and all(reference.partition("[")[0] in places for reference in references)
    )


def independence(subjects: Sequence[Subject]) -> Score:
    """SC-007: the same decisions alone and all together, look by look, and never about another's object."""
    together = [looks(s.blueprint, s.policies) for s in subjects]
    mixed: dict[str, list[str]] = {subject.blueprint.name: [] for subject in subjects}
    foreign = 0
    for round_ in zip_longest(*together):
        for subject, step in zip(subjects, round_, strict=True):
            if step is None:
                continue
            mixed[subject.blueprint.name].append(step.decision.id)
            operation = step.decision.operation
            foreign += operation is not None and operation.target != subject.blueprint.unread_target
    same = sum([step.decision.id for step in subject.steps] == mixed[subject.blueprint.name] for subject in subjects)
    return Score(
        criterion="SC-007",
        title="Multi-service management",
        target="services with blueprints of their own do not interfere",
        met=same == len(subjects) > 1 and foreign == 0,
        measured=share(same, len(subjects)),
        evidence=(
            "services whose every decision was the same alone and beside the others",
            f"{foreign} operations aimed at another's object",
            *(("one service cannot be in anybody's way: score a directory with two",) if len(subjects) < 2 else ()),
        ),
    )


def _counted(subjects: Sequence[Subject]) -> str:
    return f"{len(subjects)} service" + ("s" if len(subjects) != 1 else "")
