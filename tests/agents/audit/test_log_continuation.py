"""Proofs of consistency as files: whoever keeps checkpoints holds the log to them, with no access to it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.audit.log.continuation import (
    Continuation,
    is_continuation,
    make_continuation,
    verify_continuation,
)
from interlock.agents.audit.log.proof import MAX_BYTES, ProofRefused
from interlock.agents.audit.log.sources import origin_of
from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint
from interlock.envelope.keys import SigningKey
from interlock.envelope.merkle import Tree, leaf_hash
from tests.agents.audit.test_log_proof import AUDITOR, EXECUTOR, LINES, ROOT, proof, trust

SIZES = [(older, newer) for newer in range(1, len(LINES) + 1) for older in range(1, newer + 1)]


def note(size: int, lines: list[bytes] = LINES, key: SigningKey = AUDITOR, workspace: str = "default") -> str:
    root = Tree(map(leaf_hash, lines)).root(size)
    return sign_checkpoint(Checkpoint(origin_of(workspace), size, root), key, key.key_id)


def continuation(older: int = 3, newer: int = 7) -> Continuation:
    return make_continuation("default", LINES, (note(older), older), (note(newer), newer), trust())


def refusal(data: bytes, roots: tuple[str, ...] = (ROOT.key_id,)) -> str:
    with pytest.raises(ProofRefused) as refused:
        verify_continuation(data, roots)
    return refused.value.reason


@pytest.mark.parametrize(("older", "newer"), SIZES)
def test_every_later_checkpoint_goes_on_from_every_earlier_one(older: int, newer: int) -> None:
    data = msgspec.json.encode(continuation(older, newer))
    assert [one.size for one in verify_continuation(data, [ROOT.key_id])] == [older, newer]
    assert is_continuation(data)


@pytest.mark.parametrize(("older", "newer"), [(0, 7), (5, 4), (3, 8)])
def test_sizes_that_do_not_follow_are_refused(older: int, newer: int) -> None:
    with pytest.raises(ValueError, match="consistency"):
        make_continuation("default", LINES, ("", older), ("", newer), "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: {"older": note(3, [b"other", *LINES[1:]])}, "not_consistent"),
        (lambda: {"newer": note(7, [*LINES[:2], b"other", *LINES[3:]])}, "not_consistent"),
        (lambda: {"older": note(4)}, "not_consistent"),
        (lambda: {"older": note(7), "newer": note(3)}, "not_consistent"),
        (lambda: {"path": []}, "not_consistent"),
        (lambda: {"path": [*continuation().path, continuation().path[0]]}, "not_consistent"),
        (lambda: {"path": ["AAAA"]}, "not_consistent"),
        (lambda: {"path": ["*"]}, "malformed"),
        (lambda: {"older": note(3, key=EXECUTOR)}, "untrusted"),
        (lambda: {"newer": note(7, workspace="other")}, "wrong_origin"),
        (lambda: {"workspace": "other"}, "wrong_origin"),
        (lambda: {"older": ""}, "malformed"),
        (lambda: {"more": 1}, "malformed"),
    ],
)
def test_what_is_changed_is_refused(change: Callable[[], dict[str, object]], reason: str) -> None:
    assert refusal(msgspec.json.encode(msgspec.to_builtins(continuation()) | change())) == reason


def test_what_is_no_proof_is_refused() -> None:
    good = msgspec.json.encode(continuation())
    assert refusal(good, (EXECUTOR.key_id,)) == "untrusted_root"
    for data in (b"", b"{}", b"[" * 100_000, b"\xff", msgspec.json.encode(proof()), b" " * (MAX_BYTES + 1)):
        assert refusal(data) == "malformed"
        assert not is_continuation(data)


@given(st.data())
def test_any_changed_byte_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    wire = bytearray(msgspec.json.encode(continuation()))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = verify_continuation(bytes(wire), [ROOT.key_id])
    except ProofRefused:
        return
    assert [one.size for one in found] == [3, 7]
