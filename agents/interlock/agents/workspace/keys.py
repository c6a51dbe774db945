"""The keys of a workspace: one root, one per role, one human; the trust store they are enrolled in (GOV-01)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.layout import Layout
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.ids import role_of
from interlock.envelope.keys import KeyFormatError, SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustError, TrustStore, load, sign_store

AGENTS = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human")
ROOT = "root"
MAX_BYTES = 1 << 20
RESTORE = "Restore it from your backup; without one, move .interlock away and begin anew with `interlock init`"
VALID_MS = 365 * 24 * 3_600_000
BACKDATED_MS = 60_000
CAPABILITIES = {"executor": ["skill:*"], "auditor": ["audit:*"], "human": ["approve:*", "contract:sign"]}
# Name, inode, size and times of change of each file that may hold an agent's key.
Stamps = tuple[tuple[str, int, int, int, int], ...]
TRUST_LEVELS = {"human": 100, "auditor": 80, "gateway": 60}


def ensure_keys(layout: Layout, workspace: str) -> None:
    """Makes keys and trust store where there are none; touches nothing that is there. Raises UserError: where goals ran
    already, a new store would forget who was revoked.
    """
    if layout.trust.exists():
        return
    if layout.store.exists():
        detail = f"{layout.trust} is gone, but goals ran here"
        raise UserError(
            "no_trust", detail, f"Restore it, or move {layout.hidden} away and begin anew with `interlock init`"
        )
    try:
        layout.hidden.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.keys.mkdir(mode=0o700, exist_ok=True)
        root = made_key(layout.key(ROOT), "O")
        agents = {agent: made_key(layout.key(agent), "U") for agent in AGENTS}
        write_private(layout.roots, msgspec.json.encode([root.key_id]))
        write_private(layout.trust, sign_store(first_store(workspace, agents, clock_ms()), [root]))
    except OSError as error:
        raise UserError(
            "not_writable", f"{layout.hidden}: {error.strerror}", "Choose a directory with --dir"
        ) from error


def first_store(workspace: str, agents: dict[str, SigningKey], now_ms: int) -> TrustStore:
    """Version 1: every agent with its key, valid for a year."""
    return TrustStore(
        workspace=workspace,
        version=1,
        issued_at=timestamp(now_ms),
        agents=[
            AgentRecord(
                agent=agent,
                keys=[
                    KeyRecord(
                        key_id=key.key_id,
                        not_before=timestamp(now_ms - BACKDATED_MS),
                        not_after=timestamp(now_ms + VALID_MS),
                    )
                ],
                capabilities=CAPABILITIES.get(agent, []),
                trust_level=TRUST_LEVELS.get(agent, 50),
            )
            for agent, key in agents.items()
        ],
    )


def key_stamps(layout: Layout, agent: str) -> Stamps:
    """What changes whenever `load_key` would find something else. Empty when there is no file."""
    stamps = []
    for name in dict.fromkeys((agent, role_of(agent))):
        try:
            found = layout.key(name).stat()
        except OSError:
            continue
        stamps.append((name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return tuple(stamps)


def load_key(layout: Layout, agent: str) -> SigningKey:
    """The seed of an agent, its role's if it has none of its own. Raises UserError if it is missing, broken, or readable
    by others.
    """
    path = layout.key(agent)
    if not path.exists():
        path = layout.key(role_of(agent))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError("no_key", f"{path}: {error.strerror}", RESTORE) from error
    if stat.S_IMODE(mode) & 0o077:
        raise UserError("key_exposed", f"{path} can be read by others", f"chmod 600 {path}")
    return _seed(path)


def load_roots(layout: Layout) -> list[str]:
    """The pinned public root keys. Raises UserError."""
    try:
        return msgspec.json.decode(read_file(layout.roots, MAX_BYTES, exit_code=1), type=list[str])
    except UserError as error:
        raise UserError("no_roots", f"{layout.roots} cannot be read", RESTORE) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise UserError("no_roots", f"{layout.roots}: {error}", RESTORE) from error


def load_trust(layout: Layout) -> Trust:
    """The signed store on disk, believed only if the pinned roots signed it. Raises UserError."""
    try:
        data = layout.trust.read_bytes()
    except OSError as error:
        mend = "Run `interlock init`" if isinstance(error, FileNotFoundError) and not layout.roots.exists() else RESTORE
        raise UserError("no_trust", f"{layout.trust}: {error.strerror}", mend) from error
    try:
        return load(data, load_roots(layout))
    except TrustError as error:
        raise UserError(error.reason, f"{layout.trust}: {error}", RESTORE) from error


def write_private(path: Path, data: bytes) -> None:
    """Atomically, for the owner alone."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _seed(path: Path) -> SigningKey:
    """Raises UserError."""
    try:
        return SigningKey.from_seed_text(read_file(path, MAX_BYTES, exit_code=1).decode())
    except (KeyFormatError, UnicodeDecodeError) as error:
        told = error if isinstance(error, KeyFormatError) else "no seed"
        raise UserError("bad_key", f"{path}: {told}", RESTORE) from error


def made_key(path: Path, kind: str) -> SigningKey:
    """The key in the file, made if there is none. Raises OSError or UserError."""
    if path.exists():
        return _seed(path)
    key = SigningKey.generate(kind)
    write_private(path, (key.seed_text() + "\n").encode())
    return key


def root_keys(layout: Layout) -> list[SigningKey]:
    """The root seeds that are here. Raises UserError if there is none."""
    paths = sorted(layout.keys.glob(f"{ROOT}*.nk"))
    if not paths:
        raise UserError("no_root", f"no root key in {layout.keys}", "Bring it back for as long as the change takes")
    return [load_key(layout, path.stem) for path in paths]
