"""The keys of a workspace: one root, one per role, one human; the trust store they are enrolled in (GOV-01)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from interlock.agents.errors import UserError
from interlock.agents.workspace.layout import Layout
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.ids import role_of
from interlock.envelope.keys import KeyFormatError, SigningKey
from interlock.envelope.trust import AgentRecord, KeyRecord, Trust, TrustError, TrustStore, load, sign_store

AGENTS = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer", "human")
ROOT = "root"
VALID_MS = 365 * 24 * 3_600_000
BACKDATED_MS = 60_000
CAPABILITIES = {"executor": ["skill:*"], "auditor": ["audit:*"], "human": ["approve:*", "contract:sign"]}
TRUST_LEVELS = {"human": 100, "auditor": 80, "gateway": 60}


def ensure_keys(layout: Layout, workspace: str) -> None:
    """Makes keys and trust store where there are none; touches nothing that is there. Raises UserError."""
    if layout.trust.exists():
        return
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


def load_key(layout: Layout, agent: str) -> SigningKey:
    """The seed of an agent, its role's if it has none of its own. Raises UserError if it is missing, broken, or readable
    by others.
    """
    path = layout.key(agent)
    if not path.exists():
        path = layout.key(role_of(agent))
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except OSError as error:
        raise UserError("no_key", f"{path}: {error.strerror}", "Run `interlock init`") from error
    if stat.S_IMODE(mode) & 0o077:
        raise UserError("key_exposed", f"{path} can be read by others", f"chmod 600 {path}")
    try:
        return SigningKey.from_seed_text(text)
    except KeyFormatError as error:
        raise UserError("bad_key", f"{path}: {error}", "Restore it, or make new keys with `interlock init`") from error


def load_roots(layout: Layout) -> list[str]:
    """The pinned public root keys. Raises UserError."""
    try:
        return msgspec.json.decode(layout.roots.read_bytes(), type=list[str])
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise UserError("no_roots", f"{layout.roots}: {error}", "Run `interlock init`") from error


def load_trust(layout: Layout) -> Trust:
    """The signed store on disk, believed only if the pinned roots signed it. Raises UserError."""
    try:
        return load(layout.trust.read_bytes(), load_roots(layout))
    except OSError as error:
        raise UserError("no_trust", f"{layout.trust}: {error.strerror}", "Run `interlock init`") from error
    except TrustError as error:
        raise UserError(error.reason, str(error), "Restore trust.json; nothing runs without it") from error


def write_private(path: Path, data: bytes) -> None:
    """Atomically, for the owner alone."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def made_key(path: Path, kind: str) -> SigningKey:
    """The key in the file, made if there is none. Raises OSError."""
    if path.exists():
        return SigningKey.from_seed_text(path.read_text())
    key = SigningKey.generate(kind)
    write_private(path, (key.seed_text() + "\n").encode())
    return key
