"""A witness by webhook: a server that really listens and judges as docs/security.md says a witness does."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from interlock.agents.audit.log.check import auditors, check_log
from interlock.agents.audit.log.recorder import Recorder
from interlock.agents.audit.log.sources import checkpoint_subject, origin_of
from interlock.agents.audit.log.witness import Witness, WitnessSettings
from interlock.agents.deviations.fold import Detection
from interlock.agents.wiring import running
from interlock.bus.backoff import Backoff
from interlock.bus.clock import ManualClock, SystemClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.tasks import background
from interlock.envelope.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint, sign_note
from interlock.envelope.keys import SigningKey
from interlock.envelope.merkle import leaf_hash
from tests.agents.approvals.test_notify import Receiver
from tests.agents.audit.test_log import QUICK, fill, recorded, verdict

pytestmark = pytest.mark.anyio
SOON = WitnessSettings(retry=Backoff(first_ms=10, cap_ms=20), timeout_s=2.0, farewell_s=2.0)


class Keeper(Receiver):
    """Keeps the largest checkpoint, and answers 409 to what does not follow it."""

    def __init__(self) -> None:
        super().__init__(200)
        self.held: tuple[int, str] = (0, "")

    def status_of(self, body: bytes) -> int:
        _, size, root, *_ = body.decode().split("\n")
        told = int(size), root
        if told[0] < self.held[0] or (told[0] == self.held[0] and told != self.held):
            return 409
        self.held = told
        return 200


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    made: list[Receiver] = []
    yield made
    for receiver in made:
        receiver.stop()


class Found(list[Detection]):
    async def __call__(self, detection: Detection | None) -> None:
        assert detection is not None
        self.append(detection)


def witness_at(house: Any, receiver: Receiver, found: Found | None = None) -> Witness:
    found = found if found is not None else Found()
    return Witness(receiver.hook, house.transport, house.workspace, house.keys, found, SOON)


async def tell(house: Any, witness: Witness, size: int, key: SigningKey | None = None) -> int:
    """As a recorder does: stored, then told. Its sequence."""
    checkpoint = Checkpoint(origin_of(house.workspace), size, leaf_hash(b"%d" % size))
    key = key or house.keys.agents["auditor"]
    note = sign_checkpoint(checkpoint, key, key.key_id).encode()
    sequence: int = (await house.transport.publish(checkpoint_subject(house.workspace), note)).sequence
    witness.told(checkpoint, note, sequence)
    return sequence


def sizes(receiver: Receiver) -> list[int]:
    return [int(body.split(b"\n")[1]) for _, body in receiver.got]


async def until(condition: Any) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        await anyio.sleep(0.005)


@asynccontextmanager
async def witnessed(house: Any, witness: Witness, memory: Path | None = None) -> AsyncIterator[None]:
    key = house.keys.agents["auditor"]
    recorder = Recorder(
        house.transport,
        house.workspace,
        key,
        observe=verdict,
        memory=memory,
        told=witness.told,
        settings=QUICK,
    )
    async with witness.running(), background() as group:
        group.start_soon(recorder.run)
        yield


async def test_each_checkpoint_is_posted_signed_and_in_order(quiet_house: Any, receivers: list[Receiver]) -> None:
    house = quiet_house
    receivers.append(Keeper())
    witness = witness_at(quiet_house, receivers[0])
    async with witnessed(house, witness):
        for start in range(3):
            await fill(house, 1, start=start)
            await recorded(house, 4 * (start + 1))
        await until(lambda: witness.behind_ms == 0 and sizes(receivers[0])[-1:] == [12])
    told = sizes(receivers[0])
    assert told == sorted(told)
    last = receivers[0].got[-1][1]
    known = open_checkpoint(last, auditors(house.keys.trust), origin_of(house.workspace))
    assert receivers[0].got[-1][0]["Content-Type"].startswith("text/plain")
    assert (await check_log(house.transport, house.workspace, house.keys.trust, known=known)).ok


async def test_what_the_witness_holds_with_its_own_signature_shows_a_log_cut_short(
    quiet_house: Any, receivers: list[Receiver]
) -> None:
    house = quiet_house
    receivers.append(Keeper())
    async with witnessed(house, witness_at(quiet_house, receivers[0])):
        await fill(house, 2)
        await recorded(house, 8)
        await until(lambda: sizes(receivers[0])[-1:] == [8])
    text, signed = receivers[0].got[-1][1].decode().split("\n\n")
    own = sign_note(text + "\n", SigningKey.generate(), "witness.example").split("\n\n")[1]
    held = f"{text}\n\n{signed}{own}".encode()
    known = open_checkpoint(held, auditors(house.keys.trust), origin_of(house.workspace))
    empty = MemoryTransport(SystemClock())
    await empty.declare(declarations((house.workspace,)))
    verdict_of_cut = await check_log(empty, house.workspace, house.keys.trust, known=known)
    assert [finding.kind for finding in verdict_of_cut.findings] == ["truncated"]


async def test_what_a_witness_that_was_away_missed_is_covered_by_the_newest(
    quiet_house: Any, receivers: list[Receiver]
) -> None:
    receivers.append(Receiver(503))
    house, clock = quiet_house, ManualClock()
    house.transport = MemoryTransport(clock)
    await house.transport.declare(declarations((house.workspace,)))
    witness = witness_at(house, receivers[0])
    async with witness.running():
        await tell(quiet_house, witness, 1)
        await until(lambda: len(receivers[0].got) >= 2)
        clock.advance(400_000)
        await tell(quiet_house, witness, 7)
        await until(lambda: sizes(receivers[0])[-1] == 7)
        assert witness.behind_ms == 400_000, "since the oldest that it lacks"
        receivers[0].statuses = [200]
        await until(lambda: witness.behind_ms == 0)
        tried = len(receivers[0].got)
        await tell(quiet_house, witness, 9)
        await until(lambda: sizes(receivers[0])[tried:] == [9])
    assert sizes(receivers[0])[-1] == 9


@pytest.mark.parametrize("status", [404, 401, 302, 400])
async def test_no_answer_makes_it_give_up(quiet_house: Any, receivers: list[Receiver], status: int) -> None:
    receivers.append(Receiver(status, 200))
    found = Found()
    witness = witness_at(quiet_house, receivers[0], found)
    async with witness.running():
        await tell(quiet_house, witness, 3)
        await until(lambda: witness.behind_ms == 0 and len(receivers[0].got) == 2)
    assert found == []


async def test_an_auditor_that_ends_tries_its_last_checkpoint_once_more(
    quiet_house: Any, receivers: list[Receiver]
) -> None:
    receivers.append(Receiver(200))
    witness = witness_at(quiet_house, receivers[0])
    async with witness.running():
        await anyio.sleep(0)
        await tell(quiet_house, witness, 5)
    assert sizes(receivers[0])[-1] == 5
    assert witness.behind_ms == 0


async def test_after_a_restart_the_witness_is_told_what_it_missed(
    quiet_house: Any, receivers: list[Receiver], tmp_path: Path
) -> None:
    house = quiet_house
    receivers.append(Receiver(503))
    async with witnessed(house, witness_at(quiet_house, receivers[0]), tmp_path / "checkpoint"):
        await fill(house, 1)
        await recorded(house, 4)
    receivers.append(Keeper())
    async with witnessed(house, witness_at(quiet_house, receivers[1]), tmp_path / "checkpoint"):
        await until(lambda: sizes(receivers[1]) == [4])


async def test_of_two_auditors_the_slower_contradicts_nobody(quiet_house: Any, receivers: list[Receiver]) -> None:
    receivers.append(Keeper())
    found = Found()
    fast, slow = (witness_at(quiet_house, receivers[0], found) for _ in range(2))
    async with fast.running(), slow.running():
        await tell(quiet_house, fast, 100)
        await until(lambda: sizes(receivers[0]) == [100])
        await tell(quiet_house, slow, 98)
        await until(lambda: slow.behind_ms == 0 and sizes(receivers[0]) == [100, 98])
        await tell(quiet_house, slow, 100)
        await until(lambda: slow.behind_ms == 0 and sizes(receivers[0])[-1] == 100)
    assert found == []


async def test_a_contradiction_is_a_deviation_that_halts_nothing(quiet_house: Any, receivers: list[Receiver]) -> None:
    """The log was cut to 40 records; a larger checkpoint that nobody trusted signed hides nothing."""
    house = quiet_house
    keeper = Keeper()
    keeper.held = (100, "AAAA")
    receivers.append(keeper)
    found = Found()
    witness = witness_at(house, receivers[0], found)
    async with witness.running():
        forger = witness_at(house, receivers[0])
        await tell(house, forger, 200, SigningKey.generate())
        sequence = await tell(house, witness, 40)
        await until(lambda: bool(found))
        assert witness.behind_ms >= 0 and sizes(receivers[0])[0] == 40
    first = found[0]
    assert (first.kind, first.about, first.halts) == ("compliance_failure", "witness", "")
    assert first.evidence == f"AUDIT:{sequence}"
    assert "40 records" in first.detail


async def test_goals_do_not_wait_for_a_witness_and_its_silence_is_in_the_log(
    quiet_house: Any, receivers: list[Receiver], caplog: pytest.LogCaptureFixture
) -> None:
    house = quiet_house
    receivers.append(Receiver(500))
    caplog.set_level(logging.WARNING, "interlock.witness")
    async with running("auditor", house.parts("auditor", witness=receivers[0].hook)):
        await fill(house, 1)
        await recorded(house, 4)
        await until(lambda: bool(receivers[0].got))
    assert any("answered 500" in message for message in caplog.messages)
