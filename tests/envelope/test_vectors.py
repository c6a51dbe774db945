"""Golden vectors: written once, read by us, by JSON Schema and by another language; all must agree."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from interlock.envelope.verdict import Reason

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"


def maker() -> Any:
    spec = importlib.util.spec_from_file_location("make_vectors", ROOT / "scripts" / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_writes() -> None:
    made = maker().files()
    kept = {path.name: path.read_bytes() for path in VECTORS.glob("*.json")}
    assert set(kept) == set(made)
    assert [name for name in made if kept[name] != made[name]] == [], "run scripts/make_vectors.py and read the change"


def all_vectors() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(VECTORS.glob("*.json")) if path.name != "schema.json"]


def test_the_vectors_cover_every_reason_that_verification_gives() -> None:
    expected = {vector["expect"] for vector in all_vectors()}
    assert expected == {
        str(reason)
        for reason in (
            Reason.OK, Reason.TOO_LARGE, Reason.MALFORMED, Reason.NOT_CANONICAL, Reason.UNKNOWN_VERSION, Reason.UNKNOWN_KEY,
            Reason.KEY_NOT_YET_VALID, Reason.KEY_EXPIRED, Reason.KEY_REVOKED, Reason.KEY_NOT_FOR_AGENT, Reason.BAD_SIGNATURE,
            Reason.WRONG_SUBJECT, Reason.WRONG_RECIPIENT, Reason.WRONG_WORKSPACE, Reason.EXPIRED, Reason.TTL_TOO_LONG,
            Reason.FROM_FUTURE,
        )
    }  # fmt: skip


def test_valid_vectors_satisfy_the_schema_and_malformed_ones_do_not() -> None:
    schema = json.loads((VECTORS / "schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for vector in all_vectors():
        if vector["expect"] == "ok":
            assert list(validator.iter_errors(json.loads(vector["wire"]))) == [], vector["name"]
    unknown = next(vector for vector in all_vectors() if vector["name"] == "unknown-field")
    assert list(validator.iter_errors(json.loads(unknown["wire"])))


def test_another_language_comes_to_the_same_verdicts() -> None:
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("node is not installed; .ci/run installs it")
        pytest.skip("node is not installed: the second verifier is not run")
    files = [str(path) for path in sorted(VECTORS.glob("*.json")) if path.name != "schema.json"]
    script = ROOT / "examples" / "node-verifier" / "verify.mjs"
    done = subprocess.run([node, str(script), *files], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("agree ") == len(files)
