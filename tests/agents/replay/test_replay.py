"""Replay names the first hop on which then and now part, whatever was changed: the code or the recording."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.agents.evaluation.review import ReviewRules
from interlock.agents.goal import dispatch
from interlock.agents.goal.decide import Decider
from interlock.agents.goal.gates import Gates
from interlock.agents.replay.code import Code, chain_at, load_code
from interlock.agents.replay.decide import replay
from interlock.agents.replay.live import Grants, replay_live
from interlock.agents.replay.recording import Recording, RecordingError, Refused, from_bundle, from_stream
from interlock.agents.replay.sandbox import SEQUENCE, is_prefix, republish, sandbox_subject
from interlock.bus.clock import ManualClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.transport import Message
from interlock.envelope.payloads import ArtefactRef
from interlock.skills.runner import RunnerSettings
from scripts.record_history import INTO, WORKSPACE
from tests.agents.conftest import CONFIG, HERE

pytestmark = pytest.mark.anyio
SKILLS = HERE / "skills"


@pytest.fixture(scope="module")
def code() -> Code:
    return load_code(CONFIG, skills=(SKILLS,), playbooks=(), workspace=WORKSPACE, environment="development")


def recorded(name: str = "released") -> Recording:
    return from_bundle((INTO / f"{name}.json.gz").read_bytes())


def payload_of(hop: Message) -> str:
    kind: str = msgspec.json.decode(hop.data)["payload"]["type"]
    return kind


def sequence_of(recording: Recording, kind: str) -> int:
    return next(hop.sequence for hop in recording.hops if payload_of(hop) == kind)


async def test_a_goal_from_the_stream_is_decided_the_same_again(house: Any, code: Code) -> None:
    status = await house.run(house.goal([{"id": f"t{n}", "skill": "doing-nothing"} for n in range(3)]))
    await house.audited(status.goal_id)
    parts = house.parts("orchestrator")
    recording = await from_stream(
        house.transport,
        house.workspace,
        status.goal_id,
        seals=parts.seals,
        chain=house.keys.chain,
        limits=parts.limits,
        ended=True,
    )
    report = replay(recording, code)
    assert report.first is None
    assert (report.hops, report.equal) == (17, report.decisions)


def laxer(code: Code) -> Code:
    """Today's code fails every goal at G0."""
    gates = code.evaluation.rules.gates
    broken = [
        replace(gate, criteria=[replace(gate.criteria[0], equals=False)]) if gate.id == "G0" else gate
        for gate in gates.gates
    ]
    return replace(code, decider=Decider(Gates(broken)))


def skill_less(code: Code) -> Code:
    return replace(code, evaluation=replace(code.evaluation, facts_of=lambda _name: None))


def suspicious(code: Code) -> Code:
    rules = code.evaluation.rules
    gates = Gates([replace(gate, name="Other") if gate.id == "G1" else gate for gate in rules.gates.gates])
    return replace(code, evaluation=replace(code.evaluation, rules=ReviewRules(gates, rules.risk, rules.checker)))


@pytest.mark.parametrize(
    ("change", "kind", "payload", "path"),
    [
        (laxer, "child", "verification", "$.payload.gates"),
        (skill_less, "verification", "task_result", "$.confidenceScore"),
        (suspicious, "review", "plan_draft", "$.payload.gates[0].name"),
    ],
)
def test_changed_code_is_found_at_the_first_hop_it_decides_otherwise(
    code: Code, change: Callable[[Code], Code], kind: str, payload: str, path: str
) -> None:
    recording = recorded()
    report = replay(recording, change(code))
    first = report.first
    assert first is not None
    assert (first.kind, first.path[: len(path)]) == (kind, path)
    assert report.equal < report.decisions
    assert first.recorded != first.now
    assert first.sequence in [hop.sequence for hop in recording.hops if payload_of(hop) == payload]


def test_another_share_of_the_budget_is_found(code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    real = dispatch.start
    monkeypatch.setattr(
        dispatch,
        "start",
        lambda state, task, spec, at_ms: real(state, task, replace(spec, confidence=spec.confidence // 2), at_ms),
    )
    recording = recorded()
    first = replay(recording, code).first
    assert first is not None
    assert (first.kind, first.sequence) == ("child", sequence_of(recording, "plan_verdict"))
    assert first.path == "$.confidenceScore"


def without(kind: str, recording: Recording) -> Recording:
    gone = next(hop for hop in recording.hops if payload_of(hop) == kind)
    return replace(recording, hops=[hop for hop in recording.hops if hop is not gone])


@pytest.mark.parametrize("kind", ["task", "verification", "completion", "audit_request", "plan_verdict"])
def test_a_hop_that_is_gone_is_missed(code: Code, kind: str) -> None:
    assert replay(without(kind, recorded()), code).first is not None


@pytest.mark.parametrize("index", [0, 1, 2, 3, -1])
def test_a_journal_record_that_is_gone_is_missed(code: Code, index: int) -> None:
    recording = recorded()
    journal = [record for record in recording.journal if record is not recording.journal[index]]
    report = replay(replace(recording, journal=journal), code)
    assert report.first is not None


def test_a_refusal_that_was_recorded_must_be_given_again(code: Code) -> None:
    recording = recorded()
    sequence = sequence_of(recording, "task")
    at_ms = recording.hops[0].stored_ms
    letters = {("executor", sequence): Refused("bad_signature", "", at_ms)}
    first = replay(replace(recording, refused=letters), code).first
    assert first is not None
    assert (first.kind, first.sequence, first.recorded, first.now) == ("gate", sequence, "bad_signature", "ok")
    behind = {("executor", sequence): Refused("rate_limited", "", at_ms)}
    assert replay(replace(recording, refused=behind), code).first is None


def test_a_hop_that_would_be_refused_today_is_told(code: Code) -> None:
    recording = recorded()
    hops = [
        replace(hop, stored_ms=hop.stored_ms + 10**8) if payload_of(hop) == "knowledge_request" else hop
        for hop in recording.hops
    ]
    first = replay(replace(recording, hops=hops), code).first
    assert first is not None
    assert (first.kind, first.recorded, str(first.now).partition(":")[0]) == ("gate", "ok", "expired")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_byte_of_a_hop_or_record_never_goes_unnoticed_or_raises(code: Code, data: st.DataObject) -> None:
    recording = recorded("failed")
    index = data.draw(st.integers(0, len(recording.hops) - 1))
    hop = recording.hops[index]
    if hop.subject.split(".")[3] == "human":
        return  # nothing follows from what is sent to people
    place = data.draw(st.integers(0, len(hop.data) - 1))
    changed = hop.data[:place] + bytes([hop.data[place] ^ 1]) + hop.data[place + 1 :]
    hops = [*recording.hops[:index], replace(hop, data=changed), *recording.hops[index + 1 :]]
    assert replay(replace(recording, hops=hops), code).first is not None


@pytest.mark.parametrize("journal", [[b"{}"], [b"\xff"], [b"[" * 2000], [b'{"event":"began"}']])
def test_journals_that_cannot_be_read_are_divergences(code: Code, journal: list[bytes]) -> None:
    first = replay(replace(recorded(), journal=journal), code).first
    assert first is not None
    assert first.kind == "event"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"workspace":"', b'"workspace":"a b'),
        (b'"origin":{"id":"01', b'"origin":{"id":"x-'),
        (b'"goal_id":"', b'"goal_id":"*'),
    ],
)
def test_a_journal_from_which_nothing_can_follow_is_a_divergence(code: Code, old: bytes, new: bytes) -> None:
    recording = recorded()
    journal = [record.replace(old, new) for record in recording.journal]
    assert journal != recording.journal
    assert replay(replace(recording, journal=journal), code).first is not None


@pytest.mark.parametrize("collects", [True, False])
def test_a_replay_leaves_no_cycles_behind_and_the_collector_as_it_was(code: Code, collects: bool) -> None:
    recording, before = recorded(), gc.isenabled()
    replay(recording, code)
    try:
        gc.collect()
        gc.enable() if collects else gc.disable()
        replay(recording, code)
        assert gc.isenabled() is collects
        assert gc.collect() < 5 * len(recording.hops), "what was decoded is gone already"
    finally:
        gc.enable() if before else gc.disable()


def test_a_contract_counts_from_when_it_was_issued() -> None:
    chain = recorded().chain
    assert chain is not None
    assert chain_at(chain, 0).versions == chain.versions[:1]


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"{}", b"x" * 400])
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(RecordingError) as refused:
        from_bundle(data)
    assert refused.value.reason == "bad_bundle"


def test_a_bundle_under_other_roots_is_refused() -> None:
    with pytest.raises(RecordingError):
        from_bundle((INTO / "released.json.gz").read_bytes(), ["OA" + "A" * 54])


async def nothing_there(_ref: ArtefactRef) -> Path | None:
    return None


async def test_live_runs_the_skills_again_and_scores_them(code: Code) -> None:
    report = await replay_live(
        recorded("fan-out"), code.catalogue.registry, RunnerSettings(), Grants((), CONFIG), nothing_there
    )
    assert (report.run, report.equal, report.per_mille, report.ok) == (25, 25, 1000, True)
    wrong = recorded("fan-out")
    hops = [
        replace(hop, data=hop.data.replace(b'"name 3"', b'"name X"')) if payload_of(hop) == "task_result" else hop
        for hop in wrong.hops
    ]
    report = await replay_live(
        replace(wrong, hops=hops), code.catalogue.registry, RunnerSettings(), Grants((), CONFIG), nothing_there
    )
    assert (report.run, report.equal, report.per_mille, report.ok) == (25, 23, 920, False)
    assert "name X" in report.differences[0].recorded


async def test_live_says_what_it_does_not_run_again(code: Code) -> None:
    report = await replay_live(
        recorded("retries"), code.catalogue.registry, RunnerSettings(), Grants((), CONFIG), nothing_there
    )
    assert report.run == 1
    assert set(report.not_run.values()) == {"recorded as crashed"}


async def test_hops_are_told_again_in_a_sandbox_at_either_pace() -> None:
    transport = MemoryTransport(ManualClock(0))
    heard: list[Message] = []

    async def hear(message: Message) -> None:
        heard.append(message)

    hops = recorded().hops
    async with transport.subscribe("interlock-replay.>", hear):
        for pace in ("full", "original"):
            heard.clear()
            assert await republish(transport, hops, "trial.one", pace) == len(hops)
            with anyio.fail_after(5):
                while len(heard) < len(hops):
                    await anyio.sleep(0)
            assert [message.data for message in heard] == [hop.data for hop in hops]
            assert [int(message.headers[SEQUENCE]) for message in heard] == [hop.sequence for hop in hops]
    assert heard[0].subject == f"interlock-replay.trial.one.{WORKSPACE}.role.orchestrator.{recorded().goal_id}.plan"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a", True),
        ("a.b", True),
        ("", False),
        ("a..b", False),
        ("*", False),
        (">", False),
        ("a b", False),
        ("a\n", False),
    ],
)
def test_prefixes_are_tokens(text: str, good: bool) -> None:
    assert is_prefix(text) is good
    if good:
        assert sandbox_subject(text, "interlock.w.role.x").startswith(f"interlock-replay.{text}.w.")


def with_policies(directory: Path, rego: str) -> Code:
    directory.mkdir()
    (directory / "own.rego").write_text(rego)
    return load_code(
        CONFIG, skills=(SKILLS,), playbooks=(), workspace=WORKSPACE, environment="development", policies=(directory,)
    )


STRICTER = """package interlock.workspace.house

import rego.v1

deny contains {"code": "not_here", "rule": "house", "message": "nothing is run", "instead": "nothing"} if {
	input.task.skill != ""
}
"""


def test_policies_that_would_refuse_what_they_let_through_are_the_first_divergence(tmp_path: Path) -> None:
    report = replay(recorded(), with_policies(tmp_path / "own", STRICTER))
    assert report.first is not None
    assert (report.first.kind, report.first.recorded) == ("policy", "allow")
    assert report.first.sequence == sequence_of(recorded(), "task")
    assert "not_here" in report.first.now
    assert {found.kind for found in report.divergences} == {"policy"}


def test_what_was_refused_by_policies_and_would_go_now_is_a_divergence(code: Code) -> None:
    recording = recorded()
    sequence = sequence_of(recording, "task")
    refused = {("executor", sequence): Refused("policy_denied", "deny: once", hop_at(recording, sequence).stored_ms)}
    report = replay(replace(recording, refused=refused), code)
    assert [(found.kind, found.sequence, found.recorded, found.now) for found in report.divergences] == [
        ("policy", sequence, "policy_denied", "allow")
    ]


@pytest.mark.parametrize("reason", ["rate_limited", "gate_failed", "max_deliveries"])
def test_of_what_was_refused_for_another_reason_it_is_not_known_whether_policies_were_asked(
    reason: str, tmp_path: Path
) -> None:
    recording = recorded()
    sequence = sequence_of(recording, "task")
    refused = {("executor", sequence): Refused(reason, "", hop_at(recording, sequence).stored_ms)}
    report = replay(replace(recording, refused=refused), with_policies(tmp_path / "own", STRICTER))
    assert sequence not in [found.sequence for found in report.divergences]


def hop_at(recording: Recording, sequence: int) -> Message:
    return next(hop for hop in recording.hops if hop.sequence == sequence)
