"""The audit log in a bundle: records and hops agree both ways under a signed checkpoint, or the check `log` says where not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.agents.audit.bundle import assemble, make_bundle
from interlock.agents.audit.log import collecting
from interlock.agents.audit.log.bundled import ABSENT
from interlock.agents.audit.log.sources import log_subject, origin_of
from interlock.agents.audit.packing import unpacked
from interlock.agents.audit.verify_bundle import BundleVerdict, verify_bundle
from interlock.agents.errors import UserError
from interlock.agents.kms import Signer
from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint
from interlock.envelope.keys import SigningKey
from scripts.record_history import INTO, WORKSPACE, fixed_key

pytestmark = pytest.mark.anyio
AUDITOR, ROOT = fixed_key("auditor", "U"), fixed_key("root", "O")


def content(name: str = "released") -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(unpacked((INTO / f"{name}.json.gz").read_bytes()))
    return found


def checked(sections: dict[str, Any]) -> BundleVerdict:
    """As the holder of the auditor's key would sign it."""
    signer = Signer("ed25519-nkey", AUDITOR.key_id, "", AUDITOR.sign)
    return verify_bundle(assemble(sections, signer, content()["manifest"]["madeAt"]), [ROOT.key_id])


def failed(verdict: BundleVerdict) -> dict[str, str]:
    return {check.name: check.detail for check in verdict.checks if not check.ok}


def test_a_bundle_says_whether_the_log_proves_it() -> None:
    sections = content()["sections"]
    verdict = checked(sections)
    assert (verdict.valid, verdict.logged) == (True, True)
    verdict = checked(sections | {"log": None})
    assert (verdict.valid, verdict.logged) == (True, False)
    assert ABSENT in [check.detail for check in verdict.checks if check.name == "log"]


def forged(key: SigningKey, origin: str = origin_of(WORKSPACE), size: int | None = None) -> str:
    section = content()["sections"]["log"]
    root = base64.b64decode(section["checkpoint"].split("\n")[2])
    return sign_checkpoint(Checkpoint(origin, size or section["size"], root), key, key.key_id)


def swap(items: list[Any], one: int, other: int) -> None:
    items[one], items[other] = items[other], items[one]


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a record dropped": (lambda s: s["log"]["records"].pop(3), "was never recorded"),
    "all records dropped": (lambda s: s["log"]["records"].clear(), "was never recorded"),
    "a record twice": (lambda s: s["log"]["records"].insert(1, s["log"]["records"][0]), "comes after"),
    "records swapped": (lambda s: swap(s["log"]["records"], 0, 1), "comes after"),
    "paths swapped": (
        lambda s: s["log"]["records"][0].update(path=s["log"]["records"][1]["path"]),
        "is not in the log",
    ),
    "a path outside": (lambda s: s["log"]["records"][0]["path"].__setitem__(0, 10**6), "leaves the table"),
    "a path below zero": (lambda s: s["log"]["records"][0]["path"].__setitem__(0, -1), "leaves the table"),
    "a hash that is none": (lambda s: s["log"]["hashes"].__setitem__(0, "!"), "not base64"),
    "another digest": (
        lambda s: s["log"]["records"][0].update(line=s["log"]["records"][0]["line"].replace('"ok"', '"ko"')),
        "is not in the log",
    ),
    "a line that is none": (lambda s: s["log"]["records"][0].update(line="{}"), "malformed"),
    "another size": (lambda s: s["log"].update(size=s["log"]["size"] + 1), "speaks of"),
    "a stranger's checkpoint": (lambda s: s["log"].update(checkpoint=forged(SigningKey.generate())), "untrusted"),
    "a checkpoint by another role": (
        lambda s: s["log"].update(checkpoint=forged(fixed_key("executor", "U"))),
        "untrusted",
    ),
    "another log's checkpoint": (
        lambda s: s["log"].update(checkpoint=forged(AUDITOR, "interlock/other")),
        "wrong_origin",
    ),
    "a journal entry changed": (lambda s: s["journal"][2].update(text="{}"), "is not what was recorded"),
    "a journal entry dropped": (lambda s: s["journal"].pop(2), "but is not here"),
    "a journal entry inserted": (
        lambda s: s["journal"].insert(1, s["journal"][0] | {"sequence": s["journal"][1]["sequence"] - 1}),
        "was never recorded",
    ),
    "a leaf dropped": (lambda s: s["hops"].pop(-2), "but is not here"),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_does_not_fit_the_log_is_found_though_a_trusted_key_signed_it(name: str) -> None:
    sections = content()["sections"]
    change, detail = CHANGES[name]
    change(sections)
    verdict = checked(sections)
    assert not verdict.valid
    assert not verdict.logged
    assert detail in failed(verdict)["log"]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_bit_of_a_proof_is_free(data: st.DataObject) -> None:
    sections = content("failed")["sections"]
    hashes = sections["log"]["hashes"]
    place = data.draw(st.integers(0, len(hashes) - 1))
    raw = bytearray(base64.b64decode(hashes[place]))
    raw[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    hashes[place] = base64.b64encode(raw).decode()
    assert "log" in failed(checked(sections))


def test_a_log_of_another_shape_is_an_error_not_a_crash() -> None:
    wrong: Any
    for wrong in ({}, [], 1, "x", {"checkpoint": "", "size": -1, "hashes": [], "records": []}):
        assert not checked(content()["sections"] | {"log": wrong}).valid


async def ended(house: Any) -> str:
    status = await house.run(house.goal([{"id": "a", "skill": "doing-nothing"}]))
    await house.audited(status.goal_id)
    goal_id: str = status.goal_id
    return goal_id


async def made(house: Any, goal_id: str, directory: Path) -> dict[str, Any]:
    seed = directory / "auditor.nk"
    seed.write_text(house.keys.agents["auditor"].seed_text())
    path = await make_bundle(
        house.transport,
        house.workspace,
        goal_id,
        trust=house.keys.signed,
        roots=[house.keys.root.key_id],
        contract=[version.data for version in house.keys.chain.versions],
        key_uri=f"file:{seed}",
        out=directory / "bundle.json.gz",
    )
    found: dict[str, Any] = msgspec.json.decode(unpacked(path.read_bytes()))
    assert verify_bundle(path.read_bytes(), [house.keys.root.key_id]).valid
    return found


async def test_a_bundle_waits_for_the_checkpoint_over_its_goal(house: Any, tmp_path: Path) -> None:
    section = (await made(house, await ended(house), tmp_path))["sections"]["log"]
    assert len(section["records"]) >= 11


async def test_without_a_checkpoint_in_time_the_bundle_goes_without(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(house, await ended(house), tmp_path)  # there is a checkpoint, but an older one
    monkeypatch.setattr(collecting, "WAIT_S", 0)
    assert (await made(house, await ended(house), tmp_path))["sections"]["log"] is None


async def test_a_log_that_is_not_what_was_signed_makes_no_bundle(house: Any, tmp_path: Path) -> None:
    goal_id = await ended(house)
    await made(house, goal_id, tmp_path)
    lines = await house.messages("AUDIT", "audit", "log")
    note = await house.messages("AUDIT", "audit", "checkpoint")
    size = int(note[-1].data.split(b"\n")[1])
    other = Checkpoint(origin_of(house.workspace), size, b"\0" * 32)
    key = house.keys.agents["auditor"]
    await house.transport.publish(
        ".".join(("interlock", house.workspace, "audit", "checkpoint")),
        sign_checkpoint(other, key, key.key_id).encode(),
    )
    assert lines[0].subject == log_subject(house.workspace)
    with pytest.raises(UserError, match="were signed"):
        await made(house, goal_id, tmp_path)
