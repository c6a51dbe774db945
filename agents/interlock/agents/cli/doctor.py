"""`interlock doctor`: each thing that must be right, whether it is, and how to mend it."""

from __future__ import annotations

import shutil
import sys
from typing import Literal

import msgspec
from msgspec import Struct

from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.bus.errors import BusError

MIN_FREE_MB = 200


class Finding(Struct, frozen=True):
    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    mend: str = ""


async def examine(session: Session) -> int:
    """Exit 1 if anything fails."""
    findings = [python(), server(), config(), skills(session), isolation(session), disk(session), keys(session)]
    findings += [users(session), await broker(session)]
    for finding in findings:
        mend = f"  → {finding.mend}" if finding.mend else ""
        if not session.json:
            session.say(f"{finding.state:<4} {finding.name}: {finding.detail}{mend}")
    if session.json:
        session.say("", [msgspec.to_builtins(finding) for finding in findings])
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def python() -> Finding:
    return Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))


def server() -> Finding:
    from interlock.bus.server_binary import find_server, server_version

    try:
        binary = find_server()
        return Finding("nats-server", "ok", f"{'.'.join(map(str, server_version(binary)))} at {binary}")
    except BusError as error:
        return Finding("nats-server", "fail", error.detail, error.mend)


def config() -> Finding:
    from interlock.agents.goal.gates import load_gates
    from interlock.agents.workspace.config_dir import config_dir

    try:
        directory = config_dir()
        load_gates(directory / "gates.yaml")
        return Finding("configuration", "ok", str(directory))
    except (UserError, ValueError, OSError) as error:
        return Finding("configuration", "fail", str(error), "Restore it from the distribution")


def skills(session: Session) -> Finding:
    from interlock.skills.errors import SkillsError
    from interlock.skills.registry import Registry

    try:
        registry = Registry.load([session.layout.root / name for name in session.settings.skills])
        return Finding("skills", "ok", f"{len(registry.names())} skills")
    except SkillsError as error:
        return Finding("skills", "fail", error.detail, error.mend)


def isolation(session: Session) -> Finding:
    from interlock.skills.sandbox.enter import missing

    absent = missing()
    if not absent:
        return Finding("isolation", "ok", "Landlock, seccomp, rlimits")
    strict = session.settings.isolation == "strict"
    detail = f"this kernel has no {', '.join(absent)}"
    mend = "Run on Linux 5.13 or newer, or set isolation: best_effort"
    return Finding("isolation", "fail" if strict else "warn", detail, mend)


def disk(session: Session) -> Finding:
    free_mb = shutil.disk_usage(session.layout.root).free >> 20
    if free_mb < MIN_FREE_MB:
        return Finding("disk", "fail", f"{free_mb} MB free", f"Free at least {MIN_FREE_MB} MB")
    return Finding("disk", "ok", f"{free_mb} MB free")


def keys(session: Session) -> Finding:
    from interlock.agents.workspace.keys import AGENTS, load_key, load_trust

    if not session.layout.trust.exists():
        return Finding("keys", "warn", "none yet", "`interlock init` or `interlock run` makes them")
    try:
        trust = load_trust(session.layout)
        for agent in AGENTS:
            load_key(session.layout, agent)
    except UserError as error:
        return Finding("keys", "fail", str(error))
    if trust.workspace != session.workspace:
        return Finding("keys", "fail", f"they are those of workspace {trust.workspace}", "Use another --dir")
    return Finding("keys", "ok", f"trust store version {trust.version}, {len(AGENTS)} agents")


def users(session: Session) -> Finding:
    if session.layout.is_secure:
        return Finding("users", "ok", f"the broker lets in those of {session.layout.users} alone")
    return Finding("users", "warn", "the broker lets anybody in", "`interlock init --secure` gives each role a user")


async def broker(session: Session) -> Finding:
    from interlock.bus.streams import declarations

    if not session.nats and session.layout.running() is None:
        return Finding("broker", "warn", "none runs here", "`interlock up` starts one")
    try:
        async with session.connected() as transport:
            await transport.declare(declarations((session.workspace,)), bind_only=True)
        return Finding("broker", "ok", "reachable, streams and consumers are there")
    except (BusError, UserError) as error:
        return Finding("broker", "fail", str(error))
