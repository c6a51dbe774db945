"""Proposals: the next version as somebody wants it, collecting signatures until it is one (GOV-08, GOV-09)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from interlock.agents.contract.configuration import ConfigurationDigests
from interlock.agents.contract.generate import following
from interlock.agents.contract.store import PROPOSAL
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import write_private
from interlock.agents.workspace.layout import Layout
from interlock.envelope.amounts import time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.contract import Change, ChangeRequest, Contract, SignedContract, change_message, sign_contract
from interlock.envelope.contract_chain import Chain, ContractError, decoded
from interlock.envelope.contract_change import change_digest, check_next
from interlock.envelope.contract_gate import PENDING_MS
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey, base64url

_FIXED = {"schema", "workspace", "contractVersion", "previousContractRef", "issuedAt", "origin", "changeRequest"}


def proposed(chain: Chain, digests: ConfigurationDigests | None, changes: Sequence[str], now_ms: int) -> Contract:
    """The head with PATH=VALUE changes (`quotas.perGoal.costUSD=5`; values are JSON, or else text) as the next version,
    for the configuration with these digests; None: the one that is pinned already. Raises UserError.
    """
    body = msgspec.to_builtins(chain.head.contract)
    if digests is not None:
        body |= {"policyBundleChecksum": digests.policy_bundle, "checksums": msgspec.to_builtins(digests.checksums)}
    body["quotas"].setdefault("kinds", [])  # may be set where there are none yet
    for change in changes:
        _set(body, change)
    if isinstance(body["quotas"], dict) and not body["quotas"].get("kinds"):
        body["quotas"].pop("kinds", None)
    body |= {"origin": "proposed", "issuedAt": timestamp(now_ms), "changeRequest": None}
    try:
        return following(chain, msgspec.convert(body, Contract))
    except (msgspec.ValidationError, ValueError) as error:
        raise UserError("bad_contract", str(error), "`interlock contract show` has every field", 2) from error


def requested(contract: Contract, change: Change, why: str, asker: str, key: SigningKey, now_ms: int) -> Contract:
    """With a request, signed by its asker, for exactly this version."""
    request = ChangeRequest(
        request_id=new_id(now_ms),
        base=contract.previous_contract_ref or "",
        change=change,
        why=why,
        requested_by=asker,
        requested_at=contract.issued_at,
        change_digest=change_digest(contract),
        key_id=key.key_id,
        signature="A" * 86,
    )
    return replace(contract, change_request=replace(request, signature=base64url(key.sign(change_message(request)))))


def check_proposal(chain: Chain, contract: Contract) -> None:
    """Raises UserError for what no signature could make a version."""
    spent = frozenset(
        version.contract.change_request.request_id for version in chain.versions if version.contract.change_request
    )
    step = check_next(chain.head.contract, chain.head.ref, contract, spent)
    if not step.ok:
        mend = "Ask for it: --change CLASS --why TEXT" if step.reason == "frozen" else "Propose it differently"
        raise UserError(step.reason, step.detail, mend, 2)


def write_proposal(layout: Layout, contract: Contract) -> None:
    write_private(layout.contracts / PROPOSAL, canonical(SignedContract(contract=contract, signatures=[])))


def read_proposal(layout: Layout) -> SignedContract:
    """Raises UserError."""
    path = layout.contracts / PROPOSAL
    try:
        return decoded(path.read_bytes())
    except OSError as error:
        raise UserError("no_proposal", "nothing is proposed", "`interlock contract propose`", 2) from error
    except ContractError as error:
        raise UserError(error.reason, f"{path}: {error.detail}", "Propose it again", 2) from error


def sign_proposal(layout: Layout, chain: Chain, key: SigningKey, now_ms: int) -> bytes:
    """The proposal with this key's signature too; kept as such. Raises UserError for one that is out of date."""
    proposal = read_proposal(layout)
    if now_ms > time_ms(proposal.contract.issued_at) + PENDING_MS:
        raise UserError("stale_proposal", f"proposed at {proposal.contract.issued_at}", "Propose it again", 2)
    check_proposal(chain, proposal.contract)
    data = sign_contract(proposal.contract, [key], proposal.signatures)
    write_private(layout.contracts / PROPOSAL, data)
    return data


def _set(body: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    *parents, name = path.split(".")
    if not equals or (parents or [name])[0] in _FIXED:
        raise UserError("bad_usage", f"cannot set `{change[:80]}`", "--set PATH=VALUE, a field that may change", 2)
    place: Any = body
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict) or name not in place:
        raise UserError("bad_usage", f"a contract has no field `{path[:80]}`", "`interlock contract show` has all", 2)
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = text
    place[name] = str(value) if isinstance(place[name], str) and not isinstance(value, str) else value
