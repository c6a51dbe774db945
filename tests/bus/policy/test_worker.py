"""The worker child: what it answers, and what becomes of it when it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import msgspec
import pytest

from interlock.bus.policy.bundle import PolicyBundle, load_bundle
from interlock.bus.policy.facts import Facts
from interlock.bus.policy.rego_source import Module
from interlock.bus.policy.service import PolicyService, policy_service
from interlock.bus.policy.worker import PolicyWorker, WorkerSettings
from interlock.envelope.verdict import Decision, Verdict
from tests.bus.policy.bundles import POLICIES, TASK, changed, of_main

pytestmark = [pytest.mark.process, pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")]

# Twenty-five million steps: longer than anybody waits.
LOOPS = """default allow := false

allow if input.hop.confidence == 1000

allow if {
	input.hop.confidence == 1
	every a in many {
		every b in many {
			a + b > 0
		}
	}
}

many := numbers.range(1, 5000)

grounds := {"denied": [], "asked": []}
"""
SLOW = msgspec.json.encode(changed("hop", confidence=1))
ORDINARY = msgspec.json.encode(TASK)
Made = Callable[..., PolicyWorker]


@pytest.fixture
def made() -> Iterator[Made]:
    workers: list[PolicyWorker] = []

    def make(bundle: PolicyBundle, **settings: int) -> PolicyWorker:
        workers.append(PolicyWorker(bundle.modules, WorkerSettings(**settings)))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_policy_that_loops_is_killed_and_denies_and_the_next_input_is_judged(made: Made, tmp_path: Path) -> None:
    worker = made(of_main(tmp_path, LOOPS), timeout_ms=400)
    assert worker.judge(ORDINARY).allowed
    first = worker.pid
    verdict = worker.judge(SLOW)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_timeout")
    assert first is not None and gone(first) and worker.pid is None
    assert worker.judge(ORDINARY).allowed
    assert (worker.pid != first, worker.starts) == (True, 2)


def test_a_worker_that_was_killed_denies_once_and_is_replaced(made: Made) -> None:
    worker = made(load_bundle(POLICIES))
    assert worker.judge(ORDINARY).allowed
    assert worker.pid is not None
    os.kill(worker.pid, 9)
    verdict = worker.judge(ORDINARY)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_unavailable")
    assert worker.judge(ORDINARY).allowed


def test_it_starts_when_first_asked_and_ends_when_closed(made: Made) -> None:
    worker = made(load_bundle(POLICIES))
    assert (worker.pid, worker.starts) == (None, 0)
    assert worker.start() is None
    pid = worker.pid
    assert pid is not None and worker.judge(ORDINARY).allowed and worker.starts == 1
    worker.close()
    assert gone(pid)


def test_it_inherits_no_secrets_and_may_write_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_TEST_SECRET", "hunter2")
    worker = made(load_bundle(POLICIES))
    assert worker.start() is None
    place = Path(f"/proc/{worker.pid}")
    assert "hunter2" not in (place / "environ").read_text()
    limits = {line[:26].strip(): line[26:].split()[0] for line in (place / "limits").read_text().splitlines()[1:]}
    assert (limits["Max file size"], limits["Max open files"], limits["Max core file size"]) == ("0", "0", "0")
    addresses = int((place / "statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    assert 0 < int(limits["Max address space"]) - addresses <= 1 << 30
    assert worker.judge(ORDINARY).allowed


def test_a_bundle_that_does_not_compile_denies_and_says_where(made: Made) -> None:
    broken = Module("policies/main.rego", "package interlock.main\n\nimport rego.v1\n\nallow if {\n")
    verdict = made(PolicyBundle((broken,), (), "")).judge(ORDINARY)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_unavailable")
    assert "policies/main.rego:5" in verdict.grounds[0].message


def test_what_makes_the_engine_abort_denies(made: Made) -> None:
    text = (
        "package interlock.main\n\nimport rego.v1\n\nlimits := {1: 2}\n\nok if limits[input.hop.confidence] == 2\n\n"
        "default allow := false\n\nallow if ok with input as {}\n\ngrounds := 1\n"
    )
    verdict = made(PolicyBundle((Module("policies/main.rego", text),), (), "")).judge(ORDINARY)
    assert (verdict.decision, verdict.grounds[0].code) == (Decision.DENY, "policy_unavailable")


def test_large_inputs_are_judged_by_the_same_child(made: Made) -> None:
    worker = made(load_bundle(POLICIES))
    for size in (60_000, 250_000, 1_000_000, 100):
        assert worker.judge(msgspec.json.encode(changed("hop", tags=["data:internal", "x" * size]))).allowed
    many = [f"tag-{number}" for number in range(5_000)]
    assert worker.judge(msgspec.json.encode(changed("hop", tags=["data:internal", *many]))).allowed
    assert worker.starts == 1


@pytest.mark.parametrize("data", [b"not json", b"", b'{"hop":'])
def test_what_is_no_json_is_denied(made: Made, data: bytes) -> None:
    worker = made(load_bundle(POLICIES))
    verdict = worker.judge(data)
    assert verdict.decision is Decision.DENY
    assert verdict.grounds[0].code in ("policy_error", "policy_unavailable")
    assert worker.judge(ORDINARY).allowed


@pytest.mark.anyio
async def test_the_event_loop_goes_on_while_a_policy_loops_and_is_killed(made: Made, tmp_path: Path) -> None:
    worker = made(of_main(tmp_path, LOOPS), timeout_ms=400)
    assert (await worker.judge_soon(ORDINARY)).allowed
    first, turns, verdicts = worker.pid, 0, []

    async def ask() -> None:
        verdicts.append(await worker.judge_soon(SLOW))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        while not verdicts:
            await anyio.sleep(0.01)
            turns += 1
    assert verdicts[0].grounds[0].code == "policy_timeout"
    assert turns > 5 and first is not None and gone(first)
    assert (await worker.judge_soon(ORDINARY)).allowed


@pytest.mark.anyio
async def test_an_answer_to_a_question_that_was_cancelled_is_nobody_elses(made: Made, tmp_path: Path) -> None:
    worker = made(of_main(tmp_path, LOOPS), timeout_ms=400)
    assert worker.start() is None
    for document in (ORDINARY, SLOW):
        async with anyio.create_task_group() as group:
            group.start_soon(worker.judge_soon, document)
            await anyio.sleep(0)
            group.cancel_scope.cancel()
    assert (await worker.judge_soon(msgspec.json.encode(changed("hop", confidence=7)))).decision is Decision.DENY
    assert (await worker.judge_soon(ORDINARY)).allowed


@pytest.mark.anyio
async def test_a_worker_that_was_killed_while_it_was_asked_denies_once(made: Made) -> None:
    worker = made(load_bundle(POLICIES))
    large = msgspec.json.encode(changed("hop", tags=["data:internal", "x" * 400_000]))
    assert (await worker.judge_soon(ORDINARY)).allowed
    assert (await worker.judge_soon(large)).allowed, "longer than the socket takes at once"
    assert worker.pid is not None
    os.kill(worker.pid, 9)
    assert (await worker.judge_soon(ORDINARY)).grounds[0].code == "policy_unavailable"
    assert (await worker.judge_soon(ORDINARY)).allowed


@pytest.mark.anyio
async def test_a_decision_is_remembered_by_its_input_and_a_timeout_is_not(tmp_path: Path) -> None:
    service = PolicyService(of_main(tmp_path, LOOPS), WorkerSettings(timeout_ms=300))
    task, slow = msgspec.convert(TASK, Facts), msgspec.convert(changed("hop", confidence=1), Facts)
    try:
        assert (await service.judge(task)).allowed
        service.close()
        assert (await service.judge(task)).allowed
        assert service.worker.starts == 1
        for starts in (2, 3):
            assert (await service.judge(slow)).grounds[0].code == "policy_timeout"
            assert service.worker.starts == starts
        assert service.judge_now(task).allowed
    finally:
        service.close()


@pytest.mark.anyio
async def test_hops_that_are_alike_are_judged_once(tmp_path: Path) -> None:
    service = PolicyService(of_main(tmp_path, LOOPS), WorkerSettings(timeout_ms=300))
    task, slow = msgspec.convert(TASK, Facts), msgspec.convert(changed("hop", confidence=1), Facts)
    judged: list[bytes] = []
    judge = service.worker.judge_soon

    async def counted(document: bytes) -> Verdict:
        judged.append(document)
        return await judge(document)

    service.worker.judge_soon = counted  # type: ignore[method-assign]  # a double
    verdicts: list[Verdict] = []

    async def ask(facts: Facts) -> None:
        verdicts.append(await service.judge(facts))

    try:
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(ask, task)
        assert (len(judged), [verdict.allowed for verdict in verdicts]) == (1, [True] * 50)
        verdicts.clear()
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(ask, slow)
        assert [verdict.grounds[0].code for verdict in verdicts] == ["policy_timeout"] * 2
        assert len(judged) == 3, "a timeout is nobody else's answer"
    finally:
        service.close()


def test_one_bundle_has_one_service() -> None:
    assert policy_service(POLICIES) is policy_service(POLICIES)
