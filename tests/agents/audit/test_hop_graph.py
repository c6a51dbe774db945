"""A goal's recorded hops: any change to any of them is found, and so is any change to a bundle of them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.agents.audit.auditor import goal_messages
from interlock.agents.audit.bundle import make_bundle
from interlock.agents.audit.hop_graph import Memo, audit_hops
from interlock.agents.audit.packing import packed
from interlock.agents.audit.signature_log import signature_log
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.errors import UserError
from interlock.agents.trace.render import lines_of
from interlock.agents.trace.tree import tree_of
from interlock.bus.transport import Message
from interlock.envelope.canonical import canonical
from interlock.envelope.verdict import Reason

pytestmark = pytest.mark.anyio
RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class Recorded:
    """The hops of a released goal, the trust they were signed under, and its bundle."""

    messages: list[Message]
    trust: Any
    bundle: bytes
    root: str


@pytest.fixture
async def recorded(house: Any, tmp_path: Path) -> Recorded:
    status = await house.run(house.goal([{"id": f"t{n}", "skill": "doing-nothing"} for n in range(3)]))
    assert status.outcome == "released"
    await house.audited(status.goal_id)
    found = Recorded()
    found.messages = await goal_messages(house.transport, house.workspace, status.goal_id)
    found.trust, found.root = house.keys.trust, house.keys.root.key_id
    key = tmp_path / "auditor.nk"
    key.write_text(house.keys.agents["auditor"].seed_text())
    arguments = {"trust": house.keys.signed, "roots": [found.root], "out": tmp_path / "b.gz"}
    contract = [version.data for version in house.keys.chain.versions]
    path = await make_bundle(
        house.transport, house.workspace, status.goal_id, contract=contract, key_uri=f"file:{key}", **arguments
    )
    found.bundle = path.read_bytes()
    with pytest.raises(UserError, match="unknown_kms"):
        await make_bundle(house.transport, house.workspace, status.goal_id, key_uri="floppy:a", **arguments)
    return found


async def test_what_was_recorded_verifies_and_every_change_is_found(recorded: Recorded) -> None:
    messages, trust = recorded.messages, recorded.trust
    audit = audit_hops(messages, trust, memo=Memo(4))
    assert audit.verified == len(messages) == 17
    log = signature_log("w", "g", audit, "now")
    assert log["summary"]["status"] == "PASS"
    for index, message in enumerate(messages):
        position = len(message.data) // 2
        flipped = message.data[:position] + bytes([message.data[position] ^ 1]) + message.data[position + 1 :]
        changed = [*messages]
        changed[index] = msgspec.structs.replace(message, data=flipped)
        assert audit_hops(changed, trust).verified < len(messages)
        repeated = msgspec.structs.replace(message, sequence=10**6)
        again = audit_hops([*messages, repeated], trust)
        assert again.hops[-1].reason is Reason.REPLAYED
        renamed = msgspec.structs.replace(message, headers={"Nats-Msg-Id": "x"})
        assert audit_hops([renamed], trust).hops[0].reason is Reason.WRONG_MESSAGE_ID
    # A hop in the middle that is gone leaves its children without a parent; a leaf leaves no trace here.
    without_verdict = audit_hops(messages[:2] + messages[3:], trust)
    assert {hop.reason for hop in without_verdict.hops if not hop.verified} == {Reason.BAD_PARENT}


async def test_the_tree_shows_every_hop_below_its_cause(recorded: Recorded) -> None:
    lines = list(lines_of(tree_of(recorded.messages, recorded.trust)))
    assert len(lines) == len(recorded.messages)
    assert lines[0].startswith("1 gateway → orchestrator plan intake")
    assert all(line.endswith("✓") for line in lines)
    hostile = msgspec.structs.replace(recorded.messages[0], data=b"\x1b[31m{")
    told = "\n".join(lines_of(tree_of([hostile], recorded.trust)))
    assert "\x1b" not in told
    assert "✗ malformed" in told


async def test_a_bundle_is_valid_only_as_it_was_made(recorded: Recorded) -> None:
    data = recorded.bundle
    verdict = verify_bundle(data, [recorded.root])
    assert (verdict.valid, verdict.pinned) == (True, True), verdict.checks
    assert verify_bundle(data).valid
    assert not verify_bundle(data).pinned
    assert not verify_bundle(data, ["O" + "A" * 55]).valid
    step = max(1, len(data) // 400)
    for position in range(0, len(data), step):
        changed = data[:position] + bytes([data[position] ^ 0x20]) + data[position + 1 :]
        assert not verify_bundle(changed, [recorded.root]).valid, position
    for mutated in (data[:-1], data + b"\0", data + data, b"", b"\x1f\x8b", gzip.compress(b"{}"), packed(b"[]")):
        assert not verify_bundle(mutated, [recorded.root]).valid


@pytest.mark.parametrize("change", ["drop", "insert", "reorder", "resign", "version", "status"])
async def test_a_bundle_put_together_anew_is_found_out(recorded: Recorded, change: str) -> None:
    """By somebody without the auditor's key: the manifest no longer fits, or its signature does not."""
    content = msgspec.json.decode(gzip.decompress(recorded.bundle))
    hops = content["sections"]["hops"]
    if change == "drop":
        del hops[5]
    elif change == "insert":
        hops.insert(3, dict(hops[2]))
    elif change == "reorder":
        hops[3], hops[4] = hops[4], hops[3]
    elif change == "version":
        content["manifest"]["bundleVersion"] = 2
    elif change == "status":
        content["sections"]["goal"]["status"]["outcome"] = "blocked"
    else:
        content["manifest"]["keyId"] = recorded.root
    verdict = verify_bundle(packed(canonical(content)), [recorded.root])
    assert not verdict.valid
    assert any(not check.ok and check.detail for check in verdict.checks)


@RELAXED
@given(st.binary(max_size=300))
def test_arbitrary_files_are_just_invalid(data: bytes) -> None:
    assert not verify_bundle(data).valid
    assert not verify_bundle(packed(data)).valid
