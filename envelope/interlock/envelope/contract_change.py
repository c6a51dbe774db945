"""Which version may follow which (GOV-08), and what a frozen contract refuses without a change request (GOV-09). Pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from interlock.envelope.amounts import time_ms
from interlock.envelope.canonical import canonical
from interlock.envelope.contract import Change, ChangeRequest, Contract, Lifecycle
from interlock.envelope.ids import sha256_hex

FOLLOWS: dict[Lifecycle, tuple[Lifecycle, ...]] = {
    "draft": ("draft", "active", "retired"),
    "active": ("active", "frozen", "retired"),
    "frozen": ("frozen", "active", "retired"),
    "retired": (),
}


class Step(Struct, frozen=True):
    """Whether a version may follow. reason `ok`, or why not: wrong_workspace, wrong_version, broken_chain, from_past,
    bad_lifecycle, frozen, batched, change_mismatch, change_reused.
    """

    reason: str = "ok"
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.reason == "ok"


def changes_between(old: Contract, new: Contract) -> list[Change]:
    """The classes of change that a freeze guards, in their order; what is not named here may always change: halting,
    lifting a halt, asking for human approval, freezing, retiring the whole contract.
    """
    old_flags, new_flags = old.emergency_flags, new.emergency_flags
    unfreezes = old.lifecycle == "frozen" and new.lifecycle == "active"
    differing: dict[Change, bool] = {
        "agents": old.agents != new.agents,
        "plan_logic": old.checksums.plan_logic != new.checksums.plan_logic,
        "compliance": (old.policy_bundle_checksum, old.checksums.compliance, old.gates)
        != (new.policy_bundle_checksum, new.checksums.compliance, new.gates)
        or (old_flags.human_approval_required and not new_flags.human_approval_required),
        "economics": (old.quotas, old.checksums.economics, old_flags.budget_override)
        != (new.quotas, new.checksums.economics, new_flags.budget_override),
        "signatures": (old.signing, old.kms_key_ref) != (new.signing, new.kms_key_ref),
        "determinism": old.baselines != new.baselines,
        "evidence": old.evidence != new.evidence,
        "lifecycle": unfreezes or old.retired_refs != new.retired_refs,
    }
    return [change for change, differs in differing.items() if differs]


def change_digest(contract: Contract) -> str:
    """SHA-256 of what a version says, without the request for it and the time it was made."""
    return sha256_hex(canonical(replace(contract, change_request=None, issued_at="1970-01-01T00:00:00.000Z")))


def check_first(contract: Contract, workspace: str) -> Step:
    """Version 1: names no predecessor, begins as draft or active, and nobody had to ask for it."""
    if contract.workspace != workspace:
        return Step("wrong_workspace", f"it is the contract of {contract.workspace}; this is {workspace}")
    if contract.contract_version != 1 or contract.previous_contract_ref is not None:
        return Step("wrong_version", f"the chain begins with version {contract.contract_version}")
    if contract.lifecycle not in ("draft", "active"):
        return Step("bad_lifecycle", f"a first version cannot be {contract.lifecycle}")
    if contract.change_request is not None or contract.retired_refs:
        return Step("change_mismatch", "a first version has nothing to change and nothing to retire")
    return Step()


def check_next(old: Contract, old_ref: str, new: Contract, used: frozenset[str]) -> Step:
    """Whether `new` may follow `old`, whose stored bytes have the digest old_ref. used: change requests that are spent."""
    if new.workspace != old.workspace:
        return Step("wrong_workspace", f"it is the contract of {new.workspace}; this is {old.workspace}")
    if new.contract_version != old.contract_version + 1:
        return Step("wrong_version", f"version {new.contract_version} after version {old.contract_version}")
    if new.previous_contract_ref != old_ref:
        return Step(
            "broken_chain", f"previousContractRef is not the digest of version {old.contract_version}: {old_ref}"
        )
    if time_ms(new.issued_at) < time_ms(old.issued_at):
        return Step("from_past", f"issued {new.issued_at}, before version {old.contract_version}")
    if new.lifecycle not in FOLLOWS[old.lifecycle]:
        allowed = ", ".join(FOLLOWS[old.lifecycle]) or "nothing"
        return Step("bad_lifecycle", f"{new.lifecycle} after {old.lifecycle}; allowed: {allowed}")
    if not set(new.retired_refs) >= set(old.retired_refs):
        return Step("bad_lifecycle", "a version once retired stays retired")
    if old.origin == "proposed" and new.origin == "generated":
        return Step("bad_lifecycle", "a contract that people have taken over is no longer renewed by the system")
    return _check_change(old, old_ref, new, used)


def _check_change(old: Contract, old_ref: str, new: Contract, used: frozenset[str]) -> Step:
    changes, request = changes_between(old, new), new.change_request
    if old.lifecycle == "frozen" and changes:
        if request is None:
            told = ", ".join(changes)
            return Step("frozen", f"the contract is frozen: {told} may change only by an approved change request")
        if len(changes) > 1:
            return Step("batched", f"one change request for {', '.join(changes)}: each needs a version of its own")
    return Step() if request is None else _check_request(request, changes, old_ref, new, used)


def _check_request(
    request: ChangeRequest, changes: list[Change], old_ref: str, new: Contract, used: frozenset[str]
) -> Step:
    if request.request_id in used:
        return Step("change_reused", f"change request {request.request_id} was already spent")
    if request.base != old_ref:
        return Step("change_mismatch", "the change request was made for another version")
    if changes != [request.change]:
        told = ", ".join(changes) or "nothing that a freeze guards"
        return Step("change_mismatch", f"asked for {request.change}, changes {told}")
    if request.change_digest != change_digest(new):
        return Step("change_mismatch", "the version is not what was asked for")
    if time_ms(request.requested_at) > time_ms(new.issued_at):
        return Step("change_mismatch", "asked for after it was issued")
    return Step()
