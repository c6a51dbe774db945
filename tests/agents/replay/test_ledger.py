"""The ledger's decisions about a goal, decided again from the balances that were recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interlock.agents.replay.code import Code, load_code
from interlock.agents.replay.decide import replay
from interlock.agents.replay.ledger import Asked, decided, refused_again
from interlock.agents.replay.recording import Recording, Refused, from_bundle
from interlock.bus.ledger.balance import Balance, Reservation, end, renew, reserve, settle
from interlock.envelope.amounts import Amount
from interlock.envelope.verdict import Reason
from scripts.record_history import INTO, WORKSPACE
from tests.agents.conftest import CONFIG, HERE

LIMIT = Amount(0, 100, 100, 100)
KEYS = [f"hop-{number}" for number in range(6)]
ASKED = {
    key: Asked(number + 10, Reservation(held := Amount(0, 30, 20, 10), 1_000, slack=held))
    for number, key in enumerate(KEYS)
}


@pytest.fixture(scope="module")
def code() -> Code:
    return load_code(CONFIG, skills=(HERE / "skills",), playbooks=(), workspace=WORKSPACE, environment="development")


def recorded(name: str) -> Recording:
    return from_bundle((INTO / f"{name}.json.gz").read_bytes())


keys = st.lists(st.sampled_from(KEYS), max_size=4, unique=True)
batches = st.tuples(st.booleans(), keys, keys, st.integers(0, 40), st.booleans(), st.booleans())


def after(balance: Balance, batch: tuple[bool, list[str], list[str], int, bool, bool]) -> Balance:
    """What is asked at one time: some reserve, some settle, in this order or that; a lease is renewed; the goal ends."""
    reserving_first, taken, given_back, used, leased, ends = batch
    for reserving in (reserving_first, not reserving_first):
        for key in taken if reserving else given_back:
            if reserving:
                balance, _ = reserve(balance, key, ASKED[key].reservation)
            else:
                balance, _ = settle(balance, key, Amount(0, used, 0, 0))
    if leased:
        balance, _ = renew(balance, "lease", Amount(0, min(used, 5), 0, 0), 600 + used)
    return end(balance) if ends and used > 35 else balance


@given(st.lists(batches, max_size=12))
def test_whatever_was_asked_is_decided_the_same_again(
    rounds: list[tuple[bool, list[str], list[str], int, bool, bool]],
) -> None:
    balance = Balance(scope="goal.g", parent="day.2026-11-21", limit=LIMIT)
    stored = [msgspec.json.encode(balance)]
    balance, _ = reserve(balance, "lease", Reservation(Amount(0, 5, 5, 5), 500))
    stored.append(msgspec.json.encode(balance))
    for batch in rounds:
        before, balance = balance, after(balance, batch)
        if balance != before:
            stored.append(msgspec.json.encode(balance))
    assert list(decided(stored, "goal.g", LIMIT, ASKED)) == [None] * len(stored)


@pytest.mark.parametrize("name", ["released", "fan-out", "approved", "failed"])
def test_every_recorded_balance_is_a_decision(name: str, code: Code) -> None:
    recording = recorded(name)
    with_ledger, without = replay(recording, code), replay(replace(recording, ledger=[]), code)
    assert with_ledger.first is None
    assert with_ledger.decisions - without.decisions == len(recording.ledger) > 2


def edited(recording: Recording, index: int, edit: dict[str, Any]) -> Recording:
    balances = list(recording.ledger)
    balance = msgspec.json.decode(balances[index])
    balances[index] = msgspec.json.encode(balance | edit)
    return replace(recording, ledger=balances)


@pytest.mark.parametrize(
    ("index", "edit", "path"),
    [
        (0, {"limit": [0, 2_000_000, 10_000_000, 10_000]}, "$.limit"),
        (0, {"scope": "goal.other"}, "$.scope"),
        (1, {"ended": True}, "$.closed"),
        (2, {"used": [0, 0, 0, 0]}, "$.used"),
        (2, {"breached": True}, "$.breached"),
        (2, {"alerted": 90}, "$.alerted"),
    ],
)
def test_a_balance_that_does_not_follow_is_found(index: int, edit: dict[str, Any], path: str, code: Code) -> None:
    found = [one for one in replay(edited(recorded("failed"), index, edit), code).divergences if one.kind == "ledger"]
    assert found
    assert any(one.path.startswith(path) for one in found), found


def test_a_balance_that_granted_more_than_was_left_is_found(code: Code) -> None:
    recording = recorded("failed")
    balances = [msgspec.json.decode(one) for one in recording.ledger]
    for balance in balances:
        balance["used"] = [0, 999_999, 0, 0]
    tampered = replace(recording, ledger=[msgspec.json.encode(one) for one in balances])
    found = [one for one in replay(tampered, code).divergences if one.kind == "ledger"]
    assert "$.open" in found[1].path
    assert found[1].sequence in {hop.sequence for hop in recording.hops}


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[" * 100_000, b'{"scope":1}'])
def test_what_is_no_balance_is_a_divergence(data: bytes, code: Code) -> None:
    report = replay(replace(recorded("failed"), ledger=[data]), code)
    assert [one.kind for one in report.divergences] == ["ledger"]


def test_what_was_refused_for_its_cost_is_refused_by_some_balance(code: Code) -> None:
    full = Balance(scope="goal.g", limit=LIMIT, used=Amount(0, 90, 0, 0))
    empty = Balance(scope="goal.g", limit=LIMIT)
    assert refused_again([msgspec.json.encode(empty), msgspec.json.encode(full)], "hop-0", ASKED["hop-0"])
    assert not refused_again([msgspec.json.encode(empty), b"x"], "hop-0", ASKED["hop-0"])
    assert refused_again([b"x"], "hop-0", ASKED["hop-0"]), "of nothing nothing follows"
    recording = recorded("failed")
    task = next(hop for hop in recording.hops if ".role.executor." in hop.subject)
    refusal = Refused(str(Reason.OVER_BUDGET), "over_budget: nothing left", task.stored_ms)
    told = {("executor", hop.sequence): refusal for hop in (task, recording.hops[0])}  # a letter may lie
    found = [one for one in replay(replace(recording, refused=told), code).divergences if one.kind == "ledger"]
    # The balance that holds it already grants it again, and so do those before it.
    assert [(one.sequence, one.now) for one in found] == [(task.sequence, "granted")]
