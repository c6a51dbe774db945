"""Changes of a frozen contract: by class, by approved request, each request once."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from interlock.envelope.amounts import Budget, timestamp
from interlock.envelope.contract import (
    Baselines,
    Checksums,
    Contract,
    ContractAgent,
    EmergencyFlags,
    Evidence,
    Quotas,
    SigningRule,
    sign_contract,
)
from interlock.envelope.contract_change import changes_between
from tests.envelope.contracts import (
    ADA,
    FIRST,
    GRACE,
    NOW,
    ROOT,
    SIGNERS,
    after,
    asked,
    chain_of,
    fixed_key,
    frozen,
    grown,
    reason,
)

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
