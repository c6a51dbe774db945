"""The decision log: the shape of seed 001, integers only, one canonical line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.envelope.canonical import check_plain
from interlock.skills.errors import SkillsError
from interlock.skills.infrastructure.decision.decide import decide
from interlock.skills.infrastructure.decision.record import (
    MAX_LINE_BYTES,
    DecisionRecord,
    ExecutionPart,
    GovernanceCheck,
    VerificationPart,
    encode_record,
    read_records,
    record_of,
)
from tests.skills.infrastructure.decision.services import NOW, blueprint, state, watched, weights

ALLOWED = GovernanceCheck(
    operation="scale_within_limits", status="allowed", rule="spec.governance.agent_authority.allowed_operations"
)


def record() -> DecisionRecord:
    like = blueprint(
        metrics=weights(cpu=50, memory=30, latency=20), performance={"latency_p95_us": 200_000}, target_replicas=2
    )
    decision = decide(like, state(2, 85, 75, metrics={"latency_p95_us": 220_000}), watched(like), NOW)
    assert decision.operation is not None
    return record_of(
        decision,
        "executor.1",
        ALLOWED,
        "success",
        execution=ExecutionPart(operation=decision.operation, status="success", duration_ms=2300),
        verification=VerificationPart(
            wait_ms=60_000,
            post_operation_state={"replicas": 3, "latency_p95_us": 180_000},
            targets_met=True,
            rationale="latency p95 is 180 ms of at most 200 ms",
        ),
    )


def test_the_shape_of_the_seed() -> None:
    line = json.loads(encode_record(record()))
    check_plain(line)
    assert line["timestamp"] == "1970-01-01T02:46:40.000Z"
    assert set(line) == {
        "timestamp",
        "agent_id",
        "target",
        "blueprint",
        "decision",
        "execution",
        "verification",
        "outcome",
    }
    decision = line["decision"]
    assert decision["type"] == "scale_up"
    assert decision["current_state"]["latency_p95_us"] == 220_000
    assert decision["target_state"] == {"replicas": 3}
    assert decision["governance_check"]["status"] == "allowed"
    assert "spec.performance.latency_p95" in decision["blueprint_references"]
    assert "Latency p95 is 220 ms, above the target 200 ms (spec.performance.latency_p95)." in decision["rationale"]
    assert line["execution"]["operation"]["operation"] == "scale"


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    log = tmp_path / "2026-02-10.jsonl"
    log.write_bytes((encode_record(record()) + b"\n") * 3)
    assert list(read_records(log)) == [record()] * 3


@pytest.mark.parametrize(
    ("tail", "line", "why"),
    [
        (b"{}\n", 2, "missing required field"),
        (b"not json\n", 2, "malformed"),
        (b"{", 2, "cut off"),
        (b"[" * (MAX_LINE_BYTES + 1), 2, "longer than"),
        (b"\xff\n", 2, ""),
        (b"\n", 2, ""),
    ],
)
def test_a_damaged_log_says_where(tmp_path: Path, tail: bytes, line: int, why: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(encode_record(record()) + b"\n" + tail)
    with pytest.raises(SkillsError) as raised:
        list(read_records(log))
    assert raised.value.reason == "decision_log_unreadable"
    assert f"{log}:{line}: " in raised.value.detail
    assert why in raised.value.detail


def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(encode_record(record()).replace(b'"agent_id"', b'"agent_ids"') + b"\n")
    with pytest.raises(SkillsError):
        list(read_records(log))
