"""Golden vectors: written once, read by us, by JSON Schema and by another language; all must agree."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Envelope
from interlock.envelope.schema import envelope_schema
from interlock.envelope.signing import seal
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustStore
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import verify
from tests.envelope.samples import KINDS
from tests.envelope.strategies import envelopes

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.json") if path.stem != "schema")
# What verification answers; the other reasons are given by the gates behind it.
REASONS = {
    Reason.OK, Reason.TOO_LARGE, Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.UNKNOWN_VERSION, Reason.UNKNOWN_KEY,
    Reason.KEY_NOT_YET_VALID, Reason.KEY_EXPIRED, Reason.KEY_REVOKED, Reason.KEY_NOT_FOR_AGENT, Reason.BAD_SIGNATURE,
    Reason.WRONG_SUBJECT, Reason.WRONG_RECIPIENT, Reason.WRONG_WORKSPACE, Reason.EXPIRED, Reason.TTL_TOO_LONG,
    Reason.FROM_FUTURE, Reason.REPLAYED,
}  # fmt: skip
# Not even the shape is right; a parser that knows no integers says another of these than one that does.
MISSHAPEN = {"malformed", "not_canonical", "unknown_version"}


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def trust_of(one: dict[str, Any]) -> Trust:
    """From the vector alone, as a stranger would."""
    agents = [
        AgentRecord(
            agent=key["agent"],
            keys=[
                KeyRecord(
                    key_id=key["keyId"],
                    not_before=key["notBefore"],
                    not_after=key["notAfter"],
                    revoked_at=key["revokedAt"],
                )
            ],
        )
        for key in one["keys"]
    ]
    return Trust(TrustStore(workspace=one["workspace"], version=1, issued_at="2025-01-01T00:00:00.000Z", agents=agents))


def judged(one: dict[str, Any], wire: bytes | None = None) -> Reason:
    return verify(
        one["wire"].encode() if wire is None else wire,
        subject=one["subject"],
        recipient=one["recipient"],
        trust=trust_of(one),
        now_ms=one["nowMs"],
    ).reason


def test_the_files_are_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_vectors", ROOT / "scripts" / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    made = maker.files()
    kept = {path.name: path.read_bytes() for path in VECTORS.glob("*.json")}
    assert set(kept) == set(made)
    assert [name for name in made if kept[name] != made[name]] == [], (
        "run python -m scripts.make_vectors and read the change"
    )


def test_the_vectors_cover_every_payload_and_every_reason() -> None:
    assert {vector(name)["expect"] for name in NAMES} == {str(reason) for reason in REASONS}
    assert {f"valid-{kind}" for kind in KINDS} <= set(NAMES)
    assert [name for name in NAMES if vector(name)["name"] != name or not vector(name)["description"]] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "replayed"])
def test_a_stranger_with_the_file_alone_comes_to_the_verdict(name: str) -> None:
    assert judged(vector(name)) == vector(name)["expect"]


def test_the_schema_is_the_exported_one_and_valid() -> None:
    kept = json.loads((VECTORS / "schema.json").read_text())
    assert kept == envelope_schema()
    jsonschema.Draft202012Validator.check_schema(kept)


SCHEMA = jsonschema.Draft202012Validator(json.loads((VECTORS / "schema.json").read_text()))
BEYOND_A_SCHEMA = {"no-such-day", "too-deep", "float", "unsafe-integer", "lone-surrogate"}  # README.md, step 1
NO_JSON = {"no-json", "cut", "two-documents", "deep"}


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_takes_what_is_well_formed_and_nothing_else(name: str) -> None:
    one = vector(name)
    if name in NO_JSON:
        with pytest.raises((ValueError, RecursionError)):
            json.loads(one["wire"])
        return
    errors = list(SCHEMA.iter_errors(json.loads(one["wire"])))
    refused = one["expect"] in ("malformed", "too_large") or name == "not-signed"
    assert bool(errors) == (refused and name not in BEYOND_A_SCHEMA), errors


@given(envelopes())
def test_the_schema_takes_every_envelope_there_can_be(envelope: Envelope) -> None:
    wire = seal(envelope, SigningKey(b"k" * 32)).wire
    assert list(SCHEMA.iter_errors(json.loads(wire))) == []


def node() -> str:
    found = shutil.which("node")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("node is not installed; .ci/run installs it")
        pytest.skip("node is not installed: the second verifier is not run")
    return found


def ask_node(files: list[Path]) -> dict[str, str]:
    """Name → what the other language says."""
    script = ROOT / "examples" / "node-verifier" / "verify.mjs"
    done = subprocess.run([node(), str(script), *map(str, files)], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    agree = all(line[0] == "agree" for line in lines)
    assert done.returncode == (0 if agree and lines else 1)
    return {name.rstrip(":"): verdict.split(",")[0] for _, name, verdict in lines}


def test_another_language_comes_to_the_same_verdicts() -> None:
    said = ask_node([VECTORS / f"{name}.json" for name in NAMES])
    assert said == {name: vector(name)["expect"] for name in NAMES}


def test_another_language_says_so_when_it_does_not_agree(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(vector("valid-task") | {"name": "one", "expect": "expired"}))
    assert ask_node([tmp_path / "one.json"]) == {"one": "ok"}
    assert ask_node([]) == {}


def test_another_language_agrees_on_a_thousand_mutations(tmp_path: Path) -> None:
    """Bytes dropped, doubled, exchanged and put in: what one refuses, the other refuses, for a reason of the same kind."""
    chance = random.Random(1)
    pieces = [
        '"',
        "0",
        "1",
        "-",
        ".5",
        "e1",
        "{}",
        "[]",
        "null",
        "true",
        ",",
        ":",
        " ",
        "\\u0041",
        "\x7f",
        "é",
        "\uff01",
        "😀",
        '"a":1,',
    ]
    files, expected = [], {}
    valid = [name for name in NAMES if vector(name)["expect"] == "ok" and not vector(name)["seen"]]
    for number in range(1000):
        one = vector(chance.choice(valid))
        wire = one["wire"]
        for _ in range(chance.choice([0, 1, 1, 1, 2])):
            start = chance.randrange(len(wire))
            wire = wire[:start] + chance.choice(["", wire[start] * 2, *pieces]) + wire[start + chance.randrange(3) :]
        one |= {"name": str(number), "wire": wire, "expect": str(judged(one, wire.encode()))}
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(one))
        expected[one["name"]] = one["expect"]
    said = ask_node(files)
    assert {name: kind_of(reason) for name, reason in said.items()} == {
        name: kind_of(reason) for name, reason in expected.items()
    }
    assert len(set(said.values()) - MISSHAPEN) >= 3, "the mutations reach the signature, and some change nothing"


def kind_of(reason: str) -> str:
    return "misshapen" if reason in MISSHAPEN else reason
