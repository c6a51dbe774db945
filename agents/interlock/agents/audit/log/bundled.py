"""What a bundle carries of the audit log: the records of its goal, each proven in the log of one checkpoint (AUD-02). Pure.

Proofs share most of their hashes, so the section has one table of them and each record's path is a list of places in it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.audit.check import Check
from interlock.agents.audit.log.check import auditors
from interlock.agents.audit.log.records import ChainBroken, Record, parse
from interlock.agents.audit.log.sources import origin_of
from interlock.agents.errors import UserError
from interlock.bus.streams import HOPS, JOURNAL
from interlock.envelope.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from interlock.envelope.merkle import Tree, is_included, leaf_hash
from interlock.envelope.trust import Trust

NAME = "log"
ABSENT = "no checkpoint of the audit log covered this goal when the bundle was made"
COVERED = (HOPS.name, JOURNAL.name)


class LoggedRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """line: the record as the log has it. path: of its inclusion proof (RFC 9162), as places in the table."""

    line: str
    path: list[int]


class LogSection(Struct, frozen=True, forbid_unknown_fields=True):
    """checkpoint: the signed note; size: of the log it speaks of; hashes: base64, 32 bytes each."""

    checkpoint: str
    size: int
    hashes: list[str]
    records: list[LoggedRecord]


def make_section(
    note: str, checkpoint: Checkpoint, lines: Sequence[bytes], records: Mapping[int, Record]
) -> LogSection:
    """lines: the log's, as many as the checkpoint speaks of; records: those to prove, by number. Pure. Raises UserError
    if the lines are not those that were signed.
    """
    tree = Tree(leaf_hash(line) for line in lines)
    if tree.size != checkpoint.size or tree.root() != checkpoint.root:
        raise log_broken(f"its {tree.size} records are not the {checkpoint.size} that were signed")
    places: dict[bytes, int] = {}
    proven = [
        LoggedRecord(
            lines[number].decode(),
            [places.setdefault(step, len(places)) for step in tree.inclusion_proof(number, tree.size)],
        )
        for number in sorted(records)
    ]
    return LogSection(note, checkpoint.size, [base64.b64encode(step).decode() for step in places], proven)


def check_section(
    section: Any,
    *,
    workspace: str,
    goal_id: str,
    trust: Trust,
    messages: Mapping[str, Sequence[tuple[int, str, str]]],
    last_sequence: int,
    checks: list[Check],
) -> bool:
    """Adds the check `log`. messages: by stream, (sequence, subject, SHA-256) of what the bundle holds; last_sequence: of
    the goal's completion, up to which every hop must be recorded. Answers whether the log proves them; a bundle without
    a log is told, and proves less. Raises ValueError, and what msgspec raises, for a section that is none.
    """
    if section is None:
        checks.append(Check(NAME, True, ABSENT))
        return False
    logged = msgspec.convert(section, LogSection)
    try:
        problem = _problem(logged, workspace, goal_id, trust, messages, last_sequence)
    except (CheckpointError, ChainBroken) as error:
        problem = str(error)
    told = f"{len(logged.records)} records proven in the log of {logged.size}, as they are here"
    checks.append(Check(NAME, not problem, problem or told))
    return not problem


def _problem(
    logged: LogSection,
    workspace: str,
    goal_id: str,
    trust: Trust,
    messages: Mapping[str, Sequence[tuple[int, str, str]]],
    last_sequence: int,
) -> str:
    """Empty, or the first thing that does not fit."""
    checkpoint = open_checkpoint(logged.checkpoint.encode(), auditors(trust), origin_of(workspace))
    if checkpoint.size != logged.size:
        return f"the checkpoint speaks of {checkpoint.size} records, the section of {logged.size}"
    try:
        hashes = [base64.b64decode(one, validate=True) for one in logged.hashes]
    except binascii.Error as error:
        return f"a hash is not base64: {error}"
    recorded: dict[tuple[str, int], Record] = {}
    before = -1
    for entry in logged.records:
        record = parse(entry.line.encode(), before + 1)
        if record.number <= before:
            return f"record {record.number} comes after record {before}"
        before = record.number
        if not all(0 <= place < len(hashes) for place in entry.path):
            return f"record {record.number}: its path leaves the table of hashes"
        path = [hashes[place] for place in entry.path]
        if not is_included(leaf_hash(entry.line.encode()), record.number, checkpoint.size, checkpoint.root, path):
            return f"record {record.number} is not in the log of {checkpoint.size} records"
        if record.kind != "stored" or goal_id not in record.subject.split("."):
            return f"record {record.number} is not about this goal"
        if (record.stream, record.sequence) in recorded:
            return f"{record.stream} {record.sequence} is recorded twice"
        recorded[record.stream, record.sequence] = record
    return _differing(recorded, messages, last_sequence)


def _differing(
    recorded: dict[tuple[str, int], Record], messages: Mapping[str, Sequence[tuple[int, str, str]]], last_sequence: int
) -> str:
    """Records against messages, both ways."""
    left = dict(recorded)
    for stream, entries in messages.items():
        newest = max((sequence for name, sequence in recorded if name == stream), default=0)
        until = max(newest, last_sequence) if stream == HOPS.name else newest
        for sequence, subject, digest in entries:
            record = left.pop((stream, sequence), None)
            if record is None:
                if sequence <= until:
                    return f"{stream} {sequence} was never recorded"
            elif (record.digest, record.subject) != (digest, subject[:512]):
                return f"{stream} {sequence} is not what was recorded (record {record.number})"
    gone = next(iter(left), None)
    return "" if gone is None else f"{gone[0]} {gone[1]} was recorded (record {left[gone].number}), but is not here"


def of_goal(lines: Sequence[bytes], goal_id: str) -> dict[int, Record]:
    """Records of the goal's hops and journal, by number. Raises UserError for a line that is no record."""
    found: dict[int, Record] = {}
    for number, line in enumerate(lines):
        if goal_id.encode() not in line:
            continue
        try:
            record = parse(line, number)
        except ChainBroken as error:
            raise log_broken(str(error)) from error
        if record.kind == "stored" and record.stream in COVERED and goal_id in record.subject.split("."):
            found[number] = record
    return found


def log_broken(detail: str) -> UserError:
    """What whoever makes the bundle is told."""
    return UserError("log_broken", f"the audit log: {detail}", "`interlock audit check` says what is wrong", 2)
