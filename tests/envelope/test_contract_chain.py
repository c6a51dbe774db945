"""Chains of contracts: what may follow what, who may sign it, any changed byte found, each refusal by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.contract import (
    MAX_BYTES,
    ContractSignature,
    SignedContract,
    SigningRule,
    contract_schema,
    sign_contract,
)
from interlock.envelope.contract_chain import ContractError, Signers, decoded, first, load_chain
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import decode_public, encode_public
from tests.envelope.contracts import (
    ADA,
    CLERK,
    EXECUTOR,
    FIRST,
    GRACE,
    NOW,
    OTHER_ROOT,
    ROOT,
    SIGNERS,
    WORKSPACE,
    after,
    chain_of,
    fixed_key,
    frozen,
    grown,
    reason,
    trust_of,
)


def test_a_chain_grows_by_signed_versions_that_name_their_predecessor() -> None:
    chain = grown(grown(chain_of(), ADA), ROOT, GRACE, lifecycle="frozen")
    assert [version.contract.contract_version for version in chain.versions] == [1, 2, 3]
    assert chain.head.contract.previous_contract_ref == chain.versions[1].ref == sha256_hex(chain.versions[1].data)
    assert load_chain([version.data for version in chain.versions], WORKSPACE, SIGNERS).head == chain.head
    assert chain.find(chain.versions[0].ref) == chain.versions[0]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"workspace": "other"}, "wrong_workspace"),
        ({"contract_version": 2}, "wrong_version"),
        ({"previous_contract_ref": "a" * 64}, "wrong_version"),
        ({"lifecycle": "frozen"}, "bad_lifecycle"),
        ({"lifecycle": "retired"}, "bad_lifecycle"),
        ({"retired_refs": ["a" * 64]}, "change_mismatch"),
    ],
)
def test_what_a_first_version_may_not_be(more: dict[str, Any], expected: str) -> None:
    assert reason(lambda: chain_of(replace(FIRST, **more))) == expected


def test_a_first_version_needs_a_root() -> None:
    assert reason(lambda: first(sign_contract(FIRST, [ADA]), WORKSPACE, SIGNERS)) == "too_few_signatures"
    assert reason(lambda: first(sign_contract(FIRST, []), WORKSPACE, SIGNERS)) == "too_few_signatures"
    assert reason(lambda: first(sign_contract(FIRST, [OTHER_ROOT]), WORKSPACE, SIGNERS)) == "untrusted_signer"
    assert reason(lambda: load_chain([], WORKSPACE, SIGNERS)) == "malformed"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"workspace": "other"}, "wrong_workspace"),
        ({"contract_version": 3}, "wrong_version"),
        ({"contract_version": 1}, "forked"),
        ({"previous_contract_ref": "a" * 64}, "broken_chain"),
        ({"previous_contract_ref": None}, "broken_chain"),
        ({"issued_at": timestamp(NOW - 1)}, "from_past"),
        ({"lifecycle": "draft"}, "bad_lifecycle"),
        ({"origin": "generated"}, "bad_lifecycle"),
    ],
)
def test_what_may_not_follow(more: dict[str, Any], expected: str) -> None:
    assert reason(lambda: grown(chain_of(), **more)) == expected


def test_nothing_follows_a_retired_contract_and_retired_versions_stay_so() -> None:
    chain = grown(chain_of(), lifecycle="retired")
    for lifecycle in ("draft", "active", "frozen", "retired"):
        assert reason(lambda to=lifecycle: grown(chain, lifecycle=to)) == "bad_lifecycle"
    gone = grown(chain_of(), retired_refs=[chain_of().head.ref])
    assert reason(lambda: grown(gone, retired_refs=[])) == "bad_lifecycle"


def test_the_same_number_twice_is_a_fork() -> None:
    chain = grown(chain_of(), ADA)
    assert reason(lambda: chain.extended(chain.head.data, SIGNERS)) == "forked"
    assert reason(lambda: chain.extended(sign_contract(after(chain_of()), [GRACE]), SIGNERS)) == "forked"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], "too_few_signatures"),
        ([CLERK], "untrusted_signer"),
        ([EXECUTOR], "untrusted_signer"),
        ([OTHER_ROOT], "untrusted_signer"),
        ([ROOT, fixed_key("stranger")], "untrusted_signer"),
    ],
)
def test_who_may_not_sign(keys: list[Any], expected: str) -> None:
    chain = chain_of()
    assert reason(lambda: chain.extended(sign_contract(after(chain), keys), SIGNERS)) == expected


def test_as_many_must_sign_as_the_version_before_demands() -> None:
    chain = grown(chain_of(), signing=SigningRule(threshold=2))
    lower: dict[str, Any] = {"signing": SigningRule(threshold=1)}
    assert reason(lambda: grown(chain, ADA, **lower)) == "too_few_signatures"
    assert grown(chain, ADA, GRACE, **lower).head.contract.signing.threshold == 1
    assert grown(chain, ADA, ROOT).head.contract.contract_version == 3


def test_one_key_written_twice_counts_once() -> None:
    chain = grown(chain_of(), signing=SigningRule(threshold=2))
    other_name = encode_public(decode_public(ROOT.key_id), "A")
    signed = decoded(sign_contract(after(chain), [ROOT]))
    again = ContractSignature(key_id=other_name, signature=signed.signatures[0].signature)
    signers = Signers((ROOT.key_id, other_name), SIGNERS.trust)
    twice = sign_contract(signed.contract, [], [*signed.signatures, again])
    assert reason(lambda: chain.extended(twice, signers)) == "too_few_signatures"


def test_a_revoked_key_cannot_sign_dated_back() -> None:
    """By what it says it was issued before the revocation; what counts is when it was seen."""
    issued = NOW + 3_600_000
    revoked = Signers(SIGNERS.roots, trust_of(ada={"revoked_at": timestamp(issued + 1)}))
    assert grown(chain_of(), ADA, signers=revoked, seen_ms=issued).head.contract.contract_version == 2
    assert reason(lambda: grown(chain_of(), ADA, signers=revoked, seen_ms=issued + 60_000)) == "untrusted_signer"
    assert grown(chain_of(), ADA, signers=revoked).head.contract.contract_version == 2, "the history stays true"
    late = Signers(SIGNERS.roots, trust_of(ada={"not_after": timestamp(issued)}))
    assert reason(lambda: grown(chain_of(), ADA, signers=late)) == "untrusted_signer"


def test_a_version_from_the_future_is_not_taken_over() -> None:
    assert reason(lambda: grown(chain_of(), seen_ms=NOW)) == "from_future"


@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    versions = [version.data for version in grown(chain_of(), ADA).versions]
    number = data.draw(st.integers(0, 1))
    place = data.draw(st.integers(0, len(versions[number]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != versions[number][place]))
    versions[number] = versions[number][:place] + bytes([byte]) + versions[number][place + 1 :]
    with pytest.raises(ContractError):
        load_chain(versions, WORKSPACE, SIGNERS)


def test_a_signature_taken_from_an_old_version_breaks_the_chain() -> None:
    signed = sign_contract(FIRST, [ROOT, ADA])
    chain = first(signed, WORKSPACE, SIGNERS)
    chain = grown(chain)
    fewer = sign_contract(FIRST, [ROOT])
    assert reason(lambda: load_chain([fewer, chain.head.data], WORKSPACE, SIGNERS)) == "broken_chain"


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(ContractError):
        first(data, WORKSPACE, SIGNERS)


def test_forms_that_are_refused() -> None:
    good = chain_of().head.data
    plain = json.loads(good)
    assert reason(lambda: decoded(b" " * (MAX_BYTES + 1))) == "malformed"
    assert reason(lambda: decoded(b"[" * 100_000)) == "malformed"
    assert reason(lambda: decoded(good + b"\n")) == "not_canonical"
    assert reason(lambda: decoded(json.dumps(plain).encode())) == "not_canonical"
    twice = canonical(plain | {"signatures": plain["signatures"] * 2})
    assert reason(lambda: decoded(twice)) == "not_canonical"
    other = canonical(plain | {"signatures": [plain["signatures"][0] | {"signature": "A" * 86}]})
    assert reason(lambda: first(other, WORKSPACE, SIGNERS)) == "bad_signature"
    dangling = canonical(plain | {"signatures": [plain["signatures"][0] | {"signature": "A" * 85 + "B"}]})
    assert reason(lambda: first(dangling, WORKSPACE, SIGNERS)) == "bad_signature"
    for name, value in {
        "schema": "interlock-contract-v1",
        "unknown": 1,
        "issuedAt": "2026-02-30T00:00:00.000Z",
        "agents": [],
        "gates": ["G1", "G0"],
        "contractVersion": 0,
        "retiredRefs": ["b" * 64, "a" * 64],
        "lifecycle": "asleep",
    }.items():
        changed = canonical(plain | {"contract": plain["contract"] | {name: value}})
        assert reason(lambda bytes_=changed: decoded(bytes_)) == "malformed", name


def test_the_schema_takes_what_is_stored_and_is_the_published_one() -> None:
    import jsonschema

    schema = contract_schema()
    published = Path(__file__).parents[2] / "docs" / "contract-schema.json"
    assert json.loads(published.read_text()) == json.loads(msgspec.json.encode(schema))
    validator = jsonschema.Draft202012Validator(schema)
    for version in (*frozen().versions, grown(chain_of(), lifecycle="retired").head):
        assert list(validator.iter_errors(json.loads(version.data))) == []
    bad = json.loads(chain_of().head.data)
    bad["contract"]["lifecycle"] = "asleep"
    bad["contract"]["more"] = 1
    assert len(list(validator.iter_errors(bad))) >= 2
    assert msgspec.json.decode(chain_of().head.data, type=SignedContract).contract == FIRST
