"""Recorded goals through today's code: a change that would decide otherwise for running goals is noticed here.

If it is meant to: `python -m scripts.record_history`, and say so in the changelog.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.replay.code import Code, load_code
from interlock.agents.replay.decide import replay
from interlock.agents.replay.recording import from_bundle
from scripts.record_history import HISTORIES, INTO, WORKSPACE, fixed_key
from tests.agents.conftest import CONFIG, HERE


@pytest.fixture(scope="module")
def code() -> Code:
    return load_code(CONFIG, skills=(HERE / "skills",), playbooks=(), workspace=WORKSPACE, environment="development")


def history(name: str) -> bytes:
    return (INTO / f"{name}.json.gz").read_bytes()


def test_every_history_is_recorded() -> None:
    assert {path.name for path in INTO.iterdir()} == {f"{name}.json.gz" for name in HISTORIES}


@pytest.mark.parametrize("name", list(HISTORIES))
def test_what_was_decided_then_is_decided_now(name: str, code: Code) -> None:
    report = replay(from_bundle(history(name)), code)
    assert report.first is None
    assert report.equal == report.decisions >= 3
    assert report.unanswered == 0


@pytest.mark.parametrize("name", list(HISTORIES))
def test_bundles_of_then_verify_now(name: str) -> None:
    root = fixed_key("root", "O").key_id
    verdict = verify_bundle(history(name), [root])
    assert verdict.valid, [check for check in verdict.checks if not check.ok]


def test_the_histories_hold_what_they_are_named_after() -> None:
    recordings = {name: from_bundle(history(name)) for name in HISTORIES}
    wires = {name: b"".join(hop.data for hop in found.hops) for name, found in recordings.items()}
    assert wires["fan-out"].count(b'"type":"verification"') == 25
    assert b'"attempt":3' in wires["retries"]
    assert b'"type":"approval_request"' in wires["approved"]
    assert b'"outcome":"released"' in wires["approved"]
    assert b'"outcome":"blocked"' in wires["rejected"]
    assert b'"code":"oversight_missing"' in wires["unseen"]
    assert any(b'"event":"withheld"' in record for record in recordings["policy-asked"].journal)
    assert b'"operation":"task.run"' in wires["policy-asked"]
    assert Path(INTO / "released.json.gz").stat().st_size < 100_000
