"""Verifying a bundle: no network, no broker, nothing believed that is not signed or derived (AUD-02). Pure."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.audit.hop_graph import audit_hops
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import from_base64url, is_signed_by
from interlock.envelope.payloads import Completion
from interlock.envelope.signing import BUNDLE_DOMAIN, pre_auth
from interlock.envelope.trust import Trust, TrustError, load

MAX_BYTES = 512 << 20
SCHEMES = ("ed25519-nkey",)
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
SECTIONS = ("goal", "trust", "hops", "journal", "ledger", "deadLetters", "signatures", "config")


class Check(Struct, frozen=True):
    """One thing that was checked."""

    name: str
    ok: bool
    detail: str


class BundleVerdict(Struct, frozen=True):
    """valid: every check held. pinned: the roots came from the caller, not from the bundle itself."""

    valid: bool
    pinned: bool
    checks: list[Check]


class _Hop(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    sequence: int
    subject: str
    stored_ms: int
    message_id: str
    encoding: str
    wire: str

    @property
    def message(self) -> Message:
        data = base64.b64decode(self.wire) if self.encoding == "base64" else self.wire.encode()
        headers = {MESSAGE_ID: self.message_id}
        return Message(self.subject, data, headers, self.sequence, self.stored_ms)


def verify_bundle(data: bytes, roots: Sequence[str] = ()) -> BundleVerdict:
    """Never raises, whatever the bytes. roots: public root keys to trust; none: those the bundle names, and the
    verdict says so.
    """
    checks: list[Check] = []
    try:
        content = _content(data)
        checks.append(Check("form", True, "gzip of canonical JSON, nothing before or after"))
        _check_all(content, roots, checks)
    except _Broken as error:
        checks.append(Check(error.name, False, str(error)))
    except (ValueError, TypeError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        checks.append(Check("form", False, f"{type(error).__name__}: {str(error)[:200]}"))
    return BundleVerdict(all(check.ok for check in checks), bool(roots), checks)


class _Broken(Exception):
    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


def _content(data: bytes) -> dict[str, Any]:
    """The gzip layer is part of what is checked: no trailing bytes, no second member, header as we write it."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise _Broken("form", f"no gzip: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise _Broken("form", "truncated, too large, or followed by something")
    if data[:10] != GZIP_HEADER:
        raise _Broken("form", "the gzip header is not the one bundles have")
    content = msgspec.json.decode(text)
    if not isinstance(content, dict) or canonical(content) != text:
        raise _Broken("form", "not canonical JSON")
    if set(content) != {"manifest", "sections", "signature"}:
        raise _Broken("form", "not exactly manifest, sections and signature")
    return content


def _check_all(content: dict[str, Any], roots: Sequence[str], checks: list[Check]) -> None:
    manifest, sections = content["manifest"], content["sections"]
    if manifest["bundleVersion"] != 1:
        raise _Broken("version", f"bundle version {manifest['bundleVersion']}; this verifier reads 1")
    _check_signature(manifest, str(content["signature"]), checks)
    _check_sections(manifest, sections, checks)
    trust = _check_trust(sections["trust"], roots, checks)
    _check_signer(manifest, trust, checks)
    _check_hops(sections, trust, checks)


def _check_signature(manifest: dict[str, Any], signature: str, checks: list[Check]) -> None:
    if manifest["scheme"] not in SCHEMES:
        raise _Broken("signature", f"scheme {manifest['scheme']!r}; allowed: {', '.join(SCHEMES)}")
    message = pre_auth(BUNDLE_DOMAIN, canonical(manifest))
    ok = is_signed_by(str(manifest["keyId"]), message, from_base64url(signature))
    checks.append(Check("signature", ok, f"manifest {'signed' if ok else 'NOT signed'} by {manifest['keyId']}"))


def _check_sections(manifest: dict[str, Any], sections: dict[str, Any], checks: list[Check]) -> None:
    listed = manifest["sections"]
    if set(listed) != set(SECTIONS) or set(sections) != set(SECTIONS):
        raise _Broken("sections", "not exactly the sections of version 1")
    differing = [name for name in SECTIONS if sha256_hex(canonical(sections[name])) != listed[name]]
    detail = f"differ from the manifest: {', '.join(differing)}" if differing else f"{len(SECTIONS)} as in the manifest"
    checks.append(Check("sections", not differing, detail))


def _check_trust(section: dict[str, Any], roots: Sequence[str], checks: list[Check]) -> Trust:
    named = list(roots) or [str(root) for root in section["roots"]]
    try:
        trust = load(str(section["store"]).encode(), named)
    except TrustError as error:
        raise _Broken("trust", str(error)) from error
    origin = "roots given by you" if roots else "roots named by the bundle itself: pin them with --root"
    checks.append(Check("trust", True, f"version {trust.version}, signed by {origin}"))
    return trust


def _check_signer(manifest: dict[str, Any], trust: Trust, checks: list[Check]) -> None:
    """Whoever made the bundle must be somebody the roots know."""
    key = trust.find(str(manifest["keyId"]))
    who = "unknown to the trust store" if key is None else f"key of {key.agent}"
    checks.append(Check("signer", key is not None, who))


def _check_hops(sections: dict[str, Any], trust: Trust, checks: list[Check]) -> None:
    hops = msgspec.convert(sections["hops"], list[_Hop])
    messages = [hop.message for hop in hops]
    sequences = [hop.sequence for hop in hops]
    ordered = sequences == sorted(set(sequences))
    checks.append(Check("order", ordered, f"{len(hops)} hops in stream order" if ordered else "hops out of order"))
    audit = audit_hops(messages, trust)
    broken = audit.broken_inside
    detail = f"{audit.verified} of {len(hops)} verified"
    if audit.refused:
        detail += f"; {len(audit.refused)} refused, {len(broken)} of them from inside"
    checks.append(Check("hops", not broken and audit.verified > 0, detail))
    goal_id = str(sections["goal"]["goalId"])
    foreign = [hop.sequence for hop in audit.hops if hop.verified and hop.envelope and hop.envelope.goal_id != goal_id]
    checks.append(Check("goal", not foreign, f"hops of another goal: {foreign}" if foreign else goal_id))
    ends = [
        hop.envelope.payload
        for hop in audit.hops
        if hop.verified and hop.envelope is not None and isinstance(hop.envelope.payload, Completion)
    ]
    told = sections["goal"]["status"]["outcome"]
    complete = len(ends) == 1 and ends[0].outcome == told
    checks.append(
        Check("completion", complete, f"ended {told}" if complete else "no completion that agrees with the status")
    )
