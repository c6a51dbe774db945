"""The auditor over a broker in memory at an injected time: what it hears, answers, buries and writes down, and only once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.audit.auditor import MOST_HOPS, AuditorRole, MostHops, goal_messages, is_truncated
from interlock.agents.audit.log.check import check_log
from interlock.agents.audit.log.recorder import LogBroken, Recorder, RecorderSettings
from interlock.agents.status import AuditStatus, read_audit
from interlock.bus.actor import Actor
from interlock.bus.clock import ManualClock
from interlock.bus.deadletters import DeadLetter
from interlock.bus.gates import Receiver, receiving_gates
from interlock.bus.hop import DONE, Handler, Hop, Outcome
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.middleware import gates_stage, onion
from interlock.bus.sender import Identity, Sender
from interlock.bus.streams import declarations, inbox_of
from interlock.bus.tasks import background
from interlock.bus.transport import Message
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.payloads import AuditReport, Refusal
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.signing import Sealed, seal
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits, decode
from tests.agents.audit.histories import GOAL, KEYS, NOW, WORKSPACE, History, goal_history, make_trust

pytestmark = pytest.mark.anyio


class Holder:
    trust: Trust = make_trust()


class Place:
    """A broker at a standing time, and one auditor that may be started again."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.transport = MemoryTransport(self.clock)
        self.busy = 0

    most = MOST_HOPS

    def role(self) -> AuditorRole:
        limits = Limits()
        sender = Sender(self.transport, Identity("auditor", KEYS["auditor"]), limits)
        return AuditorRole(self.transport, WORKSPACE, sender, Holder(), limits, self.most)

    def handler(self, role: AuditorRole) -> Handler:
        receiver = Receiver("auditor", Holder(), Limits(), ReplayMemory())
        handle = onion([gates_stage(receiving_gates(receiver))], role.handle)

        async def counted(hop: Hop) -> Outcome:
            self.busy += 1
            try:
                return await handle(hop)
            finally:
                self.busy -= 1

        return counted

    @asynccontextmanager
    async def auditing(self) -> AsyncIterator[None]:
        role = self.role()
        actor = Actor(
            self.transport,
            workspace=WORKSPACE,
            role="auditor",
            consumer=inbox_of(WORKSPACE, "auditor"),
            handler=self.handler(role),
        )
        quick = RecorderSettings(window_ms=0, checkpoint_ms=1, pause_ms=1)
        recorder = Recorder(
            self.transport, WORKSPACE, KEYS["auditor"], observe=role.observe, hear=role.heard.keep, settings=quick
        )
        async with background() as group, actor.running():
            group.start_soon(recorder.run)
            yield
            with anyio.fail_after(10):
                while not await self.all_recorded() or self.busy:
                    await anyio.sleep(0.001)

    async def all_recorded(self) -> bool:
        await self.transport.settle()
        found = await check_log(self.transport, WORKSPACE, Holder.trust)
        assert found.ok, found.findings
        return not found.pending

    async def store(self, history: History, start: int = 0, end: int | None = None) -> None:
        for message, sealed in list(zip(history.messages, history.sealed, strict=True))[start:end]:
            self.clock.advance(message.stored_ms - self.clock.now_ms())
            await self.put(sealed)

    async def put(self, sealed: Sealed, **more: Any) -> None:
        fields = {"subject": sealed.envelope.subject, "data": sealed.wire, "message_id": sealed.envelope.id} | more
        await self.transport.publish(fields.pop("subject"), fields.pop("data"), **fields)

    async def found(self, stream: str, *tokens: str) -> list[Message]:
        subject = ".".join(("interlock", WORKSPACE, *tokens))
        return [message async for message in self.transport.read(stream, [subject])]

    async def reports(self) -> list[AuditReport]:
        messages = await self.found("HOPS", "role", "orchestrator", "*", "observe")
        payloads = [checked.envelope.payload for message in messages if (checked := decode(message.data)).envelope]
        return [payload for payload in payloads if isinstance(payload, AuditReport)]

    async def letters(self) -> list[DeadLetter]:
        return [msgspec.json.decode(message.data, type=DeadLetter) for message in await self.found("DEAD", "dead", ">")]


@pytest.fixture
async def place() -> Place:
    made = Place()
    await made.transport.declare(declarations((WORKSPACE,)))
    return made


def asked_only(tasks: int = 2) -> History:
    """A goal up to its audit request."""
    history = goal_history(tasks)
    del history.messages[-2:], history.sealed[-2:]
    return history


async def test_an_audit_request_is_answered_with_report_log_and_verdict(place: Place) -> None:
    history = asked_only()
    async with place.auditing():
        await place.store(history)
    (report,) = await place.reports()
    assert (report.decision, report.hops, report.verified) == ("allow", 10, 10)
    assert (report.refused, report.gates, report.grounds) == ([], [], [])
    assert {file.name for file in report.files} == {"audit_report.md", "compliance_log.json"}
    contents = {file.name: await place.transport.get_object("artifacts", file.digest) for file in report.files}
    assert b"Hops verified: 10 of 10" in contents["audit_report.md"]
    assert msgspec.json.decode(contents["compliance_log.json"])["hops"] == {"total": 10, "verified": 10, "refused": 0}
    answer = (await place.found("HOPS", "role", "orchestrator", GOAL, "observe"))[-1]
    envelope = decode(answer.data).envelope
    assert envelope is not None
    assert (envelope.parent_id, envelope.sender) == (history.sealed[-1].envelope.id, "auditor")


async def test_what_comes_after_the_request_is_not_in_its_report(place: Place) -> None:
    await place.store(asked_only())
    stranger = seal(goal_history(1).sealed[3].envelope, SigningKey.generate())
    await place.put(stranger, message_id="later")
    async with place.auditing():
        pass
    assert (await place.reports())[0].hops == 10


async def test_a_killed_auditor_says_the_same_once(place: Place) -> None:
    """Killed after answering and before acknowledging: nothing twice, not even a file."""
    await place.store(asked_only())
    (request,) = await place.found("HOPS", "role", "auditor", GOAL, "act")
    for wait_ms in (0, 5_000):
        place.clock.advance(wait_ms)
        assert await place.handler(place.role())(Hop(request, place.clock.now_ms())) is DONE
        assert len(await place.reports()) == 1
        assert len(await place.transport.list_objects("artifacts")) == 2


async def test_the_signature_log_is_written_when_the_goal_ends_and_only_then(place: Place) -> None:
    history = goal_history(2)
    async with place.auditing():
        await place.store(history, 0, 9)
        await place.transport.settle()
        assert await read_audit(place.transport, WORKSPACE, GOAL) is None
        await place.store(history, 9)
    status = await read_audit(place.transport, WORKSPACE, GOAL)
    assert isinstance(status, AuditStatus)
    assert (status.hops, status.verified, status.refused) == (12, 12, [])
    log = msgspec.json.decode(await place.transport.get_object("bundles", status.log))
    assert log["summary"]["status"] == "PASS"
    assert [line["step"] for line in log["operations"]] == list(range(1, 13))
    (record,) = await place.found("AUDIT", "audit", "signatures")
    assert msgspec.json.decode(record.data)["summary"] == log["summary"]
    # A copy of the completion, long after JetStream has forgotten its id, changes nothing.
    place.clock.advance(4_000_000)
    async with place.auditing():
        await place.put(history.sealed[-1])
    assert await read_audit(place.transport, WORKSPACE, GOAL) == status
    assert len(await place.found("AUDIT", "audit", "signatures")) == 1


async def test_a_stranger_is_recorded_named_and_blocks_nothing(place: Place) -> None:
    history = asked_only()
    forged = seal(replace(history.sealed[3].envelope, id=new_id(NOW, b"forged" * 2)), SigningKey.generate())
    async with place.auditing():
        await place.store(history, 0, 5)
        await place.put(forged)
        await place.store(history, 5)
    (report,) = await place.reports()
    assert (report.decision, report.hops, report.verified) == ("allow", 11, 10)
    assert [(entry.reason, entry.claimed_from) for entry in report.refused] == [("unknown_key", "orchestrator")]
    (record,) = await place.found("AUDIT", "audit", "refusal")
    refusal = msgspec.json.decode(record.data, type=Refusal)
    assert (refusal.sequence, refusal.reason) == (6, "unknown_key")
    assert await place.letters() == [], "it is the executor's to bury"


async def test_a_bad_signature_in_a_trusted_name_denies(place: Place) -> None:
    history = asked_only()
    wire = history.sealed[3].wire.replace(b'"t0"', b'"t9"')
    async with place.auditing():
        await place.store(history, 0, 5)
        await place.put(history.sealed[3], data=wire, message_id="x")
        await place.store(history, 5)
    (report,) = await place.reports()
    assert (report.decision, [ground.code for ground in report.grounds]) == ("deny", ["hop_bad_signature"])


async def test_a_copy_of_what_was_said_does_not_deny(place: Place) -> None:
    history = asked_only()
    async with place.auditing():
        await place.store(history, 0, 9)
        await place.put(history.sealed[4], message_id="copy")
        await place.put(history.sealed[5], message_id="")
        await place.store(history, 9)
    (report,) = await place.reports()
    assert (report.decision, report.hops, report.verified) == ("allow", 12, 10)
    assert {entry.reason for entry in report.refused} == {"wrong_message_id"}


@pytest.mark.parametrize(
    ("tail", "buried"),
    [
        (f"human.{GOAL}.act", True),
        (f"gateway.{GOAL}.plan", True),
        (f"nobody.{GOAL}.act", True),
        ("executor", True),
        (f"auditor.{GOAL}.act", True),
        ("auditor", True),
        (f"executor.{GOAL}.act", False),
        (f"orchestrator.{GOAL}.observe", False),
        ("evaluator.x", False),
    ],
)
async def test_garbage_where_nobody_listens_is_buried_by_the_auditor(place: Place, tail: str, buried: bool) -> None:
    async with place.auditing():
        for number, data in enumerate((b"", b"{}", b"\xff" * 9, b"[" * 9_000)):
            await place.transport.publish(f"interlock.{WORKSPACE}.role.{tail}", data, message_id=str(number))
    letters = await place.letters()
    assert len(letters) == (4 if buried else 0)
    assert {letter.role for letter in letters} <= {"auditor"}
    assert len(await place.found("AUDIT", "audit", "refusal")) == 4


async def test_other_workspaces_and_other_goals_are_not_read(place: Place) -> None:
    await place.store(goal_history(1))
    await place.store(goal_history(1, new_id(NOW, b"other-goal")))
    assert len(await goal_messages(place.transport, WORKSPACE, GOAL)) == 9
    assert len(await goal_messages(place.transport, WORKSPACE, GOAL, up_to=4)) == 4
    for name in ("*", ">", "", "x", f"{GOAL}.>"):
        assert await goal_messages(place.transport, WORKSPACE, name) == []


async def test_a_broken_log_is_an_alarm_and_denies_every_audit(place: Place) -> None:
    await place.store(asked_only())
    (request,) = await place.found("HOPS", "role", "auditor", GOAL, "act")
    role = place.role()
    await role.raise_alarm(LogBroken("truncated", "the log has 3 records, 9 were signed"))
    await place.handler(role)(Hop(request, place.clock.now_ms()))
    (report,) = await place.reports()
    assert (report.decision, [ground.code for ground in report.grounds]) == ("deny", ["log_broken"])
    (alarm,) = await place.found("AUDIT", "audit", "alarm")
    assert msgspec.json.decode(alarm.data)["reason"] == "truncated"


@pytest.mark.parametrize("most", [MostHops(hops=30), MostHops(total_bytes=40_000)], ids=["number", "bytes"])
async def test_a_flood_of_hops_is_bounded_told_and_denies(place: Place, most: MostHops) -> None:
    place.most = most
    history = asked_only()
    flooded = workspace_subject(WORKSPACE, "role", "executor", GOAL, "act")
    async with place.auditing():
        for number in range(200):
            await place.transport.publish(flooded, b"x" * 1_000, message_id=f"noise-{number}")
        held = await goal_messages(place.transport, WORKSPACE, GOAL, most=most)
        assert is_truncated(held, most)
        assert len(held) <= most.hops + 1
        assert sum(len(message.data) for message in held) <= most.total_bytes + 1_000
        await place.store(history)
    (report,) = await place.reports()
    assert report.decision == "deny"
    assert [ground.code for ground in report.grounds] == ["too_many_hops"]


async def test_as_many_hops_as_are_held_are_no_flood(place: Place) -> None:
    place.most = MostHops(hops=10)
    async with place.auditing():
        await place.store(asked_only())
    (report,) = await place.reports()
    assert (report.decision, report.hops, report.verified) == ("allow", 10, 10)
