"""The audit log over both transports: all is recorded once and in order, and nothing leaves a stream unseen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.agents.audit.log.check import auditors, check_log, last_checkpoint, read_log
from interlock.agents.audit.log.memory import CheckpointMemory
from interlock.agents.audit.log.recorder import LogBroken, Recorder, RecorderSettings
from interlock.agents.audit.log.sources import checkpoint_subject, log_subject, origin_of
from interlock.bus.clock import SystemClock
from interlock.bus.kv import kv_put
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.transport import Message, PubAck
from interlock.envelope.checkpoint import open_checkpoint
from interlock.envelope.subjects import workspace_subject
from tests.agents.conftest import InProcess, Keys

pytestmark = pytest.mark.anyio
QUICK = RecorderSettings(window_ms=5, checkpoint_ms=1, standby_ms=5, pause_ms=5)
STREAMS = ("HOPS", "JOURNAL", "LEDGER", "DEAD")
KINDS = {"HOPS": "role", "JOURNAL": "journal", "LEDGER": "ledger", "DEAD": "dead"}


async def verdict(message: Message) -> str:
    return f"seen{message.sequence}"


@asynccontextmanager
async def recording(
    house: Any, memory: Path | None = None, observe: Any = verdict, settings: RecorderSettings = QUICK
) -> AsyncIterator[Recorder]:
    recorder = Recorder(
        house.transport,
        house.workspace,
        house.keys.agents["auditor"],
        observe=observe,
        memory=memory,
        settings=settings,
    )
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def fill(house: Any, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        for stream in STREAMS:
            subject = workspace_subject(house.workspace, KINDS[stream], "x", str(number))
            await house.transport.publish(subject, b"%d" % number)


async def checked(house: Any) -> Any:
    return await check_log(house.transport, house.workspace, house.keys.trust)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline_s = time.monotonic() + 15
    while not await condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        await anyio.sleep(0.01)


async def recorded(house: Any, count: int) -> None:
    async def all_there() -> bool:
        stored = await read_log(house.transport, house.workspace)
        note = await last_checkpoint(house.transport, house.workspace)
        return stored.chain.size == count and note is not None and f"\n{count}\n".encode() in note

    await until(all_there)


async def test_every_message_is_recorded_once_with_its_verdict(quiet_house: Any) -> None:
    house = quiet_house
    await fill(house, 3)
    async with recording(house):
        await recorded(house, 12)
        await fill(house, 2, start=3)
        await kv_put(house.transport, "control", f"{house.workspace}.x", b"order")
        await kv_put(house.transport, "control", "another.x", b"not ours")
        await recorded(house, 21)
    stored = await read_log(house.transport, house.workspace)
    hops = [record for record in stored.records if record.stream == "HOPS"]
    assert [record.verdict for record in hops] == [f"seen{record.sequence}" for record in hops]
    assert [record.stream for record in stored.records if record.stream not in STREAMS] == ["KV_control"]
    found = await checked(house)
    assert (found.findings, found.pending, found.records) == ([], {}, 21)
    assert sum(found.compared.values()) == 21


async def test_it_goes_on_where_it_was_after_a_restart(quiet_house: Any, tmp_path: Path) -> None:
    house = quiet_house
    for round_number in range(3):
        await fill(house, 2, start=2 * round_number)
        async with recording(house, tmp_path / "checkpoint"):
            await recorded(house, 8 * (round_number + 1))
    assert (await checked(house)).ok


async def test_two_recorders_write_one_log(quiet_house: Any) -> None:
    house = quiet_house
    async with recording(house), recording(house):
        for start in range(0, 20, 4):
            await fill(house, 4, start=start)
        await recorded(house, 80)
    found = await checked(house)
    assert found.ok
    assert found.records == 80


async def test_what_is_not_recorded_yet_is_no_finding(quiet_house: Any) -> None:
    house = quiet_house
    await fill(house, 1)
    async with recording(house):
        await recorded(house, 4)
    await fill(house, 2, start=1)
    found = await checked(house)
    assert found.ok
    assert found.pending == dict.fromkeys(STREAMS, 2)


async def test_an_observer_that_fails_does_not_stop_the_log(quiet_house: Any) -> None:
    from interlock.bus.errors import Unavailable

    async def failing(message: Message) -> str:
        raise Unavailable("away")

    house = quiet_house
    await fill(house, 1)
    async with recording(house, observe=failing):
        await recorded(house, 4)
    stored = await read_log(house.transport, house.workspace)
    assert [record.verdict for record in stored.records if record.stream == "HOPS"] == ["not_judged"]


@pytest.mark.parametrize("change", [(b"\n4\n", b"\n5\n"), (b"interlock/", b"another/"), (b"\n\n", b"\n")])
async def test_a_remembered_checkpoint_that_is_not_its_own_counts_for_nothing(
    quiet_house: Any, tmp_path: Path, change: tuple[bytes, bytes]
) -> None:
    house, memory = quiet_house, tmp_path / "checkpoint"
    await fill(house, 1)
    async with recording(house, memory):
        await recorded(house, 4)
    key_id, origin = house.keys.agents["auditor"].key_id, origin_of(house.workspace)
    known = CheckpointMemory(memory, origin).load(key_id)
    assert known is not None
    assert known.size == 4
    memory.write_bytes(memory.read_bytes().replace(*change))
    assert CheckpointMemory(memory, origin).load(key_id) is None


@pytest.mark.parametrize(("size", "reason"), [(9, "truncated"), (3, "forked")])
async def test_what_was_signed_once_binds_the_recorder(
    quiet_house: Any, tmp_path: Path, size: int, reason: str
) -> None:
    from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint

    house, memory = quiet_house, tmp_path / "checkpoint"
    await fill(house, 1)
    async with recording(house):
        await recorded(house, 4)
    key = house.keys.agents["auditor"]
    memory.write_text(sign_checkpoint(Checkpoint(origin_of(house.workspace), size, bytes(32)), key, key.key_id))
    recorder = Recorder(house.transport, house.workspace, key, observe=verdict, memory=memory, settings=QUICK)
    with pytest.raises(LogBroken) as refused:
        await recorder.run()
    assert refused.value.reason == reason
    known = open_checkpoint(memory.read_bytes(), {key.key_id: key.key_id}, origin_of(house.workspace))
    found = await check_log(house.transport, house.workspace, house.keys.trust, known=known)
    assert [finding.kind for finding in found.findings] == [reason]


async def test_a_log_that_does_not_follow_is_found_and_not_continued(quiet_house: Any) -> None:
    house = quiet_house
    await fill(house, 1)
    async with recording(house):
        await recorded(house, 4)
    await house.transport.publish(log_subject(house.workspace), b'{"number":7}')
    await house.transport.publish(checkpoint_subject(house.workspace), b"no checkpoint")
    found = await checked(house)
    assert sorted(finding.kind for finding in found.findings) == ["bad_checkpoint", "malformed"]
    with pytest.raises(LogBroken, match="malformed"):
        await Recorder(
            house.transport, house.workspace, house.keys.agents["auditor"], observe=verdict, settings=QUICK
        ).run()


async def test_a_stream_that_is_gone_is_a_finding_and_the_rest_is_checked(quiet_house: Any) -> None:
    async with recording(quiet_house):
        await fill(quiet_house, 2)
        await recorded(quiet_house, 8)

    class Without:
        lag_ms = 0

        def __init__(self, stream: str) -> None:
            self._stream = stream

        def read(self, stream: str, subjects: Any, **more: Any) -> Any:
            return quiet_house.transport.read("GONE" if stream == self._stream else stream, subjects, **more)

    for stream in ("JOURNAL", "AUDIT"):
        found = await check_log(Without(stream), quiet_house.workspace, quiet_house.keys.trust)  # type: ignore[arg-type]  # it reads only
        assert {finding.stream for finding in found.findings if finding.kind == "no_stream"} == {stream}
        assert found.compared["HOPS"] == (2 if stream == "JOURNAL" else 0)


class Hanging(MemoryTransport):
    """A connection on which the answer to the first write of the log is not heard in time."""

    hung: anyio.Event

    async def publish(self, subject: str, data: bytes, **more: Any) -> PubAck:
        ack = await super().publish(subject, data, **more)
        if subject.endswith("audit.log") and not self.hung.is_set():
            self.hung.set()
            await anyio.sleep_forever()
        return ack


async def test_who_is_ended_in_the_middle_of_a_write_signs_what_it_wrote(tmp_path: Path) -> None:
    """A checkpoint at the end covers the whole log, also when the recorder did not hear that its write was stored."""
    transport = Hanging(SystemClock())
    transport.hung = anyio.Event()
    house = InProcess(transport, "w", Keys("w"), tmp_path)
    await transport.declare(declarations(("w",)))
    await fill(house, 5)
    patient = RecorderSettings(window_ms=50, checkpoint_ms=60_000, standby_ms=60_000, pause_ms=60_000)
    async with recording(house, settings=patient):
        with anyio.fail_after(5):
            await transport.hung.wait()
    found = await checked(house)
    assert found.ok
    note = await last_checkpoint(transport, "w")
    assert note is not None
    signed = open_checkpoint(note, auditors(house.keys.trust), origin_of("w"))
    assert (signed.size, found.pending) == (found.records, {})
    assert found.records >= 20
