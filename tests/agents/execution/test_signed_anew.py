"""Attestations of an executor whose key was exchanged between the run and its answer."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from interlock.agents.execution.results import signed_anew
from interlock.envelope.amounts import timestamp
from interlock.envelope.keys import SigningKey
from interlock.envelope.signing import attest, is_valid_attestation
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore

NOW_MS = 1_800_000_000_000
OLD, NEW, REVOKED, OTHERS, STRANGER = (SigningKey(bytes([n]) * 32) for n in range(1, 6))
STATEMENT: dict[str, object] = {"_type": "t", "subject": [{"name": "output.json"}]}


def record(key: SigningKey, **more: str) -> KeyRecord:
    window = {"not_before": timestamp(NOW_MS - 10_000), "not_after": timestamp(NOW_MS + 10_000)}
    return KeyRecord(key_id=key.key_id, **(window | more))


TRUST = Trust(
    TrustStore(
        workspace="w",
        version=1,
        issued_at=timestamp(NOW_MS),
        agents=[
            AgentRecord(
                agent="executor", keys=[record(OLD), record(NEW), record(REVOKED, revoked_at=timestamp(NOW_MS - 1))]
            ),
            AgentRecord(agent="synthesizer", keys=[record(OTHERS)]),
        ],
    )
)


def test_what_the_former_key_signed_is_signed_by_the_one_in_use() -> None:
    (one,) = signed_anew([attest(STATEMENT, OLD)], "executor.2", NEW, TRUST, NOW_MS)
    assert (one.key_id, one.statement) == (NEW.key_id, STATEMENT)
    assert is_valid_attestation(one)


@pytest.mark.parametrize("key", [NEW, REVOKED, OTHERS, STRANGER])
def test_nothing_else_is(key: SigningKey) -> None:
    given = [attest(STATEMENT, key)]
    assert signed_anew(given, "executor", NEW, TRUST, NOW_MS) == given


def test_nor_what_was_changed() -> None:
    given = [replace(attest(STATEMENT, OLD), statement={"_type": "other"})]
    assert signed_anew(given, "executor", NEW, TRUST, NOW_MS) == given
