"""Bundles: valid as they were made, and found out after any change, by a stranger or by somebody with a trusted key."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.agents.audit.bundle import assemble, make_bundle
from interlock.agents.audit.packing import HEADER, MAX_BYTES, PackingError, packed, unpacked
from interlock.agents.audit.signature_log import signature_log
from interlock.agents.audit.verify_bundle import SECTIONS, BundleVerdict, verify_bundle
from interlock.agents.errors import UserError
from interlock.agents.kms import Signer, open_signer
from interlock.agents.status import AuditStatus, GoalStatus, write_audit, write_status
from interlock.bus.clock import ManualClock
from interlock.bus.deadletters import bury
from interlock.bus.journal import append, journal_subject
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import HOPS, declarations
from interlock.envelope.amounts import timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey
from tests.agents.audit.histories import (
    GOAL,
    KEYS,
    NOW,
    ROOT,
    WORKSPACE,
    History,
    goal_history,
    make_trust,
    signed_trust,
)

pytestmark = pytest.mark.anyio
MADE_AT = timestamp(NOW + 10_000)


def signer(key: SigningKey = KEYS["auditor"]) -> Signer:
    return Signer("ed25519-nkey", key.key_id, "", key.sign)


async def stored(history: History) -> MemoryTransport:
    """A broker that holds the history and what the roles would have written beside it."""
    clock = ManualClock(NOW)
    transport = MemoryTransport(clock)
    await transport.declare(declarations((WORKSPACE,)))
    for message, sealed in zip(history.messages, history.sealed, strict=True):
        clock.advance(message.stored_ms - clock.now_ms())
        await transport.publish(message.subject, message.data, message_id=sealed.envelope.id)
    act = next(sealed.envelope.id for sealed in history.sealed if sealed.envelope.intent == "act")
    effects = journal_subject(WORKSPACE, "effect", act)
    await append(
        transport, effects, b'{"type":"outcome"}', revision=await append(transport, effects, b"{}", revision=0)
    )
    await append(transport, journal_subject(WORKSPACE, "goal", GOAL), b'{"began":1}', revision=0)
    letter: dict[str, Any] = {"reason": "malformed", "detail": "x", "now_ms": NOW}
    await bury(transport, WORKSPACE, "human", HOPS.name, history.messages[-1], **letter)
    status = GoalStatus(goal_id=GOAL, workspace=WORKSPACE, goal="prove it", phase="ended", outcome="released")
    await write_status(transport, status)
    clock.advance(5_000)
    return transport


async def made(transport: MemoryTransport, directory: Path, **more: Any) -> dict[str, Any]:
    seed = directory / "au#di?tor.nk"
    seed.write_text(KEYS["auditor"].seed_text())
    arguments: dict[str, Any] = {
        "trust": signed_trust(),
        "roots": [ROOT.key_id],
        "key_uri": f"file:{seed}",
        "out": directory / "bundle.json.gz",
    }
    path = await make_bundle(transport, WORKSPACE, GOAL, **arguments | more)
    data = path.read_bytes()
    content: dict[str, Any] = msgspec.json.decode(gzip.decompress(data))
    return content


@pytest.fixture
async def sections(tmp_path: Path) -> dict[str, Any]:
    history = goal_history(2)
    transport = await stored(history)
    found: dict[str, Any] = (await made(transport, tmp_path))["sections"]
    return found


def checked(sections: dict[str, Any], key: SigningKey = KEYS["auditor"], at: str = MADE_AT) -> BundleVerdict:
    return verify_bundle(assemble(sections, signer(key), at), [ROOT.key_id])


def failed(verdict: BundleVerdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.ok]


def reason(verdict: BundleVerdict) -> str:
    return next(check.reason for check in verdict.checks if not check.ok)


async def test_a_bundle_holds_what_happened(tmp_path: Path) -> None:
    history = goal_history(2)
    transport = await stored(history)
    logged = signature_log(WORKSPACE, GOAL, audit_of(history), "2025-01-01T00:00:00.000Z")
    await transport.put_object("bundles", "log.json", canonical(logged))
    await write_audit(transport, WORKSPACE, AuditStatus(goal_id=GOAL, hops=12, verified=12, log="log.json"))
    content = await made(transport, tmp_path)
    sections = content["sections"]
    assert sorted(sections) == sorted(SECTIONS)
    assert [hop["wire"].encode() for hop in sections["hops"]] == [message.data for message in history.messages]
    assert [record["text"] for record in sections["effects"]] == ["{}", '{"type":"outcome"}']
    assert [record["text"] for record in sections["journal"]] == ['{"began":1}']
    assert len(sections["deadLetters"]) == 1
    assert sections["signatures"] == logged
    assert checked(sections).valid
    assert sections["goal"]["status"]["outcome"] == "released"
    assert set(sections["config"]) >= {"gates.yaml", "risk.yaml"}


def audit_of(history: History) -> Any:
    from interlock.agents.audit.hop_graph import audit_hops

    # The broker in memory numbers from 1.
    messages = [msgspec.structs.replace(message, sequence=n) for n, message in enumerate(history.messages, 1)]
    return audit_hops(messages, make_trust())


async def test_the_same_goal_gives_the_same_bytes_in_the_place_by_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = await stored(goal_history(1))
    monkeypatch.chdir(tmp_path)
    first = await made(transport, tmp_path, out=None)
    assert list(tmp_path.glob("audit/2025-11-21/*")) == [
        tmp_path / f"audit/2025-11-21/bundle-{WORKSPACE}-{GOAL}.json.gz"
    ]
    assert await made(transport, tmp_path) == first


async def test_what_cannot_be_bundled_is_said(tmp_path: Path) -> None:
    transport = await stored(goal_history(1))
    with pytest.raises(UserError, match="not_writable"):
        await made(transport, tmp_path, out=tmp_path)
    with pytest.raises(UserError, match="unknown_goal"):
        await make_bundle(transport, WORKSPACE, "nobody", trust=b"", roots=[], key_uri="file:x", out=None)
    running = GoalStatus(goal_id=GOAL, workspace=WORKSPACE, goal="prove it", phase="running")
    await write_status(transport, running)
    with pytest.raises(UserError, match="goal_runs"):
        await made(transport, tmp_path)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a leaf's parent dropped": (lambda s: s["hops"].pop(2), "hops"),
    "completion dropped": (lambda s: s["hops"].pop(), "completion"),
    "no hops": (lambda s: s["hops"].clear(), "hops"),
    "a hop twice": (lambda s: s["hops"].append(s["hops"][3]), "order"),
    "order": (lambda s: s["hops"].reverse(), "order"),
    "another byte": (lambda s: s["hops"][4].update(wire=s["hops"][4]["wire"].replace("done", "dono")), "hops"),
    "another time": (lambda s: s["hops"][4].update(storedMs=NOW + 10**8), "hops"),
    "another subject": (lambda s: s["hops"][4].update(subject=s["hops"][3]["subject"]), "hops"),
    "another outcome": (lambda s: s["goal"]["status"].update(outcome="failed"), "completion"),
    "another goal": (lambda s: s["goal"].update(goalId="0" * 36), "goal"),
    "another workspace": (lambda s: s["goal"].update(workspace="other"), "goal"),
    "tighter limits": (lambda s: s["goal"]["limits"].update(max_ttl_ms=1), "hops"),
    "another trust store": (lambda s: s["trust"].update(store=s["trust"]["store"].replace(":3,", ":4,")), "trust"),
    "no trust store": (lambda s: s["trust"].update(store=""), "trust"),
    "a section missing": (lambda s: s.pop("ledger"), "sections"),
    "a section more": (lambda s: s.update(more=[]), "sections"),
    "hops of no shape": (lambda s: s.update(hops={"a": 1}), "form"),
    "goal of no shape": (lambda s: s.update(goal=None), "form"),
    "trust of no shape": (lambda s: s.update(trust=[1]), "form"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_not_even_a_trusted_key_can_bundle_what_did_not_happen(sections: dict[str, Any], change: str) -> None:
    assert checked(sections).valid
    apply, check = CHANGES[change]
    apply(sections)
    assert check in failed(checked(sections))


async def test_a_signature_log_that_says_otherwise_is_found(sections: dict[str, Any]) -> None:
    log = signature_log(WORKSPACE, GOAL, audit_of(goal_history(2)), MADE_AT)
    assert checked(sections | {"signatures": log}).valid
    for number in range(len(log["operations"])):
        other = msgspec.json.decode(msgspec.json.encode(log))
        other["operations"][number]["verified"] = False
        assert failed(checked(sections | {"signatures": other})) == ["signature log"]
    shorter = log | {"operations": log["operations"][:-1]}
    assert failed(checked(sections | {"signatures": shorter})) == ["signature log"]
    assert failed(checked(sections | {"signatures": {}})) == ["form"]


async def test_who_may_sign_a_bundle(sections: dict[str, Any]) -> None:
    stranger = checked(sections, SigningKey.generate())
    assert (failed(stranger), reason(stranger)) == (["signer"], "unknown_key")
    late = checked(sections, at=timestamp(NOW + 10**10))
    assert (failed(late), reason(late)) == (["signer"], "key_expired")
    for agent in ("gateway", "orchestrator", "evaluator", "executor", "synthesizer"):
        verdict = checked(sections, KEYS[agent])
        assert (failed(verdict), reason(verdict)) == (["signer"], "signer_not_allowed"), agent
    revoked = signed_trust(auditor={"revoked_at": timestamp(NOW + 9_000)}).decode()
    after = sections | {"trust": sections["trust"] | {"store": revoked}}
    assert (failed(checked(after)), reason(checked(after))) == (["signer"], "key_revoked")
    assert checked(after, KEYS["human"]).valid


async def test_roots_are_those_that_are_pinned(sections: dict[str, Any]) -> None:
    data = assemble(sections, signer(), MADE_AT)
    assert not verify_bundle(data, [SigningKey.generate("O").key_id]).valid
    unpinned = verify_bundle(data)
    assert (unpinned.valid, unpinned.pinned) == (True, False)
    assert any("named by the bundle itself" in check.detail for check in unpinned.checks)


async def test_attestations_are_checked_too(tmp_path: Path) -> None:
    for key, expected in ((KEYS["executor"], []), (SigningKey.generate(), ["attestations"])):
        content = await made(await stored(goal_history(2, attested_by=key)), tmp_path)
        verdict = checked(content["sections"])
        assert failed(verdict) == expected
        told = next(check.detail for check in verdict.checks if check.name == "attestations")
        assert told.startswith("0 of 2" if expected else "2 of 2")


async def test_versions_and_schemes_of_another_time_are_refused(sections: dict[str, Any]) -> None:
    content = msgspec.json.decode(unpacked(assemble(sections, signer(), MADE_AT)))
    for name, value, check in (
        ("bundleVersion", 2, "version"),
        ("bundleVersion", True, "version"),
        ("bundleVersion", None, "version"),
        ("scheme", "rot13", "signature"),
        ("sections", [], "signature"),
        ("keyId", None, "signature"),
    ):
        other = content | {"manifest": content["manifest"] | {name: value}}
        assert check in failed(verify_bundle(packed(canonical(other)))), (name, value)
    shapes: list[Any] = [[], {}, {"manifest": [], "sections": [], "signature": 1}, content | {"more": 1}, None, 7]
    for odd in shapes:
        assert failed(verify_bundle(packed(canonical(odd)))) == ["form"]


async def test_no_single_bit_of_a_bundle_is_free(sections: dict[str, Any]) -> None:
    data = assemble(sections, signer(), MADE_AT)
    # Every bit of the outer layers, where freedom would be, and of some of the text.
    places = [*range(100), *range(100, len(data) - 40, 97), *range(len(data) - 40, len(data))]
    for place in places:
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            assert failed(verify_bundle(bytes(changed), [ROOT.key_id])) == ["form"], (place, bit)
    for mutated in (data[:-1], data + b"\0", data + data, b"", data[:9], data[1:], HEADER, gzip.compress(b"{}")):
        assert failed(verify_bundle(mutated)) == ["form"]


@given(st.binary(max_size=2000), st.data())
@settings(max_examples=200, deadline=None)
def test_packing_has_one_form(text: bytes, data: st.DataObject) -> None:
    whole = packed(text)
    assert unpacked(whole) == gzip.decompress(whole) == text
    place = data.draw(st.integers(0, len(whole) - 1))
    value = data.draw(st.integers(1, 255))
    changed = whole[:place] + bytes([whole[place] ^ value]) + whole[place + 1 :]
    with pytest.raises(PackingError):
        unpacked(changed)


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.agents.audit.packing.MAX_BYTES", 1000)
    with pytest.raises(PackingError, match="at most 1000"):
        packed(b"\0" * 1001)
    monkeypatch.undo()
    bomb = packed(b"\0" * 100_000)
    monkeypatch.setattr("interlock.agents.audit.packing.MAX_BYTES", 1000)
    with pytest.raises(PackingError, match="more than 1000 bytes"):
        unpacked(bomb)
    assert MAX_BYTES > 1 << 20


@given(
    st.recursive(
        st.none() | st.integers(0, 9) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["manifest", "sections", "signature", "hops", "a"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_no_content_raises(value: Any) -> None:
    assert not verify_bundle(packed(canonical(value))).valid
    signed = assemble(dict.fromkeys(SECTIONS, value), signer(), MADE_AT)
    assert not verify_bundle(signed).valid


def test_another_deflate_of_the_same_text_is_another_file() -> None:
    stored_only = zlib.compressobj(0, zlib.DEFLATED, -15)
    body = stored_only.compress(b"{}") + stored_only.flush()
    whole = packed(b"{}")
    assert body not in whole
    with pytest.raises(PackingError, match="changed or cut"):
        unpacked(whole[: len(HEADER) + 32] + body + whole[-8:])


def test_verifying_needs_neither_network_nor_broker_libraries() -> None:
    code = (
        "import sys; import interlock.agents.audit.verify_bundle as v; v.verify_bundle(b'');"
        "print([m for m in ('nats', 'asyncio', 'anyio', 'socket', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "unknown_kms"),
        ("key.nk", "unknown_kms"),
        ("awsksm:arn", "unknown_kms"),
        ("FILE:x", "unknown_kms"),
        ("file:", "no_key"),
        ("file:nowhere.nk", "no_key"),
        ("file:///nowhere.nk", "no_key"),
        ("file:text", "bad_key"),
        ("file:binary", "no_key"),
        ("file:public", "bad_key"),
    ],
)
def test_keys_that_cannot_sign_are_said(uri: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "public").write_text(KEYS["auditor"].key_id)
    with pytest.raises(UserError, match=reason) as caught:
        open_signer(uri)
    assert "Name a seed" in str(caught.value) or "Known: file:" in str(caught.value)


def test_a_seed_may_be_named_in_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.nk").write_text(KEYS["auditor"].seed_text() + "\n")
    for uri in ("file:a b.nk", f"file:{tmp_path}/a b.nk", f"file://{tmp_path}/a b.nk"):
        assert open_signer(uri).key_id == KEYS["auditor"].key_id
