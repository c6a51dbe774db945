"""The verifier written from docs/bundle-format.md in another language agrees with ours on whole bundles, true and changed."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.audit.bundle import assemble
from interlock.agents.audit.packing import packed, unpacked
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.kms import Signer
from interlock.envelope.canonical import canonical
from interlock.envelope.keys import SigningKey
from scripts.record_history import HISTORIES, INTO, fixed_key
from tests.agents.audit.test_bundle_log import CHANGES as LOG_CHANGES
from tests.envelope.test_vectors import node as found_node

SCRIPT = Path(__file__).parents[2] / "examples" / "node-verifier" / "bundle.mjs"
AUDITOR, ROOT = fixed_key("auditor", "U"), fixed_key("root", "O")


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
