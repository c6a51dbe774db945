"""The contract's versions on disk, one file each, and the proposal that is not one yet."""

from __future__ import annotations

from pathlib import Path

from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import load_roots, load_trust, write_private
from interlock.agents.workspace.layout import Layout
from interlock.envelope.contract_chain import Chain, ContractError, Signers, Version, load_chain

PROPOSAL = "proposal.json"
_MEND = "Restore .interlock/contracts; nothing runs under a contract that cannot be believed"


def version_path(layout: Layout, version: int) -> Path:
    return layout.contracts / f"v{version:06d}.json"


def stored_versions(layout: Layout) -> list[bytes]:
    """The bytes of all versions, oldest first; nothing of them is believed. Raises UserError."""
    try:
        return [path.read_bytes() for path in sorted(layout.contracts.glob("v*.json"))]
    except OSError as error:
        raise UserError("unreadable", f"{layout.contracts}: {error.strerror}", "Check its rights") from error


def signers_of(layout: Layout) -> Signers:
    """Who may sign contracts here. Raises UserError."""
    return Signers(tuple(load_roots(layout)), load_trust(layout))


def load_contract(layout: Layout) -> Chain:
    """The chain on disk, verified. Raises UserError."""
    signers, stored = signers_of(layout), stored_versions(layout)
    if not stored:
        raise UserError("no_contract", f"{layout.contracts} holds no contract", "Run `interlock init`")
    try:
        return load_chain(stored, signers.trust.workspace, signers)
    except ContractError as error:
        raise UserError(error.reason, str(error), _MEND, 2) from error


def write_version(layout: Layout, version: Version) -> Path:
    """Never over another one. Raises UserError."""
    path = version_path(layout, version.contract.contract_version)
    try:
        layout.contracts.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() != version.data:
            raise UserError("forked", f"{path} holds another version already", "A version never changes", 2)
        write_private(path, version.data)
    except OSError as error:
        raise UserError("not_writable", f"{path}: {error.strerror}", "Choose a directory with --dir") from error
    return path
