"""`interlock contract show | propose | sign | history | verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from interlock.agents.cli.session import Session
from interlock.agents.contract.configuration import ConfigurationDigests, configuration_digests
from interlock.agents.contract.generate import playbook_directories
from interlock.agents.contract.proposal import (
    check_proposal,
    proposed,
    read_proposal,
    requested,
    sign_proposal,
    write_proposal,
)
from interlock.agents.contract.store import PROPOSAL, load_contract, signers_of, stored_versions, write_version
from interlock.agents.errors import UserError
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import load_key
from interlock.agents.workspace.policies import policy_directories
from interlock.bus.permissions import ADMIN
from interlock.envelope.amounts import clock_ms
from interlock.envelope.contract import Change, Contract
from interlock.envelope.contract_chain import Chain, ContractError, Version, load_chain
from interlock.envelope.contract_change import changes_between


def show(session: Session, number: int | None, *, proposal: bool) -> int:
    """One version, the newest by default; or what is proposed."""
    if proposal:
        contract, ref = read_proposal(session.layout).contract, ""
    else:
        version = _version(load_contract(session.layout), number)
        contract, ref = version.contract, version.ref
    value = {"ref": ref, "contract": msgspec.to_builtins(contract)}
    text = msgspec.json.format(msgspec.json.encode(value["contract"])).decode()
    session.say(f"{text}\n{'proposed, not signed' if proposal else f'contractRef {ref}'}", value)
    return 0


def history(session: Session) -> int:
    """Every version: what it changed, who signed it."""
    from interlock.envelope.contract_chain import decoded

    chain = load_contract(session.layout)
    rows: list[dict[str, Any]] = []
    for number, version in enumerate(chain.versions):
        before = chain.versions[number - 1].contract if number else None
        request = version.contract.change_request
        rows.append(
            {
                "version": version.contract.contract_version,
                "ref": version.ref,
                "issuedAt": version.contract.issued_at,
                "lifecycle": version.contract.lifecycle,
                "origin": version.contract.origin,
                "changed": told_changes(before, version.contract),
                "signedBy": [entry.key_id for entry in decoded(version.data).signatures],
                "request": None if request is None else f"{request.requested_by}: {request.why}",
            }
        )
    lines = [
        f"{row['version']:>4}  {row['issuedAt']}  {row['lifecycle']:<8} {row['origin']:<10} "
        f"{', '.join(row['changed']) or '-'}  {row['ref'][:16]}"
        + (f"\n      asked for by {row['request']}" if row["request"] else "")
        for row in rows
    ]
    session.say("\n".join(lines), rows)
    return 0


def verify(session: Session, head: str) -> int:
    """The chain on disk, from its bytes, with no network. head: what the newest version's ref must be."""
    signers, stored = signers_of(session.layout), stored_versions(session.layout)
    try:
        chain = load_chain(stored, signers.trust.workspace, signers)
    except ContractError as error:
        return _told(session, False, f"{len(stored)} versions: {error}")
    if head and chain.head.ref != head:
        known = "an earlier version" if chain.find(head) else "no version here"
        return _told(session, False, f"the newest version is {chain.head.ref}; {head[:64]} is {known}")
    newest = chain.head.contract
    told = f"{len(stored)} versions, each signed and chained; the newest is {newest.lifecycle}: {chain.head.ref}"
    return _told(session, True, told)


def propose(
    session: Session, changes: Sequence[str], *, lifecycle: str, change: str, why: str, keep: bool, asker: str
) -> int:
    """Writes the proposal. change, why: the request that a frozen contract demands, signed by the asker's key."""
    chain = load_contract(session.layout)
    now_ms = clock_ms()
    wanted = [*changes, *([f"lifecycle={lifecycle}"] if lifecycle else [])]
    contract = proposed(chain, None if keep else _digests(session), wanted, now_ms)
    if change or why:
        contract = requested(contract, _change(change), _why(why), asker, load_key(session.layout, asker), now_ms)
    check_proposal(chain, contract)
    write_proposal(session.layout, contract)
    told = ", ".join(told_changes(chain.head.contract, contract)) or "nothing"
    text = f"version {contract.contract_version} changes {told}. Sign it: interlock contract sign"
    session.say(text, {"version": contract.contract_version, "changed": told_changes(chain.head.contract, contract)})
    return 0


async def sign(session: Session, name: str) -> int:
    """Adds a signature. With enough of them the proposal becomes a version: on disk, and where a broker runs, there."""
    from interlock.agents.contract.exchange import exchange

    chain, layout = load_contract(session.layout), session.layout
    data = sign_proposal(layout, chain, load_key(layout, name), clock_ms())
    signers = signers_of(layout)
    try:
        grown = chain.extended(data, signers, clock_ms())
    except ContractError as error:
        if error.reason not in ("too_few_signatures", "change_not_approved"):
            write_proposal(layout, read_proposal(layout).contract)
            raise UserError(error.reason, error.detail, "Sign with --key root, or a human's key", 2) from error
        session.say(f"signed; not in force yet: {error.detail}", {"inForce": False, "detail": error.detail})
        return 0
    write_version(layout, grown.head)
    (layout.contracts / PROPOSAL).unlink(missing_ok=True)
    published = bool(session.nats or layout.running())
    if published:
        async with session.connected(agent=ADMIN) as transport:
            await exchange(transport, layout, grown)
    number = grown.head.contract.contract_version
    told = "published" if published else "published when Interlock runs next"
    session.say(f"version {number} is in force, {told}: {grown.head.ref}", {"inForce": True, "ref": grown.head.ref})
    return 0


def told_changes(before: Contract | None, after: Contract) -> list[str]:
    """For people: the classes that a freeze guards, and what it does not."""
    if before is None:
        return []
    told: list[str] = [*changes_between(before, after)]
    if before.emergency_flags != after.emergency_flags:
        told.append("emergencyFlags")
    if before.lifecycle != after.lifecycle and "lifecycle" not in told:
        told.append(f"{before.lifecycle} → {after.lifecycle}")
    return told


def _digests(session: Session) -> ConfigurationDigests:
    return configuration_digests(
        config_dir(),
        playbook_directories(session.layout, session.settings),
        policy_directories(session.layout, session.settings),
    )


def _version(chain: Chain, number: int | None) -> Version:
    if number is None:
        return chain.head
    if not 1 <= number <= len(chain.versions):
        raise UserError("unknown_version", f"there is no version {number}", "`interlock contract history`", 2)
    return chain.versions[number - 1]


def _change(change: str) -> Change:
    known: tuple[Change, ...] = get_args(Change)
    found = next((one for one in known if one == change), None)
    if found is None:
        raise UserError("bad_usage", f"`{change[:40]}` is no class of change", f"--change {' | '.join(known)}", 2)
    return found


def _why(why: str) -> str:
    if not 1 <= len(why) <= 1000:
        raise UserError("bad_usage", "a change request says why, in at most 1000 letters", "--why TEXT", 2)
    return why


def _told(session: Session, valid: bool, detail: str) -> int:
    session.say(f"{'valid' if valid else 'INVALID'}: {detail}", {"valid": valid, "detail": detail})
    return 0 if valid else 2
