"""Contracts: every refusal by name, the freeze by class of change, any changed byte found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.envelope.amounts import Budget, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.capabilities import exceeding, holds
from interlock.envelope.contract import (
    MAX_BYTES,
    Baselines,
    Checksums,
    Contract,
    ContractAgent,
    ContractSignature,
    EmergencyFlags,
    Evidence,
    Quotas,
    SignedContract,
    SigningRule,
    contract_schema,
    sign_contract,
)
from interlock.envelope.contract_chain import Chain, ContractError, Signers, decoded, first, load_chain
from interlock.envelope.contract_change import changes_between
from interlock.envelope.contract_gate import LINGERING_MS, check_contract
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import decode_public, encode_public
from interlock.envelope.model import Envelope, PolicyContext
from interlock.envelope.verdict import Reason
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
    asked,
    chain_of,
    fixed_key,
    frozen,
    grown,
    trust_of,
)
from tests.envelope.samples import make

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("agents", {"agents": [*FIRST.agents, ContractAgent(agent="watcher")]}),
    ("agents", {"agents": [replace(FIRST.agents[0], capabilities=["audit:*"]), *FIRST.agents[1:]]}),
    ("plan_logic", {"checksums": replace(FIRST.checksums, plan_logic="f" * 64)}),
    ("compliance", {"checksums": replace(FIRST.checksums, compliance="f" * 64)}),
    ("compliance", {"policy_bundle_checksum": "f" * 64}),
    ("compliance", {"gates": ["G0"]}),
    ("economics", {"quotas": replace(FIRST.quotas, per_goal=Budget(cost_usd="2"))}),
    ("economics", {"quotas": replace(FIRST.quotas, per_day=Budget(cost_usd="501"))}),
    ("economics", {"checksums": replace(FIRST.checksums, economics="f" * 64)}),
    ("economics", {"emergency_flags": EmergencyFlags(budget_override=True)}),
    ("signatures", {"signing": SigningRule(threshold=2)}),
    ("signatures", {"kms_key_ref": "awskms:other"}),
    ("determinism", {"baselines": Baselines(determinism_per_mille=900)}),
    ("determinism", {"baselines": Baselines(thinking_tokens=1)}),
    ("evidence", {"evidence": Evidence(decision_days=1)}),
    ("evidence", {"evidence": Evidence(signature_log_days=1)}),
    ("lifecycle", {"lifecycle": "active"}),
    ("lifecycle", {"retired_refs": ["a" * 64]}),
]
FREE: list[dict[str, Any]] = [
    {},
    {"emergency_flags": EmergencyFlags(halted=True)},
    {"emergency_flags": EmergencyFlags(human_approval_required=True)},
    {"lifecycle": "retired"},
]


def reason(make: Any) -> str:
    with pytest.raises(ContractError) as caught:
        make()
    assert caught.value.detail
    return caught.value.reason


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


def test_every_class_of_change_is_seen_and_by_one_name_only() -> None:
    held = frozen().head.contract
    for change, more in CHANGES:
        assert changes_between(held, replace(held, **more)) == [change], more
    asking = replace(held, emergency_flags=EmergencyFlags(human_approval_required=True))
    assert changes_between(asking, held) == ["compliance"]
    assert changes_between(held, asking) == []
    # Whatever a contract says is in one of the classes, or is free on purpose.
    classed = {name for _, more in CHANGES for name in more} | {"emergency_flags"}
    about = {
        "schema",
        "workspace",
        "contract_version",
        "previous_contract_ref",
        "issued_at",
        "origin",
        "change_request",
    }
    assert set(Contract.__struct_fields__) == classed | about
    parts = {"quotas": Quotas, "checksums": Checksums, "baselines": Baselines, "evidence": Evidence}
    assert parts.keys() <= classed


@pytest.mark.parametrize(("change", "more"), CHANGES)
def test_a_frozen_contract_changes_only_by_an_approved_request(change: Any, more: dict[str, Any]) -> None:
    chain = frozen()
    assert reason(lambda: grown(chain, ROOT, ADA, GRACE, **more)) == "frozen"
    wanted = asked(after(chain, **more), change)
    assert chain.extended(sign_contract(wanted, [ROOT]), SIGNERS).head.contract == wanted
    assert chain.extended(sign_contract(wanted, [GRACE]), SIGNERS).head.contract == wanted
    own = sign_contract(wanted, [ADA])
    assert reason(lambda: chain.extended(own, SIGNERS)) == "change_not_approved"
    assert grown(chain_of(), **more | {"lifecycle": "active"}).head.contract.contract_version == 2, (
        "unfrozen: no request"
    )


@pytest.mark.parametrize("more", FREE)
def test_a_frozen_contract_can_always_be_stopped(more: dict[str, Any]) -> None:
    assert grown(frozen(), **more).head.contract.contract_version == 3


def test_two_changes_in_one_request_are_refused() -> None:
    chain = frozen()
    both = after(chain, gates=["G0"], evidence=Evidence(decision_days=1))
    assert reason(lambda: chain.extended(sign_contract(asked(both, "compliance"), [ROOT]), SIGNERS)) == "batched"


def test_a_request_serves_once_for_one_version_and_as_it_was_asked() -> None:
    chain = frozen()
    wanted = asked(after(chain, gates=["G0"]), "compliance")
    chain = chain.extended(sign_contract(wanted, [ROOT]), SIGNERS)
    more = after(chain, gates=["G1"])
    for request, expected in [
        (asked(more, "compliance"), "change_reused"),
        (asked(more, "compliance", request_id=other_id(), base="a" * 64), "change_mismatch"),
        (asked(more, "evidence", request_id=other_id()), "change_mismatch"),
        (asked(more, "compliance", request_id=other_id(), change_digest="a" * 64), "change_mismatch"),
        (asked(more, "compliance", request_id=other_id(), requested_at=timestamp(NOW * 2)), "change_mismatch"),
        (asked(after(chain), "compliance", request_id=other_id()), "change_mismatch"),
        (asked(more, "compliance", fixed_key("who"), request_id=other_id()), "untrusted_signer"),
        (asked(more, "compliance", by="human.grace", request_id=other_id()), "untrusted_signer"),
    ]:
        assert reason(lambda ask=request: chain.extended(sign_contract(ask, [ROOT]), SIGNERS)) == expected
    changed = asked(more, "compliance", request_id=other_id())
    assert changed.change_request is not None
    forged = replace(changed, change_request=replace(changed.change_request, why="something else"))
    assert reason(lambda: chain.extended(sign_contract(forged, [ROOT]), SIGNERS)) == "bad_signature"
    assert chain.extended(sign_contract(changed, [ROOT]), SIGNERS).head.contract.gates == ["G1"]


def other_id() -> str:
    from interlock.envelope.ids import new_id

    return new_id(NOW, b"request-02")


def test_a_request_needs_the_threshold_without_its_asker() -> None:
    chain = grown(grown(chain_of(), signing=SigningRule(threshold=2)), ROOT, ADA, lifecycle="frozen")
    wanted = asked(after(chain, gates=["G0"]), "compliance")
    assert reason(lambda: chain.extended(sign_contract(wanted, [ROOT, ADA]), SIGNERS)) == "change_not_approved"
    assert chain.extended(sign_contract(wanted, [ROOT, GRACE]), SIGNERS).head.contract == wanted


def hop(chain: Chain, **more: Any) -> Envelope:
    """A task of the orchestrator under the chain's first version."""
    context = PolicyContext(policy_bundle="b" * 64, contract_ref=chain.versions[0].ref, capabilities=["skill:*"])
    return replace(make("task").envelope, policy_context=replace(context, **more))


def test_hops_move_under_the_version_they_began_with() -> None:
    chain = grown(chain_of(), policy_bundle_checksum="c" * 64)
    assert check_contract(hop(chain), chain).ok
    assert check_contract(hop(chain, policy_bundle="c" * 64, contract_ref=chain.head.ref), chain).ok
    assert check_contract(hop(chain, capabilities=["skill:mapping-context"]), chain).ok


def test_a_goal_begins_with_no_more_than_its_contract_allows_one() -> None:
    """Whatever a gateway gone wrong admits."""
    chain = chain_of()
    most = chain.head.contract.quotas.per_goal
    intake = replace(make("intake").envelope, policy_context=hop(chain).policy_context)
    for more in ({}, {"cost_usd": "1.000001"}, {"actions": 11}, {"wall_ms": 1}):
        budget = replace(most, **more)
        begun = replace(intake, budget=budget, thinking_budget=budget.thinking_tokens)
        assert check_contract(begun, chain).reason is (Reason.CONTRACT_MISMATCH if more else Reason.OK), more
        overridden = grown(chain, emergency_flags=EmergencyFlags(budget_override=True))
        assert check_contract(begun, overridden).ok


def test_a_version_that_was_superseded_long_ago_starts_nothing_any_more() -> None:
    """A gateway gone wrong could otherwise begin goals under a laxer version for ever."""
    chain = grown(chain_of(), policy_bundle_checksum="c" * 64)
    last_ms = NOW + 3_600_000 + LINGERING_MS
    assert check_contract(replace(hop(chain), created_at=timestamp(last_ms)), chain).ok
    late = replace(hop(chain), created_at=timestamp(last_ms + 1))
    assert check_contract(late, chain).reason is Reason.CONTRACT_MISMATCH
    assert check_contract(late, chain_of()).ok, "the newest version has no end"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"contract_ref": ""}, Reason.CONTRACT_MISMATCH),
        ({"contract_ref": "a" * 64}, Reason.CONTRACT_UNKNOWN),
        ({"policy_bundle": "c" * 64}, Reason.CONTRACT_MISMATCH),
        ({"policy_bundle": ""}, Reason.CONTRACT_MISMATCH),
        ({"capabilities": ["skill:*", "audit:*"]}, Reason.CONTRACT_MISMATCH),
        ({"capabilities": ["*"]}, Reason.CONTRACT_MISMATCH),
    ],
)
def test_hops_that_leave_their_contract(more: dict[str, Any], expected: Reason) -> None:
    checked = check_contract(hop(chain_of(), **more), chain_of())
    assert (checked.reason, bool(checked.detail)) == (expected, True)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"lifecycle": "frozen"}, Reason.OK),
        ({"lifecycle": "retired"}, Reason.CONTRACT_MISMATCH),
        ({"emergency_flags": EmergencyFlags(halted=True)}, Reason.HALTED),
        ({"retired_refs": [chain_of().head.ref]}, Reason.CONTRACT_MISMATCH),
        ({"agents": [entry for entry in FIRST.agents if entry.agent != "orchestrator"]}, Reason.OK),
    ],
)
def test_a_new_version_stops_goals_begun_before_only_if_it_says_so(more: dict[str, Any], expected: Reason) -> None:
    chain = grown(chain_of(), **more)
    assert check_contract(hop(chain), chain).reason is expected


def test_agents_that_the_contract_does_not_name() -> None:
    chain = chain_of(replace(FIRST, agents=[entry for entry in FIRST.agents if entry.agent != "orchestrator"]))
    assert check_contract(hop(chain), chain).reason is Reason.CONTRACT_MISMATCH
    draft = chain_of(replace(FIRST, lifecycle="draft"))
    assert check_contract(hop(draft), draft).reason is Reason.CONTRACT_MISMATCH
    one = replace(
        FIRST, agents=[ContractAgent(agent="executor", capabilities=["skill:*"]), ContractAgent(agent="orchestrator.1")]
    )
    chain = chain_of(one)
    assert check_contract(hop(chain), chain).reason is Reason.CONTRACT_MISMATCH, "another instance"
    assert check_contract(replace(hop(chain), sender="orchestrator.1"), chain).ok


@pytest.mark.parametrize(
    ("held", "wanted", "over"),
    [
        (["skill:*"], ["skill:a", "skill:*", "skill:a*"], []),
        (["skill:a"], ["skill:*", "skill:ab", "skill:a"], ["skill:*", "skill:ab"]),
        (["skill:[ab]"], ["skill:a"], ["skill:a"]),
        (["skill:????"], ["skill:abcd"], ["skill:abcd"]),
        ([], ["x"], ["x"]),
        (["*"], ["anything", "*"], []),
    ],
)
def test_capabilities_only_narrow(held: list[str], wanted: list[str], over: list[str]) -> None:
    assert exceeding(held, wanted) == over
    assert all(holds(held, one) for one in set(wanted) - set(over))


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
