"""The next version of a trust store: one higher, nothing forgotten, and never better than before for a bad key."""

from __future__ import annotations

import pytest

from interlock.envelope.amounts import timestamp
from interlock.envelope.keys import HeldKey, SigningKey, is_signed_by
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore, load, sign_store
from interlock.envelope.trust_changes import UnknownKey, ended, enrolled, good_keys, revoked
from interlock.envelope.verdict import Reason

NOW_MS = 1_800_000_000_000
ROOT, FIRST, SECOND = SigningKey(bytes(32), "O"), SigningKey(b"1" * 32), SigningKey(b"2" * 32)
STORE = TrustStore(
    workspace="w",
    version=7,
    issued_at=timestamp(NOW_MS - 1_000),
    agents=[
        AgentRecord(
            agent="executor",
            keys=[KeyRecord(key_id=FIRST.key_id, not_before=timestamp(0), not_after=timestamp(NOW_MS + 1_000))],
            capabilities=["skill:*"],
        )
    ],
)
NOBODY = AgentRecord(agent="executor", keys=[], capabilities=["everything"])


def judged(store: TrustStore, key: SigningKey, at_ms: int) -> Reason:
    return Trust(store).judge_key(key.key_id, "executor", at_ms, at_ms)


def both() -> TrustStore:
    return enrolled(STORE, NOBODY, SECOND.key_id, now_ms=NOW_MS, from_ms=NOW_MS, until_ms=NOW_MS + 5_000)


def test_a_second_key_stands_beside_the_first() -> None:
    store = both()
    assert store.version == 8
    assert [record.agent for record in store.agents] == ["executor"]
    assert store.agents[0].capabilities == ["skill:*"], "an enrolment widened what the agent may"
    assert [judged(store, key, NOW_MS) for key in (FIRST, SECOND)] == [Reason.OK, Reason.OK]
    assert [key.key_id for key in good_keys(store, "executor", NOW_MS)] == [FIRST.key_id, SECOND.key_id]
    assert load(sign_store(store, [ROOT]), [ROOT.key_id]).version == 8


def test_a_new_agent_brings_its_rights() -> None:
    ada = AgentRecord(agent="human.ada", keys=[], capabilities=["approve:*"], trust_level=100)
    store = enrolled(STORE, ada, SECOND.key_id, now_ms=NOW_MS, from_ms=NOW_MS, until_ms=NOW_MS + 5_000)
    found = Trust(store).find(SECOND.key_id)
    assert found is not None
    assert (found.agent, found.capabilities, found.trust_level) == ("human.ada", ("approve:*",), 100)


def test_an_end_can_only_come_nearer() -> None:
    store = ended(both(), SECOND.key_id, now_ms=NOW_MS, at_ms=NOW_MS + 100)
    assert judged(store, SECOND, NOW_MS + 99) is Reason.OK
    assert judged(store, SECOND, NOW_MS + 100) is Reason.KEY_EXPIRED
    assert (
        judged(ended(store, SECOND.key_id, now_ms=NOW_MS, at_ms=NOW_MS + 9_000), SECOND, NOW_MS + 100) is not Reason.OK
    )
    assert good_keys(store, "executor", NOW_MS + 100)[0].key_id == FIRST.key_id


def test_a_revocation_counts_from_now_and_stays() -> None:
    store = revoked(both(), FIRST.key_id, "stolen", now_ms=NOW_MS)
    assert judged(store, FIRST, NOW_MS - 1) is Reason.OK
    assert judged(store, FIRST, NOW_MS) is Reason.KEY_REVOKED
    later = revoked(store, FIRST.key_id, "again", now_ms=NOW_MS + 500)
    key = later.agents[0].keys[0]
    assert (key.revoked_at, key.revoked_why, later.version) == (timestamp(NOW_MS), "stolen", 10)
    assert [key.key_id for key in good_keys(later, "executor", NOW_MS)] == [SECOND.key_id]


def test_a_key_nobody_has() -> None:
    with pytest.raises(UnknownKey):
        revoked(STORE, SECOND.key_id, "x", now_ms=NOW_MS)
    with pytest.raises(UnknownKey):
        ended(STORE, SECOND.key_id, now_ms=NOW_MS, at_ms=NOW_MS)


def test_a_held_key_becomes_its_successor() -> None:
    held = HeldKey(FIRST)
    assert (held.key_id, held.sign(b"x")) == (FIRST.key_id, FIRST.sign(b"x"))
    held.become(SECOND)
    assert held.key_id == SECOND.key_id
    assert is_signed_by(SECOND.key_id, b"x", held.sign(b"x"))
    assert held.seed_text() == SECOND.seed_text()
