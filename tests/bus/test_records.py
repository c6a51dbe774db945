"""Sealed records: only what the writer signed for this very place counts, whatever else stands on the subject."""

from __future__ import annotations

import pytest

from interlock.bus.clock import ManualClock
from interlock.bus.errors import Conflict
from interlock.bus.journal import append, journal_subject, read_journal
from interlock.bus.ledger.balance import Request
from interlock.bus.ledger.writer import LedgerWriter
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.records import SEAL, Seals, last_sealed
from interlock.bus.relays import ASKED
from interlock.bus.sender import Identity
from interlock.bus.streams import JOURNAL, LEDGER, declarations
from interlock.bus.transport import Message
from interlock.envelope.amounts import Amount, timestamp
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore

pytestmark = pytest.mark.anyio
NOW_MS = 1_800_000_000_000
SUBJECT = journal_subject("w", "goal", "g")
WRITER, OLD, OTHER, REVOKED = (SigningKey(bytes([n]) * 32) for n in range(1, 5))


class Known:
    """A gates.TrustSource. The writer has had another key, and one was taken from it."""

    def __init__(self) -> None:
        def record(key: SigningKey, **more: str) -> KeyRecord:
            window = {"not_before": timestamp(NOW_MS - 10_000), "not_after": timestamp(NOW_MS + 10_000)}
            return KeyRecord(key_id=key.key_id, **(window | more))

        writer = [record(WRITER), record(OLD), record(REVOKED, revoked_at=timestamp(NOW_MS - 1))]
        agents = [AgentRecord(agent="writer", keys=writer), AgentRecord(agent="other", keys=[record(OTHER)])]
        self.trust = Trust(TrustStore(workspace="w", version=1, issued_at=timestamp(NOW_MS), agents=agents))


def seals(key: SigningKey, agent: str = "writer") -> Seals:
    return Seals(Identity(agent, key), Known())


SEALS = seals(WRITER)


@pytest.fixture
async def transport() -> MemoryTransport:
    transport = MemoryTransport(ManualClock(NOW_MS))
    await transport.declare(declarations(("w",)))
    return transport


async def journaled(transport: MemoryTransport) -> tuple[list[bytes], int]:
    records, revision = await read_journal(transport, SUBJECT, SEALS)
    return [record.data for record in records], revision


async def test_what_its_writer_signed_counts(transport: MemoryTransport) -> None:
    first = await append(transport, SUBJECT, b"1", revision=0, seals=SEALS)
    second = await append(transport, SUBJECT, b"2", revision=first, seals=seals(OLD, "writer.2"))
    assert await journaled(transport) == ([b"1", b"2"], second)
    with pytest.raises(Conflict):
        await append(transport, SUBJECT, b"3", revision=first, seals=SEALS)


async def foreign(transport: MemoryTransport, kind: str, stored: Message) -> None:
    """What somebody else brings onto the subject after one true record."""
    forged = {
        "unsigned": (b"evil", {}),
        "by another role": (b"evil", seals(OTHER).headers(SUBJECT, stored.sequence, b"evil")),
        "in another role's name": (b"evil", seals(OTHER, "other").headers(SUBJECT, stored.sequence, b"evil")),
        "by a revoked key": (b"evil", seals(REVOKED).headers(SUBJECT, stored.sequence, b"evil")),
        "by an unknown key": (b"evil", seals(SigningKey.generate()).headers(SUBJECT, stored.sequence, b"evil")),
        "a copy of a true one": (stored.data, {SEAL: stored.headers[SEAL]}),
        "signed for another subject": (b"evil", SEALS.headers(SUBJECT + "x", stored.sequence, b"evil")),
        "signed for another place": (b"evil", SEALS.headers(SUBJECT, stored.sequence + 7, b"evil")),
        "other bytes": (b"evil", SEALS.headers(SUBJECT, stored.sequence, b"good")),
        "a broken seal": (b"evil", {SEAL: "nonsense"}),
        "half a seal": (b"evil", {SEAL: f"{WRITER.key_id} {stored.sequence} ==="}),
    }
    data, headers = forged[kind]
    await transport.publish(SUBJECT, data, headers=headers)


OPEN = b'{"op":"open","scope":"goal.g","parent":"day.d"}'
KINDS = [
    "unsigned",
    "by another role",
    "in another role's name",
    "by a revoked key",
    "by an unknown key",
    "a copy of a true one",
    "signed for another subject",
    "signed for another place",
    "other bytes",
    "a broken seal",
    "half a seal",
]


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_else_does_and_the_writer_goes_on(kind: str, transport: MemoryTransport) -> None:
    await append(transport, SUBJECT, b"1", revision=0, seals=SEALS)
    stored = await transport.last(JOURNAL.name, SUBJECT)
    assert stored is not None
    await foreign(transport, kind, stored)
    data, revision = await journaled(transport)
    assert data == [b"1"]
    found, after = await last_sealed(transport, JOURNAL.name, SUBJECT, SEALS)
    assert found is not None
    assert (found.data, after) == (b"1", revision)
    await append(transport, SUBJECT, b"2", revision=revision, seals=SEALS)
    assert (await journaled(transport))[0] == [b"1", b"2"]
    found, _ = await last_sealed(transport, JOURNAL.name, SUBJECT, SEALS)
    assert found is not None
    assert found.data == b"2"


async def test_a_forged_balance_is_no_balance(transport: MemoryTransport) -> None:
    """Also one that stood there before the scope was opened, and one put on top while the writer is away."""
    rich = b'{"scope":"goal.g","limit":[1000000,1000000,1000000,1000000]}'
    subject = "interlock.w.ledger.goal.g"
    await transport.publish(subject, rich)
    for _ in range(2):
        writer = LedgerWriter(transport, "w", Amount(tokens=100), SEALS)
        async with writer.running():
            opened = await writer.ask(Request(op="open", scope="goal.g", parent="day.d", amount=Amount(tokens=10)))
            assert opened.granted
            refused = await writer.ask(Request(op="reserve", scope="goal.g", key="a", amount=Amount(tokens=11)))
            assert (refused.granted, refused.reason) == (False, "over_budget")
        await transport.publish(subject, rich)
    found, _ = await last_sealed(transport, LEDGER.name, subject, SEALS)
    assert found is not None
    assert b"1000000" not in found.data


async def test_scopes_are_not_opened_over_the_bus_where_the_writer_says_so(transport: MemoryTransport) -> None:
    writer = LedgerWriter(transport, "w", Amount(tokens=100), SEALS, asked=frozenset({"balance"}))
    async with writer.running():
        answer = await transport.request("interlock.w.request.ledger", OPEN, timeout_ms=1_000, headers=ASKED)
        assert b"not asked over the bus" in answer.data
        for headers in ({}, {**ASKED, "Nats-Stream": "OBJ_artifacts"}):
            answer = await transport.request("interlock.w.request.ledger", OPEN, timeout_ms=1_000, headers=headers)
            assert b"what the broker repeats" in answer.data
