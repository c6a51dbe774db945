"""Writes tests/vectors/*.json: signed golden envelopes, valid and invalid, for verifiers in other languages.

Deterministic: fixed seeds, a fixed clock. A test holds that the files are what this writes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from interlock.envelope.schema import envelope_schema
from interlock.envelope.signing import seal
from interlock.envelope.verification import verify

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors"


def load_samples() -> Any:
    """The samples of the envelope tests."""
    spec = importlib.util.spec_from_file_location("samples", ROOT / "tests" / "envelope" / "conftest.py")
    if spec is None or spec.loader is None:
        raise SystemExit("tests/envelope/conftest.py is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules["samples"] = module
    spec.loader.exec_module(module)
    return module


def vectors() -> dict[str, dict[str, Any]]:
    """Name → vector."""
    samples = load_samples()
    trust = samples.make_trust()
    made: dict[str, dict[str, Any]] = {}

    def add(
        name: str,
        wire: bytes,
        *,
        subject: str = "",
        recipient: str = "",
        now_ms: int = samples.NOW + 10,
        keys: Any = trust,
    ) -> None:
        checked = verify(wire, subject=subject, recipient=recipient, trust=keys, now_ms=now_ms)
        records = [
            {"agent": record.agent, **msgspec.to_builtins(key)} for record in keys.store.agents for key in record.keys
        ]
        made[name] = {
            "name": name,
            "expect": str(checked.reason),
            "subject": subject,
            "recipient": recipient,
            "nowMs": now_ms,
            "workspace": keys.workspace,
            "keys": records,
            "wire": wire.decode(),
        }

    for kind in samples.KINDS:
        sealed = samples.make(kind)
        add(f"valid-{kind}", sealed.wire, subject=sealed.envelope.subject)
    base = samples.make("intake")
    envelope, wire, subject = base.envelope, base.wire, base.envelope.subject
    gateway = samples.KEYS["gateway"]

    def resealed(**change: Any) -> bytes:
        return seal(msgspec.structs.replace(envelope, **change), gateway).wire

    add("changed-payload", wire.replace(b"prove it", b"prove us"), subject=subject)
    add("changed-signature", tampered(wire), subject=subject)
    add("not-canonical-space", wire.replace(b'"actions":9', b'"actions": 9'), subject=subject)
    add("not-canonical-escape", wire.replace(b'"prove it"', b'"prove\\u0020it"'), subject=subject)
    add("duplicate-key", wire.replace(b'"actions":9', b'"actions":9,"actions":9'), subject=subject)
    add("trailing-data", wire + b"\n", subject=subject)
    add("unknown-field", wire.replace(b'{"attestations"', b'{"aa":1,"attestations"'), subject=subject)
    add("unknown-version", resealed(spec_version="2.0"), subject=subject)
    add("no-json", b"{not json", subject=subject)
    add("too-large", b'{"a":"' + b"x" * (256 * 1024) + b'"}', subject=subject)
    add("unknown-key", seal(envelope, samples.fixed_key("stranger")).wire, subject=subject)
    add("key-of-another-agent", seal(envelope, samples.KEYS["executor"]).wire, subject=subject)
    add("wrong-subject", wire, subject=subject.replace("orchestrator", "executor"))
    add("subject-of-another-goal", resealed(goal_id=samples.new_id(samples.NOW, b"other-goal")), subject=subject)
    add("wrong-recipient", wire, subject=subject, recipient="executor")
    add("wrong-workspace", resealed(workspace="other"), subject=subject)
    add("expired", wire, subject=subject, now_ms=samples.NOW + 605_001)
    add("just-alive", wire, subject=subject, now_ms=samples.NOW + 605_000)
    add("from-future", wire, subject=subject, now_ms=samples.NOW - 5_001)
    add("ttl-too-long", resealed(ttl_ms=3_600_001), subject=subject)
    add("revoked", wire, subject=subject, keys=samples.make_trust(revoked_at=samples.timestamp(samples.NOW)))
    add("not-yet-valid", wire, subject=subject, keys=samples.make_trust(not_before=samples.timestamp(samples.NOW + 1)))
    add("key-expired", wire, subject=subject, keys=samples.make_trust(not_after=samples.timestamp(samples.NOW + 1)))
    return made


def tampered(wire: bytes) -> bytes:
    """The same envelope with one letter of its signature changed."""
    start = wire.index(b'"signature":"', wire.index(b'"riskTier"')) + len(b'"signature":"')
    other = b"B" if wire[start : start + 1] == b"A" else b"A"
    return wire[:start] + other + wire[start + 1 :]


def files() -> dict[str, bytes]:
    """Every file of tests/vectors with its content."""
    made = {f"{name}.json": pretty(vector) for name, vector in vectors().items()}
    made["schema.json"] = pretty(envelope_schema())
    return made


def pretty(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def main() -> None:
    VECTORS.mkdir(parents=True, exist_ok=True)
    for path in VECTORS.glob("*.json"):
        path.unlink()
    for name, data in files().items():
        (VECTORS / name).write_bytes(data)
    print(f"{len(files())} files in {VECTORS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
