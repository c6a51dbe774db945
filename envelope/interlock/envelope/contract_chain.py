"""The chain of contract versions: what of it can be believed, and what a hop may refer to (GOV-08). Pure.

Version 1 must be signed by a root key. Every later one needs as many distinct keys as the version before it demands,
each a root or a human's with the capability `contract:sign`; a signature that does not verify refuses the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.capabilities import holds
from interlock.envelope.contract import (
    MAX_BYTES,
    ChangeRequest,
    Contract,
    ContractSignature,
    SignedContract,
    change_message,
    contract_message,
)
from interlock.envelope.contract_change import Step, check_first, check_next
from interlock.envelope.ids import role_of, sha256_hex
from interlock.envelope.keys import decode_public, from_base64url, is_signed_by
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason

SIGN = "contract:sign"
SKEW_MS = 5_000
GOAL_AGENT = "executor"


class ContractError(Exception):
    """A version that cannot be believed. reason: malformed, not_canonical, bad_signature, untrusted_signer,
    too_few_signatures, change_not_approved, from_future, forked, or one of contract_change.Step.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"contract refused ({reason}): {detail}")
        self.reason = reason
        self.detail = detail


class Version(Struct, frozen=True):
    """A believed version. ref: SHA-256 of its stored bytes, which is what others call it. agents, goal_capabilities:
    what of it is looked at on every hop; what a goal may do is what its executor may.
    """

    contract: Contract
    ref: str
    data: bytes
    agents: frozenset[str]
    goal_capabilities: list[str]


class Signers(Struct, frozen=True):
    """Who may sign contracts: the pinned root keys, and the humans of a trust store."""

    roots: tuple[str, ...]
    trust: Trust


class Chain:
    """Believed versions, oldest first; never empty. Immutable: `extended` gives another."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = tuple(versions)
        self._by_ref = {version.ref: version for version in versions}
        self._retired = frozenset(self.head.contract.retired_refs)
        self._superseded = {
            old.ref: time_ms(new.contract.issued_at) for old, new in zip(self.versions, self.versions[1:], strict=False)
        }

    @property
    def head(self) -> Version:
        return self.versions[-1]

    def find(self, ref: str) -> Version | None:
        return self._by_ref.get(ref)

    def is_retired(self, ref: str) -> bool:
        """Whether even goals begun under that version have to stop."""
        return ref in self._retired

    def superseded_ms(self, ref: str) -> int | None:
        """When the version after that one was issued; None for the newest."""
        return self._superseded.get(ref)

    def extended(self, data: bytes, signers: Signers, seen_ms: int | None = None) -> Chain:
        """With one more version. seen_ms: when it was received or stored, which is what revocations of its signers
        count from; None: when it says it was issued, for histories. Raises ContractError.
        """
        signed, ref = decoded(data), sha256_hex(data)
        new, old = signed.contract, self.head
        if new.contract_version <= old.contract.contract_version:
            same = self._by_ref.get(ref)
            detail = "is already there" if same else "differs from the one that was believed before"
            raise ContractError("forked", f"version {new.contract_version} {detail}")
        spent = frozenset(
            version.contract.change_request.request_id for version in self.versions if version.contract.change_request
        )
        _demand(check_next(old.contract, old.ref, new, spent))
        if seen_ms is not None and time_ms(new.issued_at) > seen_ms + SKEW_MS:
            raise ContractError("from_future", f"issued {new.issued_at}, ahead of the clock")
        keys = _valid_keys(signed, signers, seen_ms)
        threshold = old.contract.signing.threshold
        if len(keys) < threshold:
            raise ContractError("too_few_signatures", f"{len(keys)} of the {threshold} it needs")
        if new.change_request is not None:
            _check_approved(new, new.change_request, keys, threshold, signers, seen_ms)
        return Chain([*self.versions, _version(new, ref, data)])


def first(data: bytes, workspace: str, signers: Signers, seen_ms: int | None = None) -> Chain:
    """A chain of version 1. Raises ContractError."""
    signed = decoded(data)
    _demand(check_first(signed.contract, workspace))
    keys = _valid_keys(signed, signers, seen_ms)
    if not keys & {decode_public(root) for root in signers.roots}:
        raise ContractError("too_few_signatures", "version 1 is not signed by a root key")
    return Chain([_version(signed.contract, sha256_hex(data), data)])


def load_chain(stored: Iterable[bytes], workspace: str, signers: Signers) -> Chain:
    """All versions, oldest first, each verified as of the time it was issued. Raises ContractError."""
    chain: Chain | None = None
    for data in stored:
        chain = first(data, workspace, signers) if chain is None else chain.extended(data, signers)
    if chain is None:
        raise ContractError("malformed", "there is no version at all")
    return chain


def decoded(data: bytes) -> SignedContract:
    """The stored form, believed in nothing but its form. Raises ContractError."""
    if len(data) > MAX_BYTES:
        raise ContractError("malformed", f"larger than {MAX_BYTES} bytes")
    try:
        signed = msgspec.json.decode(data, type=SignedContract)
        time_ms(signed.contract.issued_at)
        same = canonical(signed) == data
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError) as error:
        raise ContractError("malformed", str(error)[:300]) from error
    names = [entry.key_id for entry in signed.signatures]
    if not same or names != sorted(set(names)):
        raise ContractError("not_canonical", "the bytes are not the canonical form of what they say")
    return signed


def _version(contract: Contract, ref: str, data: bytes) -> Version:
    held = next((entry.capabilities for entry in contract.agents if entry.agent == GOAL_AGENT), [])
    return Version(contract, ref, data, frozenset(entry.agent for entry in contract.agents), held)


def _demand(step: Step) -> None:
    if not step.ok:
        raise ContractError(step.reason, step.detail)


def _valid_keys(signed: SignedContract, signers: Signers, seen_ms: int | None) -> set[bytes]:
    """The distinct public keys that signed; the same key may be written as U…, A… and O…."""
    message = contract_message(signed.contract)
    issued_ms = time_ms(signed.contract.issued_at)
    keys: set[bytes] = set()
    for entry in signed.signatures:
        _check_signature(entry, message)
        why = _may_sign(entry.key_id, signers, issued_ms, issued_ms if seen_ms is None else seen_ms)
        if why:
            raise ContractError("untrusted_signer", f"{entry.key_id}: {why}")
        keys.add(decode_public(entry.key_id))
    return keys


def _check_signature(entry: ContractSignature | ChangeRequest, message: bytes) -> None:
    try:
        good = is_signed_by(entry.key_id, message, from_base64url(entry.signature))
    except ValueError:
        good = False
    if not good:
        raise ContractError("bad_signature", f"not signed by {entry.key_id}, or changed afterwards")


def _may_sign(key_id: str, signers: Signers, issued_ms: int, seen_ms: int) -> str:
    """Empty, or why this key may not sign contracts."""
    if key_id in signers.roots:
        return ""
    known = signers.trust.find(key_id)
    if known is None:
        return "neither a root key nor enrolled"
    if role_of(known.agent) != "human" or not holds(known.capabilities, SIGN):
        return f"{known.agent} does not hold {SIGN}, or is no human"
    reason = signers.trust.judge_key(key_id, known.agent, issued_ms, seen_ms)
    return "" if reason is Reason.OK else str(reason)


def _check_approved(
    new: Contract, request: ChangeRequest, keys: set[bytes], threshold: int, signers: Signers, seen_ms: int | None
) -> None:
    """Asked for by a key that is known and was good, signed by enough others."""
    _check_signature(request, change_message(request))
    if request.key_id not in signers.roots:
        asked_ms = time_ms(request.requested_at)
        issued_ms = time_ms(new.issued_at)
        reason = signers.trust.judge_key(
            request.key_id, request.requested_by, asked_ms, issued_ms if seen_ms is None else seen_ms
        )
        if reason is not Reason.OK:
            raise ContractError("untrusted_signer", f"the asker's key {request.key_id}: {reason}")
    others = keys - {decode_public(request.key_id)}
    if len(others) < threshold:
        raise ContractError(
            "change_not_approved", f"{len(others)} of the {threshold} approvals by others than {request.requested_by}"
        )
