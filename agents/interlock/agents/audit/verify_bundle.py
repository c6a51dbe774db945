"""Verifying a bundle: no network, no broker, nothing believed that is not signed or derived (AUD-02). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.audit.bundled_hop import BundledHop
from interlock.agents.audit.check import Check
from interlock.agents.audit.contract_check import check_chain, check_mandate
from interlock.agents.audit.hop_graph import HopAudit, audit_hops
from interlock.agents.audit.log.bundled import check_section
from interlock.agents.audit.packing import MAX_BYTES, PackingError, unpacked
from interlock.agents.audit.signature_log import signature_log
from interlock.agents.kms.signatures import SCHEMES, is_valid
from interlock.bus.streams import HOPS, JOURNAL
from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.contract_chain import Chain, Signers
from interlock.envelope.ids import role_of, sha256_hex
from interlock.envelope.keys import from_base64url
from interlock.envelope.payloads import Completion
from interlock.envelope.signing import BUNDLE_DOMAIN, is_valid_attestation, pre_auth
from interlock.envelope.trust import Trust, TrustError, load
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import Limits

__all__ = ["MAX_BYTES", "SECTIONS", "BundleVerdict", "Check", "verify_bundle"]
VERSION = 1
BUNDLERS = ("auditor", "human")
NOT_ALLOWED = "signer_not_allowed"
SECTIONS = (
    "goal",
    "trust",
    "contract",
    "hops",
    "journal",
    "effects",
    "ledger",
    "deadLetters",
    "artefacts",
    "signatures",
    "config",
    "log",
)


class BundleVerdict(Struct, frozen=True):
    """valid: every check held. pinned: the roots came from the caller, not from the bundle itself. logged: the audit log
    proves the hops too; a bundle made before a checkpoint covered its goal has no such proof.
    """

    valid: bool
    pinned: bool
    logged: bool
    checks: list[Check]


class _Text(Struct, frozen=True, forbid_unknown_fields=True):
    sequence: int
    subject: str
    text: str


def verify_bundle(data: bytes, roots: Sequence[str] = ()) -> BundleVerdict:
    """Never raises, whatever the bytes. roots: public root keys to trust; none: those the bundle names, and the
    verdict says so.
    """
    checks: list[Check] = []
    logged = False
    try:
        content = _content(data)
        checks.append(Check("form", True, "gzip of canonical JSON, nothing before or after"))
        logged = _check_all(content, roots, checks)
    except _Broken as error:
        checks.append(Check(error.name, False, str(error)))
    except (ValueError, TypeError, KeyError, RecursionError, msgspec.MsgspecError) as error:
        checks.append(Check("form", False, f"{type(error).__name__}: {str(error)[:200]}"))
    return BundleVerdict(all(check.ok for check in checks), bool(roots), logged, checks)


class _Broken(Exception):
    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


def _content(data: bytes) -> dict[str, Any]:
    try:
        text = unpacked(data)
    except PackingError as error:
        raise _Broken("form", str(error)) from error
    content = msgspec.json.decode(text)
    if not isinstance(content, dict) or canonical(content) != text:
        raise _Broken("form", "not canonical JSON")
    if set(content) != {"manifest", "sections", "signature"}:
        raise _Broken("form", "not exactly manifest, sections and signature")
    return content


def _check_all(content: dict[str, Any], roots: Sequence[str], checks: list[Check]) -> bool:
    """Whether the audit log proves the hops."""
    manifest, sections = content["manifest"], content["sections"]
    version = manifest["bundleVersion"]
    if type(version) is not int or version != VERSION:
        raise _Broken("version", f"bundle version {str(version)[:40]}; this verifier reads {VERSION}")
    _check_signature(manifest, str(content["signature"]), checks)
    _check_sections(manifest, sections, checks)
    trust = _check_trust(sections["trust"], roots, checks)
    named = list(roots) or [str(root) for root in sections["trust"]["roots"]]
    chain = check_chain(sections["contract"], Signers(tuple(named), trust), checks)
    _check_signer(manifest, trust, chain, checks)
    last_sequence = _check_hops(sections, trust, chain, checks)
    return _check_audit_log(sections, trust, last_sequence, checks)


def _check_signature(manifest: dict[str, Any], signature: str, checks: list[Check]) -> None:
    if manifest["scheme"] not in SCHEMES:
        raise _Broken("signature", f"scheme {manifest['scheme']!r}; allowed: {', '.join(SCHEMES)}")
    message = pre_auth(BUNDLE_DOMAIN, canonical(manifest))
    key = str(manifest["scheme"]), str(manifest["keyId"]), str(manifest["publicKey"])
    ok = is_valid(*key, message, from_base64url(signature))
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


def _check_signer(manifest: dict[str, Any], trust: Trust, chain: Chain | None, checks: list[Check]) -> None:
    """Whoever made the bundle must be the auditor or a human, with a key that the roots know and that was good when it was
    made, or the key that the contract in force names for bundles. Any other agent's key vouches for its own hops only.
    """
    name = str(manifest["keyId"])
    if chain is not None and chain.head.contract.kms_key_ref == f"{manifest['scheme']}:{name}":
        checks.append(Check("signer", True, "the key that the contract names"))
        return
    key = trust.find(name)
    if key is None:
        told = "its key is neither enrolled nor the contract's kmsKeyRef"
        checks.append(Check("signer", False, told, Reason.UNKNOWN_KEY))
        return
    if role_of(key.agent) not in BUNDLERS:
        told = f"{key.agent} makes no bundles: the auditor does, a human, or the key that is the contract's kmsKeyRef"
        checks.append(Check("signer", False, told, NOT_ALLOWED))
        return
    made_ms = time_ms(str(manifest["madeAt"]))
    reason = trust.judge_key(name, key.agent, made_ms, made_ms)
    checks.append(
        Check("signer", reason is Reason.OK, f"key of {key.agent}: {reason}", "" if reason is Reason.OK else reason)
    )


def _check_hops(sections: dict[str, Any], trust: Trust, chain: Chain | None, checks: list[Check]) -> int:
    """Answers the sequence of the completion, else of the last hop."""
    hops = msgspec.convert(sections["hops"], list[BundledHop])
    messages = [hop.message for hop in hops]
    sequences = [hop.sequence for hop in hops]
    ordered = sequences == sorted(set(sequences))
    checks.append(Check("order", ordered, f"{len(hops)} hops in stream order" if ordered else "hops out of order"))
    audit = audit_hops(messages, trust, msgspec.convert(sections["goal"]["limits"], Limits))
    broken = audit.broken_inside
    detail = f"{audit.verified} of {len(hops)} verified"
    if audit.refused:
        detail += f"; {len(audit.refused)} refused, {len(broken)} of them from inside"
    checks.append(Check("hops", not broken and audit.verified > 0, detail))
    check_mandate(audit, chain, checks)
    _check_attestations(audit, trust, checks)
    _check_log(sections, audit, checks)
    _check_goal(sections, audit, checks)
    ends = [hop.sequence for hop in audit.hops if hop.envelope and isinstance(hop.envelope.payload, Completion)]
    return ends[0] if ends else sequences[-1] if sequences else 0


def _check_audit_log(sections: dict[str, Any], trust: Trust, last_sequence: int, checks: list[Check]) -> bool:
    hops, journal = (
        msgspec.convert(sections["hops"], list[BundledHop]),
        msgspec.convert(sections["journal"], list[_Text]),
    )
    return check_section(
        sections["log"],
        workspace=str(sections["goal"]["workspace"]),
        goal_id=str(sections["goal"]["goalId"]),
        trust=trust,
        messages={
            HOPS.name: [(hop.sequence, hop.subject, sha256_hex(hop.message.data)) for hop in hops],
            JOURNAL.name: [(entry.sequence, entry.subject, sha256_hex(entry.text.encode())) for entry in journal],
        },
        last_sequence=last_sequence,
        checks=checks,
    )


def _check_attestations(audit: HopAudit, trust: Trust, checks: list[Check]) -> None:
    found = [item for hop in audit.hops if hop.verified and hop.envelope for item in hop.envelope.attestations]
    good = sum(is_valid_attestation(item) and trust.find(item.key_id) is not None for item in found)
    checks.append(Check("attestations", good == len(found), f"{good} of {len(found)} signed by a key that is trusted"))


def _check_log(sections: dict[str, Any], audit: HopAudit, checks: list[Check]) -> None:
    """The auditor's own log must say what the hops say; it ends with the completion, later noise is not in it."""
    written = sections["signatures"]
    if written is None:
        checks.append(Check("signature log", True, "was not written when the bundle was made"))
        return
    known = len(written["operations"])
    again = signature_log(
        written["workspace"], written["goalId"], HopAudit(audit.hops[:known]), str(written["writtenAt"])
    )
    same = canonical(again) == canonical(written)
    checks.append(Check("signature log", same, f"{known} operations {'as' if same else 'NOT as'} verified here"))


def _check_goal(sections: dict[str, Any], audit: HopAudit, checks: list[Check]) -> None:
    goal_id, workspace = str(sections["goal"]["goalId"]), str(sections["goal"]["workspace"])
    verified = [(hop.sequence, hop.envelope) for hop in audit.hops if hop.verified and hop.envelope is not None]
    foreign = [
        sequence for sequence, envelope in verified if (envelope.goal_id, envelope.workspace) != (goal_id, workspace)
    ]
    checks.append(Check("goal", not foreign, f"hops of another goal: {foreign[:10]}" if foreign else goal_id))
    ends = [envelope.payload for _, envelope in verified if isinstance(envelope.payload, Completion)]
    told = sections["goal"]["status"]["outcome"]
    complete = len(ends) == 1 and ends[0].outcome == told
    detail = f"ended {told}" if complete else f"{len(ends)} completions, and the status says {str(told)[:40]}"
    checks.append(Check("completion", complete, detail))
