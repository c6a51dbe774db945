"""Writes tests/vectors/*.json: signed golden envelopes, valid and invalid, for verifiers in other languages.

Run as `python -m scripts.make_vectors`. Deterministic: fixed seeds, a fixed clock. What is expected stands here, written by
hand; a vector on which our own verification disagrees is not written. A test holds that the files are what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import new_id
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.schema import envelope_schema
from interlock.envelope.signing import Sealed, seal
from interlock.envelope.trust import Trust
from interlock.envelope.verification import verify
from tests.envelope import samples

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests" / "vectors"
BASE = samples.ENVELOPES["intake"]
GATEWAY = samples.KEYS["gateway"]
NOW = samples.NOW


class Vectors:
    """Collects vectors; each is judged by our own verification as it comes."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def add(
        self,
        name: str,
        expect: str,
        description: str,
        wire: bytes = BASE.wire,
        *,
        subject: str = BASE.envelope.subject,
        recipient: str = "",
        now_ms: int = NOW + 10,
        trust: Trust = samples.TRUST,
        sequence: int = 7,
        seen: dict[str, int] | None = None,
    ) -> None:
        """seen: message ids received before, with their sequences in the stream."""
        memory = ReplayMemory()
        for message, place in (seen or {}).items():
            memory.admit(message, place, now_ms + 1, now_ms)
        checked = verify(
            wire,
            subject=subject,
            recipient=recipient,
            trust=trust,
            now_ms=now_ms,
            memory=memory,
            sequence=sequence,
        )
        if checked.reason != expect:
            raise SystemExit(f"{name}: expected {expect}, but it is {checked.reason}: {checked.detail}")
        if name in self.made:
            raise SystemExit(f"{name}: there are two vectors of this name")
        self.made[name] = {
            "name": name,
            "description": description,
            "expect": expect,
            "subject": subject,
            "recipient": recipient,
            "nowMs": now_ms,
            "sequence": sequence,
            "seen": seen or {},
            "workspace": trust.workspace,
            "keys": [
                {"agent": record.agent, **msgspec.to_builtins(key)}
                for record in trust.store.agents
                for key in record.keys
                if key.key_id.encode() in wire or record.agent == "gateway"
            ],
            "wire": wire.decode(),
        }


def resealed(**change: Any) -> bytes:
    """The base with some fields changed, signed again by the gateway: validly signed, but saying something else."""
    return seal(msgspec.structs.replace(BASE.envelope, **change), GATEWAY).wire


def with_inputs(inputs: dict[str, Any]) -> bytes:
    return resealed(payload=msgspec.structs.replace(BASE.envelope.payload, inputs=inputs))


def nested(depth: int) -> dict[str, Any]:
    """An object of this depth, itself counted."""
    return {"a": nested(depth - 1)} if depth > 1 else {}


def swapped(old: str, new: str) -> bytes:
    """The base's bytes with one passage replaced after signing."""
    if BASE.wire.count(old.encode()) != 1:
        raise SystemExit(f"the passage {old} is not there just once")
    return BASE.wire.replace(old.encode(), new.encode())


def tampered_signature(sealed: Sealed) -> bytes:
    signature = str(sealed.envelope.signature)
    other = "B" if signature[0] == "A" else "A"
    return sealed.wire.replace(signature.encode(), (other + signature[1:]).encode())


def add_valid(vectors: Vectors) -> None:
    for kind, sealed in samples.ENVELOPES.items():
        subject, to = sealed.envelope.subject, sealed.envelope.recipients[0]
        vectors.add(
            f"valid-{kind}",
            "ok",
            f"A valid envelope with a payload of type {kind}",
            sealed.wire,
            subject=subject,
            recipient=to,
        )
    add = vectors.add
    add("valid-observer", "ok", "Read by an observer, to whom it is not addressed")
    add("valid-instance", "ok", "Addressed to a role, read by an instance of it", recipient="orchestrator.2")
    add(
        "valid-many",
        "ok",
        "Addressed to two agents",
        resealed(to=["executor", "orchestrator.1"]),
        recipient="orchestrator.1",
    )
    add("valid-last-millisecond", "ok", "The last millisecond of ttl and clock skew", now_ms=NOW + 605_000)
    add("valid-clock-behind", "ok", "The receiver's clock is behind by the whole clock skew", now_ms=NOW - 5_000)
    add("valid-redelivery", "ok", "Received before at the same place of the stream", seen={BASE.envelope.id: 7})
    add(
        "valid-key-revoked-later",
        "ok",
        "The key is revoked only later",
        trust=samples.make_trust(revoked_at=timestamp(NOW + 60_000)),
    )
    odd = {
        "\U0001f600": 1,
        "\uff01": 2,
        "\ue000": 3,
        "z": 4,
        "\u20ac": 5,
        "\x7f": '\x00\x1f"\\/\b\f\n\r\t\u2028',
        "": [],
        "__proto__": {},
    }
    add("valid-key-order", "ok", "Keys in UTF-16 order; control characters with their short escapes", with_inputs(odd))
    numbers = {"low": -(2**53) + 1, "high": 2**53 - 1, "zero": 0}
    add("valid-integers", "ok", "The smallest and the largest integer", with_inputs(numbers))
    add("valid-depth", "ok", "Free-form JSON as deep as it may be", with_inputs(nested(32)))
    add("valid-confidence", "ok", "A confidence with a leading zero after the point", resealed(confidence_score=0.001))


def add_malformed(vectors: Vectors) -> None:
    add = vectors.add
    add("too-large", "too_large", "One byte more than 256 KiB", b'{"a":"' + b"x" * (256 * 1024 - 7) + b'"}')
    add("no-json", "malformed", "Not JSON", b"{not json")
    add("cut", "malformed", "The last byte is missing", BASE.wire[:-1])
    add("two-documents", "malformed", "Another document follows", BASE.wire + b"{}")
    add("deep", "malformed", "Nested a hundred thousand times", b"[" * 100_000)
    add(
        "unknown-field",
        "malformed",
        "A field that the schema does not know",
        swapped('{"attestations"', '{"aa":1,"attestations"'),
    )
    add("missing-field", "malformed", "The sender is missing", swapped('"from":"gateway",', ""))
    add(
        "unknown-payload",
        "malformed",
        "A payload type that the schema does not know",
        swapped('"type":"intake"', '"type":"intakes"'),
    )
    add("wildcard-sender", "malformed", "Validly signed, but its sender is no agent id", resealed(sender="gateway.>"))
    add("no-recipient", "malformed", "Validly signed, but to nobody", resealed(to=[]))
    add(
        "no-such-day",
        "malformed",
        "Validly signed on the 30th of February",
        resealed(created_at="2025-02-30T00:00:00.000Z"),
    )
    add(
        "too-deep",
        "malformed",
        "Free-form JSON one level deeper than it may be",
        swapped('"risk_hints":{}', f'"risk_hints":{json.dumps(nested(33))}'.replace(" ", "")),
    )
    add(
        "float",
        "malformed",
        "A number with a point in free-form JSON",
        swapped('"risk_hints":{}', '"risk_hints":{"a":1.5}'),
    )
    add(
        "unsafe-integer",
        "malformed",
        "2^53 in free-form JSON",
        swapped('"risk_hints":{}', '"risk_hints":{"a":9007199254740992}'),
    )
    add("lone-surrogate", "malformed", "Half a character", swapped('"prove it"', '"prove \\ud800"'))
    add("unknown-version", "unknown_version", "Validly signed, of a later version", resealed(spec_version="2.0"))


def add_not_canonical(vectors: Vectors) -> None:
    def add(name: str, description: str, wire: bytes) -> None:
        vectors.add(name, "not_canonical", description, wire)

    add("not-canonical-space", "A space after a colon", swapped('"actions":9', '"actions": 9'))
    add("not-canonical-escape", "A character written as an escape", swapped('"prove it"', '"prove\\u0020it"'))
    add(
        "not-canonical-order",
        "Two keys exchanged",
        swapped('"actions":9,"costUSD":"1.5"', '"costUSD":"1.5","actions":9'),
    )
    add("not-canonical-zero", "Zero with a sign", swapped('"seed":0', '"seed":-0'))
    add("duplicate-key", "A key twice, with the same value", swapped('"actions":9', '"actions":9,"actions":9'))
    add(
        "duplicate-key-differs",
        "A key twice; the last value is the signed one",
        swapped('"actions":9', '"actions":8,"actions":9'),
    )
    add("trailing-newline", "A newline at the end", BASE.wire + b"\n")


def add_keys(vectors: Vectors) -> None:
    def add(name: str, expect: str, description: str, wire: bytes = BASE.wire, **trust: Any) -> None:
        vectors.add(name, expect, description, wire, trust=samples.make_trust(**trust))

    stamp, stranger, executor = timestamp, samples.fixed_key("stranger"), samples.KEYS["executor"]
    add("wrong-workspace", "wrong_workspace", "Validly signed, for another workspace", resealed(workspace="other"))
    add("unknown-key", "unknown_key", "Signed by a key that nobody enrolled", seal(BASE.envelope, stranger).wire)
    add(
        "key-of-another-agent",
        "key_not_for_agent",
        "Signed by the executor in the gateway's name",
        seal(BASE.envelope, executor).wire,
    )
    add("key-not-yet-valid", "key_not_yet_valid", "Signed before its key's window", not_before=stamp(NOW + 1))
    add("key-expired", "key_expired", "Signed in its key's window, received after it", not_after=stamp(NOW + 1))
    add("key-revoked", "key_revoked", "Received after its key was revoked", revoked_at=stamp(NOW + 10))
    add(
        "changed-payload",
        "bad_signature",
        "A word of the payload changed after signing",
        swapped("prove it", "prove us"),
    )
    add("changed-budget", "bad_signature", "The budget raised after signing", swapped('"actions":9', '"actions":90'))
    add("changed-signature", "bad_signature", "A letter of the signature changed", tampered_signature(BASE))
    other = samples.ENVELOPES["task"].envelope.signature
    add(
        "other-signature",
        "bad_signature",
        "The signature of another envelope",
        swapped(str(BASE.envelope.signature), str(other)),
    )
    add("not-signed", "bad_signature", "No signature", swapped(f',"signature":"{BASE.envelope.signature}"', ""))


def add_circumstances(vectors: Vectors) -> None:
    add, subject = vectors.add, BASE.envelope.subject
    goal = new_id(NOW, b"other-goal")
    add(
        "wrong-subject",
        "wrong_subject",
        "Came on another role's subject",
        subject=subject.replace("orchestrator", "executor"),
    )
    add("wrong-goal", "wrong_subject", "Signed for a subject that names another goal", resealed(goal_id=goal))
    add("wrong-intent", "wrong_subject", "Signed for a subject that names another intent", resealed(intent="act"))
    add("wrong-recipient", "wrong_recipient", "Read by an agent it is not addressed to", recipient="executor")
    add("wrong-role", "wrong_recipient", "Its subject names a role it is not addressed to", resealed(to="executor"))
    add("ttl-too-long", "ttl_too_long", "Wants to live for an hour and a millisecond", resealed(ttl_ms=3_600_001))
    add("from-future", "from_future", "A millisecond beyond the clock skew", now_ms=NOW - 5_001)
    add("expired", "expired", "A millisecond beyond ttl and clock skew", now_ms=NOW + 605_001)
    add("replayed", "replayed", "Received before at another place of the stream", seen={BASE.envelope.id: 6})


def files() -> dict[str, bytes]:
    """Every file of tests/vectors with its content."""
    vectors = Vectors()
    for add in (add_valid, add_malformed, add_not_canonical, add_keys, add_circumstances):
        add(vectors)
    made = {f"{name}.json": pretty(vector) for name, vector in vectors.made.items()}
    made["schema.json"] = pretty(envelope_schema())
    return made


def pretty(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True).encode() + b"\n"


def main() -> None:
    made = files()
    VECTORS.mkdir(parents=True, exist_ok=True)
    for path in VECTORS.glob("*.json"):
        path.unlink()
    for name, data in made.items():
        (VECTORS / name).write_bytes(data)
    print(f"{len(made)} files in {VECTORS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
