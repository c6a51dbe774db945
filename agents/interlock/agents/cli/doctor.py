"""`interlock doctor`: each thing that must be right, whether it is, and how to mend it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from interlock.agents.cli.session import Session
from interlock.agents.errors import UserError
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.settings import Settings, directory_problems
from interlock.bus.errors import BusError
from interlock.envelope.amounts import clock_ms
from interlock.envelope.verdict import Reason

MIN_FREE_MB = 200


class Finding(Struct, frozen=True):
    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    mend: str = ""


async def examine(directory: Path | None, nats: str, json: bool) -> int:
    """Exit 1 if anything fails."""
    try:
        session = Session(directory, nats, json)
        told = settings(session)
    except UserError as error:
        if error.reason not in ("bad_settings", "bad_yaml", "not_a_file", "unreadable", "too_large"):
            raise
        # The rest is examined all the same, as if nothing were set.
        session = Session(directory, nats, json, Settings())
        told = [Finding("settings", "fail", str(error), "Mend it; docs/settings.md tells every setting")]
    findings = [python(), server(), config(), *told, *webhooks(session), policies(session), skills(session)]
    findings += [
        playbooks(session),
        isolation(session),
        disk(session),
        keys(session),
        contract(session),
        users(session),
        await broker(session),
        await halts(session),
        await deviations(session),
    ]
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
    from interlock.bus.server.binary import find_server, server_version

    try:
        binary = find_server()
        return Finding("nats-server", "ok", f"{'.'.join(map(str, server_version(binary)))} at {binary}")
    except BusError as error:
        return Finding("nats-server", "fail", error.detail, error.mend)


def config() -> Finding:
    from interlock.agents.goal.gates import load_gates

    try:
        directory = config_dir()
        load_gates(directory / "gates.yaml")
        return Finding("configuration", "ok", str(directory))
    except (UserError, ValueError, OSError) as error:
        return Finding("configuration", "fail", str(error), "Restore it from the distribution")


def settings(session: Session) -> list[Finding]:
    problems = directory_problems(session.layout.settings, session.settings)
    if problems:
        return [Finding("settings", "fail", problem, "Make it, or take it out") for problem in problems]
    return [Finding("settings", "ok", str(session.layout.settings) if session.layout.settings.exists() else "defaults")]


def webhooks(session: Session) -> list[Finding]:
    """Of those that are set. Their paths may be secrets, so only the host is told."""
    from interlock.agents.workspace.webhook import webhook_of, witness_of

    found = []
    for name, read in (("approvals.webhook", webhook_of), ("audit.witness", witness_of)):
        try:
            hook = read(session.layout, session.settings)
        except UserError as error:
            found.append(Finding(name, "fail", str(error), "docs/settings.md leads to what it takes"))
        else:
            found += [] if hook is None else [Finding(name, "ok", urlsplit(hook.url).hostname or "")]
    return found


def policies(session: Session) -> Finding:
    from interlock.agents.workspace.policies import policy_bundle

    try:
        bundle = policy_bundle(session.layout, session.settings)
        return Finding("policies", "ok", f"{len(bundle.modules)} modules, bundle {bundle.digest[:16]}")
    except UserError as error:
        return Finding("policies", "fail", str(error), "`interlock policy check` until it passes; nothing runs without")


def skills(session: Session) -> Finding:
    from interlock.skills.errors import SkillsError
    from interlock.skills.registry import Registry

    try:
        registry = Registry.load([session.layout.root / name for name in session.settings.skills])
        return Finding("skills", "ok", f"{len(registry.names())} skills")
    except SkillsError as error:
        return Finding(
            "skills", "fail", f"{error.detail} ({error.reason})", error.mend or "Mend the skill, or take it out"
        )


def playbooks(session: Session) -> Finding:
    from interlock.agents.planning.playbooks import load_playbooks

    try:
        own = [session.layout.root / name for name in session.settings.playbooks]
        return Finding("playbooks", "ok", f"{len(load_playbooks([config_dir() / 'playbooks', *own]))} playbooks")
    except (UserError, ValueError, OSError) as error:
        return Finding("playbooks", "fail", str(error), "Mend the file")


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
    if not os.access(session.layout.root, os.W_OK | os.X_OK):
        return Finding(
            "disk", "fail", f"{session.layout.root} cannot be written", "Choose another directory with --dir"
        )
    if session.layout.hidden.exists() and not session.layout.hidden.is_dir():
        return Finding("disk", "fail", f"{session.layout.hidden} is no directory", "Move it away")
    free_mb = shutil.disk_usage(session.layout.root).free >> 20
    if free_mb < MIN_FREE_MB:
        return Finding("disk", "fail", f"{free_mb} MB free", f"Free at least {MIN_FREE_MB} MB")
    return Finding("disk", "ok", f"{free_mb} MB free")


def keys(session: Session) -> Finding:
    from interlock.agents.workspace.keys import AGENTS, RESTORE, load_key, load_trust

    if not session.layout.trust.exists() and session.layout.store.exists():
        return Finding("keys", "fail", f"{session.layout.trust} is gone, but goals ran here", RESTORE)
    if not session.layout.trust.exists():
        return Finding("keys", "warn", "none yet", "`interlock init` or `interlock run` makes them")
    try:
        trust, now_ms = load_trust(session.layout), clock_ms()
        held = {agent: load_key(session.layout, agent).key_id for agent in AGENTS}
    except UserError as error:
        return Finding("keys", "fail", str(error))
    for agent, key_id in held.items():
        reason = trust.judge_key(key_id, agent, now_ms, now_ms)
        if reason is not Reason.OK:
            detail = f"{session.layout.keys / agent}.nk is not valid in {session.layout.trust} now ({reason})"
            return Finding("keys", "fail", detail, "Check this machine's clock; restore keys and trust store together")
    if trust.workspace != session.workspace:
        return Finding("keys", "fail", f"they are those of workspace {trust.workspace}", "Use another --dir")
    return Finding("keys", "ok", f"trust store version {trust.version}, {len(AGENTS)} agents")


def users(session: Session) -> Finding:
    if session.layout.is_secure:
        return Finding("users", "ok", f"the broker lets in those of {session.layout.users} alone")
    return Finding("users", "warn", "the broker lets anybody in", "`interlock init --secure` gives each role a user")


def contract(session: Session) -> Finding:
    """Whether it can be believed, lets goals begin, and pins the configuration that is here."""
    from interlock.agents.contract.admission import RENEW, drift
    from interlock.agents.contract.configuration import configuration_digests
    from interlock.agents.contract.generate import playbook_directories
    from interlock.agents.contract.store import load_contract, signers_of, stored_versions
    from interlock.agents.workspace.config_dir import config_dir
    from interlock.agents.workspace.policies import policy_directories
    from interlock.envelope.contract_gate import check_in_force

    if not session.layout.trust.exists() or not stored_versions(session.layout):
        return Finding("contract", "warn", "none yet", "`interlock init` or `interlock run` makes one")
    try:
        signers_of(session.layout)
    except UserError:
        return Finding("contract", "warn", "not examined", "Mend the keys first: they say who signed it")
    try:
        chain = load_contract(session.layout)
        own = (
            playbook_directories(session.layout, session.settings),
            policy_directories(session.layout, session.settings),
        )
        drifted = drift(chain.head.contract, configuration_digests(config_dir(), *own))
    except UserError as error:
        return Finding("contract", "fail", str(error))
    stopped, head = check_in_force(chain), chain.head.contract
    if not stopped.ok:
        return Finding(
            "contract", "fail", stopped.detail, "`interlock contract propose` a version that lets goals begin"
        )
    if drifted and head.origin == "proposed":
        return Finding("contract", "fail", f"the configuration differs from it: {', '.join(drifted)}", RENEW)
    return Finding("contract", "ok", f"version {head.contract_version}, {head.lifecycle}, {head.origin}")


async def halts(session: Session) -> Finding:
    from interlock.agents.cli.halting import halts_in_force, line

    if not session.nats and session.layout.running() is None and not session.layout.store.is_dir():
        return Finding("halts", "ok", "nothing ran here yet")
    try:
        orders = await halts_in_force(session)
    except (BusError, UserError) as error:
        return Finding("halts", "warn", f"not known: {error}")
    if not orders:
        return Finding("halts", "ok", "nothing is halted")
    return Finding("halts", "warn", "; ".join(map(line, orders)), "`interlock resume SCOPE` ends one")


async def deviations(session: Session) -> Finding:
    from interlock.agents.cli.deviating import line, open_deviations

    if not session.nats and session.layout.running() is None and not session.layout.store.is_dir():
        return Finding("deviations", "ok", "nothing ran here yet")
    try:
        async with session.connected(offline=True) as transport:
            found = await open_deviations(session, transport)
            now_ms = transport.clock.now_ms()
    except (BusError, UserError) as error:
        return Finding("deviations", "warn", f"not known: {error}")
    if not found:
        return Finding("deviations", "ok", "none is open")
    state: Literal["warn", "fail"] = "fail" if any(one.deadline_ms < now_ms for one in found) else "warn"
    told = "; ".join(line(one, now_ms) for one in found)
    return Finding("deviations", state, told, "`interlock deviations resolve ID --why …` once it is mended")


async def broker(session: Session) -> Finding:
    from interlock.bus.streams import declarations

    if not session.nats and session.layout.running() is None:
        left = "; run/server.json is of a process that is gone" if session.layout.server.exists() else ""
        return Finding("broker", "warn", f"none runs here{left}", "`interlock up` starts one")
    try:
        async with session.connected() as transport:
            await transport.declare(declarations((session.workspace,)), bind_only=True)
        return Finding("broker", "ok", "reachable, streams and consumers are there")
    except (BusError, UserError) as error:
        return Finding("broker", "fail", str(error))
