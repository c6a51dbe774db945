"""Dead letters put back: the goal goes on where it was, once; everything else is refused with its reason."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.audit.bundle import assemble, make_bundle
from interlock.agents.audit.hop_graph import audit_hops
from interlock.agents.audit.packing import unpacked
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.dead.letters import Entry, read_letters
from interlock.agents.dead.redrive import Redriver
from interlock.agents.errors import UserError
from interlock.agents.kms import open_signer
from interlock.agents.replay.code import load_code
from interlock.agents.replay.decide import replay
from interlock.agents.replay.recording import from_bundle
from interlock.agents.wiring import running
from interlock.bus.deadletters import bury
from interlock.bus.redriving import REDRIVE
from interlock.bus.sender import Identity
from interlock.bus.streams import DEAD, HOPS, inbox_of
from interlock.bus.transport import MESSAGE_ID, Incoming, Message
from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import SigningKey
from interlock.envelope.redrive import order_text, sign_redrive
from interlock.envelope.verification import Limits
from tests.agents.conftest import CONFIG, HERE, ROLES, InProcess

pytestmark = pytest.mark.anyio
TASKS = [{"id": "a", "skill": "doing-nothing"}]


@asynccontextmanager
async def all_but(house: InProcess, *roles: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for role in ROLES:
            if role not in roles:
                await stack.enter_async_context(running(role, house.parts(role)))
        yield


async def given_up(house: InProcess, role: str, intent: str, *, reason: str = "max_deliveries") -> Message:
    """The first message of the role's inbox with this intent ends as a dead letter that nobody was told of."""
    ended: list[Message] = []

    async def end(incoming: Incoming) -> None:
        message = incoming.message
        now_ms = house.transport.clock.now_ms()
        await bury(
            house.transport, house.workspace, role, HOPS.name, message, reason=reason, detail="poison", now_ms=now_ms
        )
        await incoming.terminate(reason)
        ended.append(message)

    async with house.transport.consume(inbox_of(house.workspace, role), end, concurrency=1):
        with anyio.fail_after(10):
            while not ended:
                await anyio.sleep(0.005)
    assert ended[0].subject.endswith(f".{intent}")
    return ended[0]


def redriver(house: InProcess, agent: str = "human", limits: Limits | None = None, **more: Any) -> Redriver:
    identity = Identity(agent, house.keys.agents[agent])
    return Redriver(house.transport, house.workspace, identity, house.keys.trust, limits or Limits(), **more)


async def letters(house: InProcess) -> list[Entry]:
    return await read_letters(house.transport, house.workspace, house.keys.trust)


async def refused(house: InProcess, entry: Entry, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        await redriver(house, **more).put_back(entry)
    assert caught.value.exit_code == 2
    assert f"dead letter {entry.id}" in str(caught.value)
    return caught.value.reason


async def test_a_hop_that_was_put_back_carries_its_goal_to_its_end(quiet_house: InProcess, tmp_path: Any) -> None:
    house = quiet_house
    async with all_but(house, "executor"):
        goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
        act = await given_up(house, "executor", "act")
        async with running("executor", house.parts("executor")):
            (entry,) = await letters(house)
            put = await redriver(house, why="the skill is mended").put_back(entry)
            status = await house.ended(goal_id)
            assert status.outcome == "released", status.grounds
            audited = await house.audited(goal_id)
        assert (audited.hops, audited.refused) == (audited.verified, [])
        (again,) = await letters(house)
        assert again.order == put.order
        assert (put.order.by, put.order.why, put.order.sequence) == ("human", "the skill is mended", act.sequence)
        assert await refused(house, again) == "already_redriven"
        assert await redriver(house).put_back(entry) == put  # whoever read the list before learns how it stands
    acts = await house.messages(HOPS.name, "role", "executor", goal_id, "act")
    assert [message.data for message in acts] == [act.data] * 2
    assert str(acts[1].sequence) == put.became
    results = await house.messages(HOPS.name, "role", "evaluator", goal_id, "observe")
    assert len(results) == 1
    await bundles(house, goal_id, tmp_path)


async def bundles(house: InProcess, goal_id: str, tmp_path: Any) -> None:
    """With the copy a bundle is valid; with an order that is not for it, it is a copy that nobody vouches for."""
    seed = tmp_path / "auditor.nk"
    seed.write_text(house.keys.agents["auditor"].seed_text())
    path = await make_bundle(
        house.transport,
        house.workspace,
        goal_id,
        trust=house.keys.signed,
        roots=[house.keys.root.key_id],
        contract=[version.data for version in house.keys.chain.versions],
        key_uri=f"file:{seed}",
        out=tmp_path / "bundle.json.gz",
    )
    verdict = verify_bundle(path.read_bytes(), [house.keys.root.key_id])
    assert verdict.valid, [check for check in verdict.checks if not check.ok]
    code = load_code(
        CONFIG, skills=(HERE / "skills",), playbooks=(), workspace=house.workspace, environment="development"
    )
    replayed = replay(from_bundle(path.read_bytes(), [house.keys.root.key_id]), code)
    assert replayed.first is None, "a copy that was put back is let in again"
    sections = msgspec.json.decode(unpacked(path.read_bytes()))["sections"]
    copy = next(hop for hop in sections["hops"] if "redrive" in hop)
    copy["redrive"] = copy["redrive"][:-8] + "AAAAAAAA"
    forged = assemble(sections, open_signer(f"file:{seed}"), timestamp(house.transport.clock.now_ms()))
    told = {check.name: check for check in verify_bundle(forged, [house.keys.root.key_id]).checks}
    assert "1 refused" in told["hops"].detail
    assert not told["signature log"].ok


async def test_a_copy_of_the_copy_is_refused_and_does_nothing(quiet_house: InProcess) -> None:
    house = quiet_house
    async with all_but(house, "executor"):
        goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
        await given_up(house, "executor", "act")
        (entry,) = await letters(house)
        put = await redriver(house).put_back(entry)
        copy = await house.transport.get(HOPS.name, int(put.became))
        assert copy is not None
        headers = dict(copy.headers)
        name = headers.pop(MESSAGE_ID)
        assert (await house.transport.publish(copy.subject, copy.data, message_id=name, headers=headers)).duplicate
        for number, more in enumerate(({}, {REDRIVE: "AAAA"}, {REDRIVE: ""})):
            await house.transport.publish(copy.subject, copy.data, message_id=f"other-{number}", headers=headers | more)
        async with running("executor", house.parts("executor")):
            assert (await house.ended(goal_id)).outcome == "released"
            await house.until(DEAD.name, 3, "dead", "executor", "replayed")
        audited = await house.audited(goal_id)
        assert len(audited.refused) in range(4)  # those that were stored before it ended
        assert {refusal.reason for refusal in audited.refused} <= {"replayed"}
    assert len(await house.messages(HOPS.name, "role", "evaluator", goal_id, "observe")) == 1
    hops = await house.messages(HOPS.name, "role", "*", goal_id, ">")
    assert audit_hops(hops, house.keys.trust).broken_inside == []


async def test_what_dies_again_may_be_put_back_again_by_its_newer_letter(quiet_house: InProcess) -> None:
    house = quiet_house
    async with all_but(house, "executor"):
        goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
        await given_up(house, "executor", "act")
        (first,) = await letters(house)
        one = await redriver(house).put_back(first)
        await given_up(house, "executor", "act")
        older, newer = await letters(house)
        assert await refused(house, older) == "already_redriven"
        two = await redriver(house).put_back(newer)
        assert (one.order.number, two.order.number) == (1, 2)
        async with running("executor", house.parts("executor")):
            assert (await house.ended(goal_id)).outcome == "released"


async def test_a_crash_before_the_note_is_made_up_for(quiet_house: InProcess) -> None:
    """The copy is there, the letter is not marked: putting it back marks it, and adds no second copy."""
    house = quiet_house
    async with all_but(house, "executor"):
        goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
        await given_up(house, "executor", "act")
        (entry,) = await letters(house)
        assert entry.letter is not None
        begun = await redriver(house)._hop(entry, entry.letter.sequence)
        (entry,) = await letters(house)
        assert entry.order is None
        assert await redriver(house).put_back(entry) == begun
        assert len(await house.messages(HOPS.name, "role", "executor", goal_id, "act")) == 2
        assert (await letters(house))[0].order == begun.order


async def test_a_goal_is_handed_in_again(quiet_house: InProcess) -> None:
    house = quiet_house
    async with all_but(house, "gateway"):
        subject = f"interlock.{house.workspace}.goal.submit"
        await house.transport.send(subject, msgspec.json.encode(house.goal(TASKS)))
        (stored,) = await house.until("GOALS", 1, "goal", "submit")
        await bury(
            house.transport, house.workspace, "gateway", "GOALS", stored, reason="max_deliveries", detail="", now_ms=1
        )
        await house.transport.publish(f"interlock.{house.workspace}.dead.gateway.invalid_intake", b"{")
        bad = msgspec.structs.replace(stored, data=b"{}", sequence=2)
        await bury(
            house.transport, house.workspace, "gateway", "GOALS", bad, reason="invalid_intake", detail="", now_ms=1
        )
        cut = msgspec.structs.replace(stored, sequence=0)
        await bury(
            house.transport, house.workspace, "gateway", "GOALS", cut, reason="invalid_intake", detail="", now_ms=1
        )
        forged = msgspec.structs.replace(stored, sequence=9)
        await bury(house.transport, house.workspace, "executor", "GOALS", forged, reason="x", detail="", now_ms=1)
        async with running("gateway", house.parts("gateway")):
            good, garbage, bad_goal, incomplete, planted = await letters(house)
            put = await redriver(house).put_back(good)
            assert (await house.ended(put.became)).outcome == "released"
            assert await refused(house, garbage) == "unreadable"
            assert await refused(house, bad_goal) == "invalid_goal"
            assert await refused(house, incomplete) == "incomplete"
            assert await refused(house, planted) == "not_redrivable"
    assert [entry.became for entry in await letters(house)] == [put.became, "", "", "", ""]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": b"other"}, "not_as_stored"),
        ({"sequence": 1}, "not_as_stored"),
        ({"sequence": 1 << 40}, "not_as_stored"),
    ],
)
async def test_a_letter_that_lies_is_not_believed(quiet_house: InProcess, change: dict[str, Any], reason: str) -> None:
    house = quiet_house
    async with all_but(house, "executor"):
        await house.submit(house.goal(TASKS))
        act = await given_up(house, "executor", "act")
        lie = msgspec.structs.replace(act, **change)
        await bury(house.transport, house.workspace, "evaluator", HOPS.name, lie, reason="x", detail="", now_ms=1)
        assert await refused(house, (await letters(house))[-1]) == reason


async def test_what_cannot_help_is_refused_with_its_reason(quiet_house: InProcess) -> None:
    house = quiet_house
    async with all_but(house, "executor"):
        goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
        await given_up(house, "executor", "act")
        (entry,) = await letters(house)
        assert await refused(house, entry, limits=Limits(max_ttl_ms=1)) == "not_redrivable"
        copy = (await house.messages(HOPS.name, "role", "executor", goal_id, "act"))[0]
        stranger = await house.transport.publish(copy.subject, copy.data, message_id="stranger")
        planted = await house.transport.get(HOPS.name, stranger.sequence)
        assert planted is not None
        await bury(house.transport, house.workspace, "executor", HOPS.name, planted, reason="x", detail="", now_ms=1)
        assert await refused(house, (await letters(house))[-1]) == "not_redrivable"
        put = await redriver(house).put_back(entry)
        async with running("executor", house.parts("executor")):
            await house.ended(goal_id)
        assert put.became
        again = await house.transport.get(HOPS.name, int(put.became))
        assert again is not None
        await bury(house.transport, house.workspace, "executor", HOPS.name, again, reason="x", detail="", now_ms=1)
        assert await refused(house, (await letters(house))[-1]) == "goal_ended"


async def test_what_was_answered_after_all_is_not_put_back(quiet_house: InProcess) -> None:
    """The executor lived to answer before its hop was given up: the goal has heard of it."""
    house = quiet_house
    async with all_but(house, "evaluator"):
        await house.submit(house.goal(TASKS))
        await given_up(house, "evaluator", "plan")
        await redriver(house).put_back((await letters(house))[0])
        async with running("evaluator", house.parts("evaluator")):
            (act,) = await house.until(HOPS.name, 1, "role", "executor", "*", "act")
        await house.until(HOPS.name, 1, "role", "evaluator", "*", "observe")
        await bury(house.transport, house.workspace, "executor", HOPS.name, act, reason="x", detail="", now_ms=1)
        assert await refused(house, (await letters(house))[-1]) == "answered"


async def test_only_who_may_puts_back(quiet_house: InProcess) -> None:
    for agent in ("executor", "orchestrator", "auditor", "gateway"):
        with pytest.raises(UserError) as caught:
            redriver(quiet_house, agent)
        assert (caught.value.reason, caught.value.exit_code) == ("not_allowed", 2)
    stranger = Identity("human", SigningKey.generate())
    with pytest.raises(UserError):
        Redriver(quiet_house.transport, quiet_house.workspace, stranger, quiet_house.keys.trust, Limits())


@pytest.mark.parametrize("bad", [b"", b"\xff", b"null", b"[]", b'{"role":"x"}', b"{" * 5_000, b"\x1b[2J"])
async def test_garbage_is_listed_as_that(quiet_house: InProcess, bad: bytes) -> None:
    house = quiet_house
    for tokens in ("dead.executor.expired", "dead.human.redriven", "dead.x", "dead.a.b.c"):
        await house.transport.publish(f"interlock.{house.workspace}.{tokens}", bad)
    entries = await letters(house)
    assert [(entry.role, entry.reason, entry.letter) for entry in entries] == [
        ("executor", "expired", None),
        ("x", "", None),
        ("a", "b.c", None),
    ]


@pytest.mark.parametrize("data", ["%%%", "YQ", "\x00", "ü"])
async def test_a_letter_whose_bytes_are_no_base64_is_unreadable(quiet_house: InProcess, data: str) -> None:
    house = quiet_house
    stored = Message("s", b"x", sequence=random.getrandbits(50))  # letters of all workspaces share their ids
    letter = await bury(
        house.transport, house.workspace, "executor", HOPS.name, stored, reason="x", detail="", now_ms=1
    )
    bad = msgspec.json.encode(msgspec.structs.replace(letter, data=data))
    await house.transport.publish(f"interlock.{house.workspace}.dead.executor.x", bad)
    assert [entry.letter is None for entry in await letters(house)] == [False, True]


async def test_a_note_that_nobody_may_have_written_marks_nothing(quiet_house: InProcess) -> None:
    house = quiet_house
    async with all_but(house, "executor"):
        await house.submit(house.goal(TASKS))
        await given_up(house, "executor", "act")
        (entry,) = await letters(house)
        assert entry.letter is not None
        order = sign_redrive(
            house.keys.agents["executor"],
            workspace=house.workspace,
            stream=HOPS.name,
            sequence=entry.letter.sequence,
            digest=sha256_hex(entry.original),
            number=1,
            why="",
            by="executor",
            at_ms=house.transport.clock.now_ms(),
        )
        for text in (order_text(order), "", "AAAA"):
            note = {"letter": entry.id, "order": text, "became": "1"}
            subject = f"interlock.{house.workspace}.dead.human.redriven"
            await house.transport.publish(subject, msgspec.json.encode(note))
        assert await letters(house) == [entry]
