"""Retention: what is purged was recorded and is noted first, so that a check stays clean; nothing else may go."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from interlock.agents.audit.log import purge
from interlock.agents.audit.log.check import read_log
from interlock.agents.audit.log.purge import due_letters, note_purge, purge_letters
from interlock.agents.audit.log.recorder import Recorder
from interlock.agents.errors import UserError
from interlock.bus.errors import NotFound, Refused
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.objects import purge_objects
from interlock.bus.streams import declarations
from interlock.envelope.amounts import clock_ms
from interlock.envelope.subjects import workspace_subject
from tests.agents.audit.test_log import checked, fill, recorded, recording, verdict

pytestmark = pytest.mark.anyio


def recorder(house: Any) -> Recorder:
    return Recorder(house.transport, house.workspace, house.keys.agents["auditor"], observe=verdict)


async def test_what_is_purged_is_noted_and_the_check_stays_clean(quiet_house: Any) -> None:
    house = quiet_house
    await fill(house, 3)
    cut_ms = (await house.messages("DEAD", "dead", ">"))[-1].stored_ms + 1
    with anyio.fail_after(5):
        while clock_ms() <= cut_ms:
            await anyio.sleep(0.001)
    await fill(house, 2, start=3)
    async with recording(house):
        await recorded(house, 20)
        due = await due_letters(house.transport, house.workspace, cut_ms)
        assert due.letters == 3
        await note_purge(recorder(house), due, "auditor")
        found = await checked(house)
        assert (found.findings, found.compared["DEAD"]) == ([], 5)  # noted, and nothing is gone yet
        assert await purge_letters(house.transport, house.workspace, due) == 3
        assert await purge_letters(house.transport, house.workspace, due) == 0
        found = await checked(house)
        assert (found.findings, found.compared["DEAD"], found.records) == ([], 2, 21)
        await fill(house, 1, start=5)  # the recorder that runs goes on behind the note
        await recorded(house, 25)
    found = await checked(house)
    assert (found.findings, found.pending) == ([], {})
    notes = [record.note for record in (await read_log(house.transport, house.workspace)).records if record.note]
    assert notes == [{"event": "purged", "stream": "DEAD", "before": str(due.before), "by": "auditor"}]
    stored = (await read_log(house.transport, house.workspace)).records
    assert sum(record.stream == "DEAD" for record in stored) == 6  # the digests of what went are still there


async def test_what_goes_without_a_note_or_beyond_it_is_missing(quiet_house: Any) -> None:
    house = quiet_house
    await fill(house, 3)
    async with recording(house):
        await recorded(house, 12)
    letters = await house.messages("DEAD", "dead", ">")
    due = purge.Due(letters[1].sequence, 1)
    await note_purge(recorder(house), due, "auditor")
    await house.transport.purge("DEAD", workspace_subject(house.workspace, "dead", ">"), letters[2].sequence)
    found = await checked(house)
    assert [(finding.kind, finding.sequence) for finding in found.findings] == [("missing", letters[1].sequence)]


async def test_what_the_log_has_not_recorded_is_not_purged(quiet_house: Any, monkeypatch: Any) -> None:
    house = quiet_house
    monkeypatch.setattr(purge, "PAUSE_S", 0.001)
    await fill(house, 2)
    due = await due_letters(house.transport, house.workspace, clock_ms() + 1_000)
    with pytest.raises(UserError) as caught:
        await note_purge(recorder(house), due, "auditor")
    assert caught.value.reason == "not_recorded"
    assert (await read_log(house.transport, house.workspace)).chain.size == 0


async def test_nothing_is_due_where_nothing_is_old(quiet_house: Any) -> None:
    house = quiet_house
    assert (await due_letters(house.transport, house.workspace, clock_ms())).letters == 0
    await fill(house, 1)
    assert (await due_letters(house.transport, house.workspace, clock_ms() - 60_000)).letters == 0


@pytest.mark.parametrize("stream", ["HOPS", "JOURNAL", "LEDGER", "AUDIT"])
async def test_evidence_that_denies_purges_stays(quiet_house: Any, stream: str) -> None:
    with pytest.raises(Refused):
        await quiet_house.transport.purge(stream, workspace_subject(quiet_house.workspace, ">"), 1 << 40)


@pytest.mark.nats
async def test_signature_logs_go_by_name_and_age(nats_server: Any) -> None:
    async with JetStreamTransport.connect(nats_server.url, name="purge") as transport:
        await transport.declare(declarations(("purging",)))
        names = ("signatures-purging-a.json", "signatures-purging-b.json", "signatures-other-a.json")
        for name in names:
            await transport.put_object("bundles", name, name.encode() * 20_000)
        begins = "signatures-purging-"
        assert await purge_objects(transport, "bundles", begins, clock_ms() - 60_000, reader=transport) == 0
        for expected in (2, 0):
            assert await purge_objects(transport, "bundles", begins, clock_ms() + 1_000, reader=transport) == expected
        left = [info.name for info in await transport.list_objects("bundles")]
        assert names[2] in left
        assert not {names[0], names[1]} & set(left)
        assert await transport.get_object("bundles", names[2]) == names[2].encode() * 20_000
        with pytest.raises(NotFound):
            await transport.get_object("bundles", names[0])
        await transport.put_object("bundles", names[0], b"again")  # the same name may be used again
        assert await transport.get_object("bundles", names[0]) == b"again"
