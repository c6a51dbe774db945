"""Proofs of inclusion as files: checked without us, and refused in every changed form."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.audit.log.proof import MAX_BYTES, Proof, ProofRefused, make_proof, verify_proof
from interlock.agents.audit.log.records import Chain
from interlock.agents.audit.log.sources import origin_of
from interlock.bus.transport import Message
from interlock.envelope.amounts import timestamp
from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, TrustStore, sign_store

AT_MS = 1_800_000_000_000
ROOT, AUDITOR, EXECUTOR = (SigningKey(bytes([number]) * 32, kind) for number, kind in enumerate("OUU"))
CHAIN = Chain()
LINES = [CHAIN.stored("HOPS", Message("s", b"%d" % n, {}, n, AT_MS), "ok") for n in range(1, 8)]


def trust(workspace: str = "default") -> str:
    window = {"not_before": timestamp(AT_MS), "not_after": timestamp(AT_MS + 10**9)}
    agents = [
        AgentRecord(agent=name, keys=[KeyRecord(key_id=key.key_id, **window)])
        for name, key in (("auditor", AUDITOR), ("executor", EXECUTOR))
    ]
    store = TrustStore(workspace=workspace, version=1, issued_at=timestamp(AT_MS), agents=agents)
    return sign_store(store, [ROOT]).decode()


def note(key: SigningKey = AUDITOR, workspace: str = "default", root: bytes | None = None) -> str:
    return sign_checkpoint(Checkpoint(origin_of(workspace), CHAIN.size, root or CHAIN.root), key, key.key_id)


def proof(number: int = 3) -> Proof:
    return make_proof("default", LINES, number, note(), CHAIN.size, trust())


def refusal(data: bytes) -> str:
    with pytest.raises(ProofRefused) as refused:
        verify_proof(data, [ROOT.key_id])
    return refused.value.reason


@pytest.mark.parametrize("number", range(7))
def test_every_record_can_be_proven(number: int) -> None:
    record, size = verify_proof(msgspec.json.encode(proof(number)), [ROOT.key_id])
    assert (record.number, record.sequence, size) == (number, number + 1, 7)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: {"record": LINES[4].decode()}, "not_included"),
        (lambda one: {"record": one.record.replace('"ok"', '"no"')}, "not_included"),
        (lambda one: {"path": one.path[1:]}, "not_included"),
        (lambda one: {"path": [*one.path, one.path[0]]}, "not_included"),
        (lambda one: {"path": ["?"]}, "malformed"),
        (lambda one: {"path": ["AAAA"]}, "not_included"),
        (lambda one: {"record": "{}"}, "malformed"),
        (lambda one: {"record": one.record + " "}, "not_canonical"),
        (lambda one: {"checkpoint": note(root=bytes(32))}, "not_included"),
        (lambda one: {"checkpoint": note(EXECUTOR)}, "untrusted"),
        (lambda one: {"checkpoint": note(workspace="other")}, "wrong_origin"),
        (lambda one: {"workspace": "other"}, "wrong_origin"),
        (lambda one: {"workspace": "other", "checkpoint": note(workspace="other")}, "wrong_origin"),
        (lambda one: {"trust": trust().replace("executor", "auditors")}, "untrusted_root"),
        (lambda one: {"trust": "{}"}, "malformed"),
    ],
)
def test_what_is_changed_is_refused(change: Callable[[Proof], dict[str, object]], reason: str) -> None:
    one = proof()
    assert refusal(msgspec.json.encode(msgspec.structs.replace(one, **change(one)))) == reason


def test_what_is_no_proof_is_refused() -> None:
    for data in (
        b"",
        b"{}",
        b"[" * 9999,
        b"\xff",
        msgspec.json.encode(proof()).replace(b'"version":1', b'"version":2'),
    ):
        assert refusal(data) == "malformed"
    assert refusal(b" " * (MAX_BYTES + 1)) == "malformed"
    with pytest.raises(ProofRefused, match="root signatures"):
        verify_proof(msgspec.json.encode(proof()), [SigningKey.generate("O").key_id])


@given(st.data())
def test_any_changed_byte_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    whole = msgspec.json.encode(proof())
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    try:
        assert verify_proof(changed, [ROOT.key_id])[0].number == 3
        assert msgspec.json.decode(changed) == msgspec.json.decode(whole)
    except ProofRefused:
        pass


@pytest.mark.parametrize("number", [-1, 7])
def test_there_is_no_proof_of_what_is_not_signed(number: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        proof(number)
