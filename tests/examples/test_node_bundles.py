"""The verifier written from docs/bundle-format.md in another language agrees with ours on whole bundles, true and changed."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from interlock.agents.audit.bundle import assemble
from interlock.agents.audit.bundled_hop import BundledHop
from interlock.agents.audit.hop_graph import HopAudit, audit_hops
from interlock.agents.audit.packing import packed, unpacked
from interlock.agents.audit.signature_log import signature_log
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.kms import Signer
from interlock.envelope.amounts import time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.contract import (
    ChangeRequest,
    Contract,
    EmergencyFlags,
    Evidence,
    SigningRule,
    change_message,
    sign_contract,
)
from interlock.envelope.contract_chain import decoded
from interlock.envelope.contract_change import change_digest
from interlock.envelope.ids import new_id, sha256_hex
from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.redrive import order_text, sign_redrive
from interlock.envelope.trust import load
from interlock.envelope.verification import Limits
from scripts.record_history import HISTORIES, INTO, fixed_key
from tests.agents.audit.test_bundle_log import CHANGES as LOG_CHANGES
from tests.envelope.test_vectors import node as found_node

SCRIPT = Path(__file__).parents[2] / "examples" / "node-verifier" / "bundle.mjs"
AUDITOR, HUMAN, ROOT = fixed_key("auditor", "U"), fixed_key("human", "U"), fixed_key("root", "O")


def content(name: str = "released") -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(unpacked((INTO / f"{name}.json.gz").read_bytes()))
    return found


def signed(sections: dict[str, Any], key: SigningKey = AUDITOR) -> bytes:
    signer = Signer("ed25519-nkey", key.key_id, "", key.sign)
    return assemble(sections, signer, content()["manifest"]["madeAt"])


def node(files: list[Path]) -> list[bool]:
    done = subprocess.run(
        [found_node(), str(SCRIPT), "--root", ROOT.key_id, *map(str, files)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == ""
    verdicts = [line.startswith("valid ") for line in done.stdout.splitlines()]
    assert len(verdicts) == len(files), done.stdout
    assert done.returncode == (0 if all(verdicts) else 1)
    return verdicts


def written(directory: Path, bundles: list[bytes]) -> list[Path]:
    paths = [directory / f"{number}.json.gz" for number in range(len(bundles))]
    for path, data in zip(paths, bundles, strict=True):
        path.write_bytes(data)
    return paths


def test_recorded_goals_are_valid_to_both() -> None:
    assert all(node([INTO / f"{name}.json.gz" for name in HISTORIES]))


def without_log(sections: dict[str, Any]) -> None:
    sections["log"] = None


def wire(sections: dict[str, Any], index: int, old: str, new: str) -> None:
    hop = sections["hops"][index]
    assert old in hop["wire"]
    hop["wire"] = hop["wire"].replace(old, new, 1)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a budget raised": lambda s: wire(s, 3, '"actions":', '"actions":1'),
    "a payload changed": lambda s: wire(s, 4, '"outcome":"done"', '"outcome":"dine"'),
    "a hop at another time": lambda s: s["hops"][4].update(storedMs=s["hops"][4]["storedMs"] + 10**8),
    "a hop under another id": lambda s: s["hops"][4].update(messageId=s["hops"][3]["messageId"]),
    "a hop on another subject": lambda s: s["hops"][4].update(subject=s["hops"][3]["subject"]),
    "hops in another order": lambda s: s["hops"].reverse(),
    "a hop inside dropped": lambda s: s["hops"].pop(2),
    "the completion dropped": lambda s: s["hops"].pop(),
    "another outcome": lambda s: s["goal"]["status"].update(outcome="blocked"),
    "another goal": lambda s: s["goal"].update(goalId=content("failed")["sections"]["goal"]["goalId"]),
    "no contract": lambda s: s["contract"].clear(),
    "a contract changed": lambda s: s.update(contract=[s["contract"][0].replace('"G8"', '"G9"')]),
    "a trust store changed": lambda s: s["trust"].update(
        store=s["trust"]["store"].replace('"version":1', '"version":2')
    ),
    "the signature log counts wrong": lambda s: s["signatures"]["summary"].update(signaturesVerified=1),
    "a section more": lambda s: s.update(more=[]),
    **{f"log: {name}": change for name, (change, _) in LOG_CHANGES.items()},
}


def test_what_a_trusted_key_signed_but_is_not_true_is_found_by_both(tmp_path: Path) -> None:
    bundles = []
    for change in CHANGES.values():
        sections = content()["sections"]
        change(sections)
        bundles.append(signed(sections))
    ours = [verify_bundle(data, [ROOT.key_id]).valid for data in bundles]
    theirs = node(written(tmp_path, bundles))
    told = dict(zip(CHANGES, zip(ours, theirs, strict=True), strict=True))
    assert {name: verdicts for name, verdicts in told.items() if any(verdicts)} == {}


def test_no_changed_byte_passes(tmp_path: Path) -> None:
    """In the file, and in its text with the outer digest made good again."""
    chance, data = random.Random(7), (INTO / "blocked.json.gz").read_bytes()
    text, bundles = unpacked(data), []
    for _ in range(120):
        place = chance.randrange(len(data))
        bundles.append(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
        place = chance.randrange(len(text))
        bundles.append(packed(text[:place] + bytes([text[place] ^ 1 << chance.randrange(7)]) + text[place + 1 :]))
    bundles += [data[:-1], data + b"\0", b"", data[: len(data) // 2], data + data]
    assert not any(node(written(tmp_path, bundles)))
    assert not any(verify_bundle(one, [ROOT.key_id]).valid for one in bundles)


def test_strangers_make_no_bundles_and_roots_are_pinned(tmp_path: Path) -> None:
    sections = content()["sections"]
    without_log(sections)
    stranger = signed(sections, SigningKey.generate())
    whole = content()
    whole["signature"] = content("failed")["signature"]
    elsewhere = [stranger, packed(canonical(whole))]
    assert not any(node(written(tmp_path, elsewhere)))
    (path,) = written(tmp_path, [signed(sections)])
    assert node([path]) == [True]
    other = SigningKey.generate("O").key_id
    done = subprocess.run(
        [found_node(), str(SCRIPT), "--root", other, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "INVALID" in done.stdout, "trust" in done.stdout) == (1, True, True)


def other_id() -> str:
    return new_id(1, b"another-id")


def copied(sections: dict[str, Any], *, key: SigningKey = HUMAN, wire: str = "", **more: Any) -> None:
    """A hop put back from the dead letters; more: fields of the order that are otherwise."""
    hop, last = sections["hops"][3], sections["hops"][-1]
    digest = sha256_hex(hop["wire"].encode())
    fields: dict[str, Any] = {
        "workspace": sections["goal"]["workspace"],
        "stream": "HOPS",
        "sequence": hop["sequence"],
        "digest": digest,
        "number": 1,
        "why": "mended",
        "by": "human",
        "at_ms": last["storedMs"],
    }
    order = sign_redrive(key, **fields | more)
    again = {"sequence": last["sequence"] + 10, "storedMs": last["storedMs"] + 5, "messageId": f"redrive-{digest}-1"}
    sections["hops"].append({**hop, **again, "redrive": order_text(order), "wire": wire or hop["wire"]})


COPIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "signed by another agent": lambda s: copied(s, key=fixed_key("executor", "U"), by="executor"),
    "signed with another's name": lambda s: copied(s, key=fixed_key("executor", "U")),
    "for other bytes": lambda s: copied(s, digest="a" * 64),
    "for another number": lambda s: copied(s, number=2),
    "for a later place": lambda s: copied(s, sequence=10**9),
    "for another stream": lambda s: copied(s, stream="GOALS"),
    "for another workspace": lambda s: copied(s, workspace="other"),
    "from the future": lambda s: copied(s, at_ms=s["hops"][-1]["storedMs"] + 10**6),
}


def test_copies_that_were_put_back_are_known_by_their_order_to_both(tmp_path: Path) -> None:
    """A copy without a good order is a stranger's noise: it is told apart, and the signature log may not call it verified."""
    whole = content()["sections"]
    copied(whole)
    twice = content()["sections"]
    copied(twice)
    (path,) = written(tmp_path, [signed(whole)])
    assert verify_bundle(path.read_bytes(), [ROOT.key_id]).valid
    assert node([path]) == [True]
    limits = msgspec.convert(whole["goal"]["limits"], Limits)
    trust = load(whole["trust"]["store"].encode(), [ROOT.key_id])

    def logged(sections: dict[str, Any], *, as_verified: bool) -> bytes:
        """With a signature log that covers the copy too, and says this of it."""
        messages = [msgspec.convert(hop, BundledHop).message for hop in sections["hops"]]
        audit = audit_hops(messages, trust, limits)
        hops = [*audit.hops[:-1], replace(audit.hops[-1], verified=as_verified, redriven=as_verified)]
        written_at = str(sections["signatures"]["writtenAt"])
        sections["signatures"] = signature_log(
            sections["goal"]["workspace"], sections["goal"]["goalId"], HopAudit(hops), written_at
        )
        return signed(sections)

    good = content()["sections"]
    copied(good)
    assert node(written(tmp_path, [logged(good, as_verified=True)])) == [True]
    told = {}
    for name, change in COPIES.items():
        verdicts = []
        for as_verified in (False, True):
            sections = content()["sections"]
            change(sections)
            data = logged(sections, as_verified=as_verified)
            verdicts += [verify_bundle(data, [ROOT.key_id]).valid, *node(written(tmp_path, [data]))]
        told[name] = verdicts
    assert told == {name: [True, True, False, False] for name in COPIES}


def test_a_copy_of_changed_bytes_is_found_by_both(tmp_path: Path) -> None:
    sections = content()["sections"]
    copied(sections, wire=sections["hops"][3]["wire"].replace('"actions":', '"actions":1', 1))
    data = signed(sections)
    assert not verify_bundle(data, [ROOT.key_id]).valid
    assert node(written(tmp_path, [data])) == [False]


def grown(sections: dict[str, Any], *keys: SigningKey, asks: Any = None, **more: Any) -> Contract:
    """One more version of the contract with these changes, signed by these keys (the root's); asks: a class of change."""
    before = sections["contract"][-1].encode()
    old = decoded(before).contract
    issued = timestamp(time_ms(old.issued_at) + 1_000)
    ref = {"contract_version": old.contract_version + 1, "previous_contract_ref": sha256_hex(before)}
    new = replace(old, **{**ref, "issued_at": issued, "change_request": None, **more})
    if asks:
        request = ChangeRequest(
            request_id=other_id(),
            base=sha256_hex(before),
            change=asks,
            why="needed",
            requested_by="human",
            requested_at=issued,
            change_digest=change_digest(new),
            key_id=HUMAN.key_id,
            signature="A" * 86,
        )
        new = replace(new, change_request=replace(request, signature=base64url(HUMAN.sign(change_message(request)))))
    sections["contract"].append(sign_contract(new, keys or [ROOT]).decode())
    return new


def frozen(sections: dict[str, Any], *keys: SigningKey, asks: Any = None, **more: Any) -> Contract:
    grown(sections, lifecycle="frozen")
    return grown(sections, *keys, asks=asks, **more)


CONTRACTS: dict[str, tuple[Callable[[dict[str, Any]], object], bool]] = {
    "a version more": (lambda s: grown(s, evidence=Evidence(decision_days=1)), True),
    "frozen and stopped": (lambda s: frozen(s, emergency_flags=EmergencyFlags(halted=True)), True),
    "frozen and retired": (lambda s: frozen(s, lifecycle="retired"), True),
    "frozen and changed on request": (lambda s: frozen(s, asks="evidence", evidence=Evidence(decision_days=1)), True),
    "frozen and changed": (lambda s: frozen(s, evidence=Evidence(decision_days=1)), False),
    "frozen and thawed": (lambda s: frozen(s, lifecycle="active"), False),
    "frozen, asked for something else": (
        lambda s: frozen(s, asks="compliance", evidence=Evidence(decision_days=1)),
        False,
    ),
    "frozen, two changes at once": (
        lambda s: frozen(s, asks="evidence", evidence=Evidence(decision_days=1), gates=["G0"]),
        False,
    ),
    "frozen, approved by the asker": (
        lambda s: frozen(s, HUMAN, asks="evidence", evidence=Evidence(decision_days=1)),
        False,
    ),
    "a request that is spent": (
        lambda s: (
            frozen(s, asks="evidence", evidence=Evidence(decision_days=1)),
            grown(s, asks="evidence", evidence=Evidence(decision_days=2)),
        ),
        False,
    ),
    "after it was retired": (lambda s: (grown(s, lifecycle="retired"), grown(s)), False),
    "back to a draft": (lambda s: grown(s, lifecycle="draft"), False),
    "taken back by the system": (lambda s: (grown(s, origin="proposed"), grown(s, origin="generated")), False),
    "issued before the one before": (lambda s: grown(s, issued_at="2020-01-01T00:00:00.000Z"), False),
    "a retired version back": (lambda s: (grown(s, retired_refs=["a" * 64]), grown(s, retired_refs=[])), False),
    "one signature of two": (lambda s: (grown(s, signing=SigningRule(threshold=2)), grown(s)), False),
    "two signatures of two": (
        lambda s: (grown(s, signing=SigningRule(threshold=2)), grown(s, ROOT, HUMAN)),
        True,
    ),
    "signed by an executor": (lambda s: grown(s, fixed_key("executor", "U")), False),
}


def test_which_contract_may_follow_which_is_the_same_to_both(tmp_path: Path) -> None:
    bundles = []
    for change, _ in CONTRACTS.values():
        sections = content()["sections"]
        change(sections)
        bundles.append(signed(sections))
    ours = [verify_bundle(data, [ROOT.key_id]).valid for data in bundles]
    theirs = node(written(tmp_path, bundles))
    wanted = {name: (valid, valid) for name, (_, valid) in CONTRACTS.items()}
    assert dict(zip(CONTRACTS, zip(ours, theirs, strict=True), strict=True)) == wanted


def test_only_an_auditor_or_a_human_signs_a_bundle(tmp_path: Path) -> None:
    agents = ("auditor", "human", "human.ada", "executor", "evaluator", "orchestrator", "gateway", "synthesizer")
    bundles = [signed(content()["sections"], fixed_key(agent, "U")) for agent in agents]
    wanted = [agent.startswith(("auditor", "human")) for agent in agents]
    assert [verify_bundle(data, [ROOT.key_id]).valid for data in bundles] == wanted
    paths = written(tmp_path, bundles)
    assert node(paths) == wanted
    done = subprocess.run([found_node(), str(SCRIPT), str(paths[3])], capture_output=True, text=True, check=False)
    assert "signer: signer_not_allowed: executor" in done.stdout


def test_what_is_no_file_has_an_answer_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = subprocess.run(
        [found_node(), str(SCRIPT), str(tmp_path), str(tmp_path / "fifo"), str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["INVALID"] * 3
