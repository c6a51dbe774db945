"""Names of people: pseudonyms are the same while the salt lives, and nobody's once it is dropped."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.audit.log.check import read_log
from interlock.agents.audit.log.purge import FORGOTTEN, noted
from interlock.agents.intake.persons import BUCKET, Person, Persons, is_pseudonym
from interlock.agents.wiring import running
from interlock.bus.clock import ManualClock
from interlock.bus.kv import kv_put
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import DAY_MS, declarations
from interlock.envelope.amounts import clock_ms
from interlock.envelope.ids import new_id
from tests.agents.audit.test_log import checked, recording
from tests.agents.audit.test_purge import recorder
from tests.agents.conftest import InProcess

pytestmark = pytest.mark.anyio
TASKS = [{"id": "a", "skill": "doing-nothing"}]


@pytest.fixture
async def transport() -> MemoryTransport:
    transport = MemoryTransport(ManualClock(1_763_700_000_000))
    await transport.declare(declarations(("w", "v")))
    return transport


async def test_a_pseudonym_is_one_persons_and_one_workspaces(transport: MemoryTransport) -> None:
    persons = Persons(transport, "w")
    ada, bob = await persons.pseudonym("Ada Lovelace"), await persons.pseudonym("Bob")
    assert await Persons(transport, "w").pseudonym("Ada Lovelace") == ada
    assert len({ada, bob, await Persons(transport, "v").pseudonym("Ada Lovelace")}) == 3
    assert is_pseudonym(ada)
    assert await persons.pseudonym(ada) == ada, "what was recorded may be handed in again"
    (known,) = [person for person, _ in await persons.all() if person.name == "Bob"]
    assert bob == "person-" + hmac.new(bytes.fromhex(known.salt), b"Bob", hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize("name", ["person-", "person-ada", "person-" + "A" * 32, "x", "person-" + "a" * 33, "ä" * 200])
async def test_what_only_looks_like_one_is_a_name(transport: MemoryTransport, name: str) -> None:
    assert not is_pseudonym(name)
    assert is_pseudonym(await Persons(transport, "w").pseudonym(name))


async def test_many_gateways_at_once_agree(transport: MemoryTransport) -> None:
    found: list[str] = []

    async def ask() -> None:
        found.append(await Persons(transport, "w").pseudonym("Ada"))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    assert len(set(found)) == 1


async def test_the_last_use_is_noted_by_the_day_and_the_salt_stays(transport: MemoryTransport) -> None:
    clock, persons = transport.clock, Persons(transport, "w")
    assert isinstance(clock, ManualClock)
    first = await persons.pseudonym("Ada")
    ((before, revision),) = await persons.all()
    clock.advance(DAY_MS // 2)
    assert await persons.pseudonym("Ada") == first
    assert await persons.all() == [(before, revision)]
    clock.advance(DAY_MS)
    assert await persons.pseudonym("Ada") == first
    ((after, _),) = await persons.all()
    assert (after.salt, after.used_ms) == (before.salt, clock.now_ms())


async def test_what_is_no_person_in_the_bucket_is_made_good(transport: MemoryTransport) -> None:
    persons = Persons(transport, "w")
    await kv_put(transport, BUCKET, persons._key("Ada"), b"junk")
    pseudonym = await persons.pseudonym("Ada")
    assert [person.pseudonym for person, _ in await persons.all()] == [pseudonym]


async def test_no_name_enters_a_stream_that_is_kept(quiet_house: InProcess) -> None:
    house = quiet_house
    goal = house.goal(TASKS, stakeholders=[{"name": "Ada Lovelace", "role": "owner"}, "Bob"], submitted_by="Carol")
    goal_id = new_id(clock_ms())
    async with running("gateway", house.parts("gateway", pseudonyms=True)):
        assert (await house.submit(goal, goal_id))["goalId"] == goal_id
        (first,) = await house.messages("HOPS", "role", "orchestrator", goal_id, "plan")
        named = msgspec.json.decode(first.data)["payload"]
        assert [one["role"] for one in named["stakeholders"]] == ["owner", ""]
        assert all(
            is_pseudonym(name) for name in (*(one["name"] for one in named["stakeholders"]), named["submitted_by"])
        )
        assert not any(name in first.data for name in (b"Ada", b"Bob", b"Carol"))
        await house.past_dedupe()
        assert (await house.submit(goal, goal_id))["goalId"] == goal_id, "a repeat is the same goal"
    assert len(await house.messages("HOPS", "role", ">")) == 1


async def test_names_are_kept_unless_it_is_asked_for(quiet_house: InProcess) -> None:
    async with running("gateway", quiet_house.parts("gateway")):
        await quiet_house.submit(quiet_house.goal(TASKS, stakeholders=["Ada Lovelace"]))
    (first,) = await quiet_house.messages("HOPS", "role", ">")
    assert b"Ada Lovelace" in first.data


async def test_who_is_forgotten_is_nobody_and_the_log_says_so(quiet_house: Any, tmp_path: Path) -> None:
    house = quiet_house
    persons = Persons(house.transport, house.workspace)
    before, other = await persons.pseudonym("Ada"), await persons.pseudonym("Bob")
    (chosen,) = [(person, place) for person, place in await persons.all() if person.name == "Ada"]
    async with recording(house):
        await noted(recorder(house), {"event": FORGOTTEN, "person": before, "why": "asked for", "by": "auditor"})
        await persons.drop(*chosen, house.transport)
    assert [person.name for person, _ in await persons.all()] == ["Bob"]
    assert await persons.pseudonym("Bob") == other
    after = await persons.pseudonym("Ada")
    assert after != before, "a new salt: nothing links the person to the goals before"
    found = await checked(house)
    assert (found.findings, found.records) == ([], 1)
    (note,) = [record.note for record in (await read_log(house.transport, house.workspace)).records if record.note]
    assert note["person"] == before
    assert "Ada" not in str(note)


def test_a_person_is_no_more_than_its_fields() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"name":"a","salt":"00","usedMs":1,"more":1}', type=Person)
