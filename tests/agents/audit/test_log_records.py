"""The chain of the audit log: what follows, and everything that does not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.audit.log.records import FIRST, Chain, ChainBroken, body_of, lines_of, parse, told
from interlock.bus.transport import Message
from interlock.envelope.ids import sha256_hex
from interlock.envelope.merkle import Tree, leaf_hash

AT_MS = 1_800_000_000_000


def stored(sequence: int) -> Message:
    return Message(f"interlock.default.role.executor.{sequence}.act", b"%d" % sequence, {}, sequence, AT_MS + sequence)


def lines(count: int = 5) -> list[bytes]:
    chain = Chain()
    written = [chain.stored("HOPS", stored(number), "ok") for number in range(1, count)]
    return [*written, chain.noted(AT_MS, {"event": "started"})]


def followed(some: list[bytes]) -> Chain:
    chain = Chain()
    for line in some:
        chain.follow(line)
    return chain


def test_a_log_read_again_has_the_same_head() -> None:
    chain = Chain()
    written = [chain.stored("HOPS", stored(3)), chain.stored("LEDGER", stored(9)), chain.noted(AT_MS, {"a": "b"})]
    again = followed(list(lines_of(body_of(written))))
    assert (again.size, again.root, again.previous) == (chain.size, chain.root, chain.previous) == (
        3, Tree(map(leaf_hash, written)).root(), sha256_hex(written[-1]),
    )  # fmt: skip
    assert again.positions == {"HOPS": 3, "LEDGER": 9}


def test_a_record_says_what_was_stored() -> None:
    record = parse(lines()[0])
    assert (record.previous, record.digest, record.verdict) == (FIRST, sha256_hex(b"1"), "ok")
    assert told(record) == {
        "number": 0,
        "kind": "stored",
        "at": "2027-01-15T08:00:00.001Z",
        "stream": "HOPS",
        "sequence": 1,
        "subject": "interlock.default.role.executor.1.act",
        "digest": sha256_hex(b"1"),
        "verdict": "ok",
    }


ALL = lines()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (ALL[1:], "gap"),
        ([ALL[0], *ALL[2:]], "gap"),
        ([ALL[0], ALL[0]], "gap"),
        ([ALL[1], ALL[0]], "gap"),
        ([*ALL[:2], ALL[2].replace(b'"sequence":3', b'"sequence":4'), ALL[3]], "chain_broken"),
        ([ALL[0], ALL[1].replace(sha256_hex(ALL[0]).encode(), FIRST.encode())], "chain_broken"),
        ([ALL[0][:-1]], "malformed"),
        ([b""], "malformed"),
        ([b"\xff"], "malformed"),
        ([b"[" * 3000], "malformed"),
        ([ALL[0] + b" " * 5000], "malformed"),
        ([ALL[0].replace(b'"kind":"stored"', b'"kind":"dreamt"')], "malformed"),
        ([ALL[0].replace(b"{", b'{"more":1,', 1)], "malformed"),
        ([ALL[0] + b" "], "not_canonical"),
        ([ALL[0].replace(b"{", b'{"number":7,', 1)], "not_canonical"),
    ],
)
def test_what_does_not_follow_is_refused(changed: list[bytes], reason: str) -> None:
    with pytest.raises(ChainBroken) as refused:
        followed(changed)
    assert refused.value.reason == reason


@given(st.integers(0, len(ALL) - 2), st.data())
def test_any_changed_byte_before_the_last_line_is_found(index: int, data: st.DataObject) -> None:
    line = ALL[index]
    place = data.draw(st.integers(0, len(line) - 1))
    changed = line[:place] + bytes([line[place] ^ data.draw(st.integers(1, 255))]) + line[place + 1 :]
    with pytest.raises(ChainBroken):
        followed([*ALL[:index], changed, *ALL[index + 1 :]])


@given(st.integers(0, len(ALL[-1]) - 1), st.integers(1, 255))
def test_a_changed_last_line_changes_the_root(place: int, change: int) -> None:
    changed = ALL[-1][:place] + bytes([ALL[-1][place] ^ change]) + ALL[-1][place + 1 :]
    try:
        assert followed([*ALL[:-1], changed]).root != followed(ALL).root
    except ChainBroken:
        pass


@given(st.binary(max_size=300))
def test_no_other_error_escapes(line: bytes) -> None:
    with pytest.raises(ChainBroken):
        parse(line)


def test_a_refused_line_leaves_the_chain_as_it_was() -> None:
    chain = followed(ALL[:2])
    before = (chain.size, chain.root, chain.previous, dict(chain.positions))
    with pytest.raises(ChainBroken):
        chain.follow(msgspec.json.encode({"number": 2}))
    assert (chain.size, chain.root, chain.previous, chain.positions) == before
    chain.follow(ALL[2])
