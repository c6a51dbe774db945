"""One role as an operating-system process: `python -m interlock.agents.process ROLE …` (ROL-10). What a pod runs.

Imports little before it must: a role is to start in a moment and idle below 60 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import anyio
import msgspec

from interlock.agents.contract.holder import ContractHolder
from interlock.agents.contract.store import load_contract
from interlock.agents.errors import UserError, one_line
from interlock.agents.parts import Parts
from interlock.agents.presence import CANNOT_START, SAYS, Presence, ping_subject, until_signalled
from interlock.agents.telemetry.showing import showing
from interlock.agents.wiring import ROLES, running
from interlock.agents.workspace.broker import login_of
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.held_key import keep_current
from interlock.agents.workspace.keys import load_key, load_roots, load_trust
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import MetricsPort, Settings, check_directories, load_settings
from interlock.agents.workspace.trust_source import TrustHolder
from interlock.agents.workspace.webhook import webhook_of, witness_of
from interlock.bus.child import bind_to_parent
from interlock.bus.control.holder import ControlHolder
from interlock.bus.errors import BusError, LoginRefused
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.sender import Identity
from interlock.bus.tasks import background
from interlock.bus.telemetry.logs import LogThread, logging_to
from interlock.bus.transport import Message
from interlock.bus.yaml12 import YamlError
from interlock.envelope.contract_chain import Chain
from interlock.envelope.contract_gate import check_in_force
from interlock.envelope.ids import is_agent_id, role_of
from interlock.envelope.keys import HeldKey
from interlock.envelope.verdict import Reason
from interlock.skills.errors import SkillsError

log = logging.getLogger("interlock.process")
PUT_OUT_S = 1.0
YOUNG_OBJECTS = 10_000


class Options(argparse.Namespace):
    """What a role's process is told on its command line."""

    agent: str
    dir: Path | None
    nats: str
    grant: list[Path]
    skills: list[Path]
    parent: int
    metrics_port: MetricsPort | None
    checkpoint: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError("bad_usage", message, "interlock agent executor --nats nats://host:4222", 2)


def _metrics_port(text: str) -> MetricsPort:
    if text == "off":
        return "off"
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is neither a port nor `off`")
    return int(text)


def parse(arguments: Sequence[str] | None) -> Options:
    """Raises UserError (bad_usage)."""
    parser = _Parser(prog="interlock agent", allow_abbrev=False)
    parser.add_argument("agent", help="role or role.instance")
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--nats", default="")
    parser.add_argument("--grant", type=Path, action="append", default=[], help="a directory skills may read")
    parser.add_argument("--skills", type=Path, action="append", default=[])
    parser.add_argument("--parent", type=int, default=0, help="end when this process does")
    parser.add_argument("--metrics-port", type=_metrics_port, default=None, help="instead of telemetry.metrics_port")
    parser.add_argument("--checkpoint", type=Path, default=None, help="where an auditor remembers its log")
    return parser.parse_args(arguments, namespace=Options())


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 after SIGTERM; with one line for what the user can mend 1 or 2, under a supervisor CANNOT_START."""
    supervised = False
    try:
        options = parse(arguments)
        if options.parent:
            bind_to_parent(options.parent)
            supervised = True
        run_role(options)
    except (UserError, BusError, SkillsError) as error:
        with suppress(OSError):  # a full disk does not change what the exit status says
            sys.stderr.write(f"{SAYS}{one_line(error)}\n")
            sys.stderr.flush()
        if supervised and not (isinstance(error, BusError) and error.retryable):
            return CANNOT_START
        return error.exit_code if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def run_role(options: Options) -> None:
    """Raises UserError, BusError, SkillsError."""
    layout = Layout((options.dir or Path()).resolve())
    try:
        settings = load_settings(layout.settings)
        about = {"agent": options.agent, "workspace": settings.workspace, "pid": str(os.getpid())}
        with logging_to(sys.stderr, about, settings.telemetry.log_level) as logs:
            run_loop(serve(options, layout, settings, logs))
    except YamlError as error:
        raise UserError("bad_config", str(error), "See `interlock doctor`", 2) from error


def collect_rarely() -> None:
    """What a role has loaded stays, and is not to be looked through again and again for what could go; little of what comes
    and goes with hops forms cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


def run_loop(main_coroutine: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is installed."""
    try:
        import uvloop

        uvloop.run(main_coroutine)
    except ImportError:
        asyncio.run(main_coroutine)


async def serve(options: Options, layout: Layout, settings: Settings, logs: LogThread) -> None:
    """Runs the role until SIGTERM or SIGINT. Raises UserError or BusError."""
    agent, url, grants, skills = options.agent, options.nats, options.grant, options.skills
    role = role_of(agent)
    if not is_agent_id(agent) or role not in ROLES:
        raise UserError("unknown_role", f"there is no role `{agent[:80]}`", f"Roles: {', '.join(ROLES)}", 2)
    check_directories(layout.settings, settings)
    for place in (*grants, *skills):
        if not place.is_dir():
            raise UserError("no_directory", f"{place} is no directory", "Check --grant and --skills", 2)
    trust, roots = load_trust(layout), load_roots(layout)
    holder = TrustHolder(trust, roots)
    contract = ContractHolder(load_contract(layout), tuple(roots), holder)
    key = HeldKey(load_key(layout, agent))
    identity = Identity(agent, key)
    control = ControlHolder(settings.workspace, holder, settings.control.settings, flag=emergency(contract))

    def paths(names: Sequence[str]) -> tuple[Path, ...]:
        return tuple((layout.root / name).resolve() for name in names)

    async def work(transport: JetStreamTransport) -> None:
        parts = Parts(
            transport=transport,
            workspace=settings.workspace,
            identity=identity,
            trust=holder,
            config=config_dir(),
            contract=contract,
            skills=(*paths(settings.skills), *skills),
            playbooks=paths(settings.playbooks),
            policies=paths(settings.policies),
            read_roots=(*paths(settings.input_roots), *grants),
            write_roots=paths(settings.write_roots),
            isolation=settings.isolation,
            concurrency=settings.concurrency,
            region=settings.region,
            environment=settings.environment,
            day_limit=settings.day_limit.amount,
            limits=settings.hops.limits,
            agent_rate=settings.rates.agent,
            workspace_rate=settings.rates.workspace,
            breaker=settings.breaker.settings,
            approvals=settings.approvals.terms,
            webhook=webhook_of(layout, settings) if role in ("orchestrator", "auditor") else None,
            witness=witness_of(layout, settings) if role == "auditor" else None,
            model_planner=settings.model,
            token_key=settings.token_key,
            pseudonyms=settings.personal_data == "pseudonymous",
            secured=layout.is_secure,
            log_memory=options.checkpoint or layout.checkpoint,
            reports=layout.reports,
            control=control,
            halt_grace_ms=settings.control.grace_ms,
            telemetry=shown.telemetry,
        )

        async def pong(message: Message) -> None:
            known = Presence(agent=agent, key_id=key.key_id, trust_version=holder.trust.version)
            await transport.send(message.reply, msgspec.json.encode(known))

        ping = transport.subscribe(ping_subject(settings.workspace, agent), pong)
        shown.knows_trust = holder.trust.version > 0
        async with background() as group, running(role, parts), ping, shown.connected(transport):
            group.start_soon(holder.follow, transport)
            group.start_soon(contract.follow, transport)
            group.start_soon(keep_current, layout, agent, key, holder, transport)
            group.start_soon(control.follow, transport)
            collect_rarely()
            await until_signalled()

    async def work_while_let_in() -> None:
        was_in = False
        while True:
            try:
                async with JetStreamTransport.connect(url, name=agent, login=login_of(layout, agent, key)) as transport:
                    was_in = True
                    await work(transport)
                return
            except LoginRefused as error:
                if not was_in:
                    raise
                log.warning("%s; it waits for a key that is let in", error)
                await anyio.sleep(PUT_OUT_S)
                key.become(load_key(layout, agent))

    shows = settings.telemetry
    if options.metrics_port is not None:
        shows = msgspec.structs.replace(shows, metrics_port=options.metrics_port)
    async with showing(agent, settings.workspace, layout, shows, logs) as shown:
        await work_while_let_in()


def emergency(contract: ContractHolder) -> Callable[[], str]:
    """Why the contract in force halts the workspace, empty if it does not (emergencyFlags.halted)."""

    told: tuple[Chain, str] | None = None  # asked several times a hop, and chains do not change

    def why() -> str:
        nonlocal told
        if told is None or told[0] is not contract.chain:
            checked = check_in_force(contract.chain)
            told = contract.chain, checked.detail if checked.reason is Reason.HALTED else ""
        return told[1]

    return why


if __name__ == "__main__":
    sys.exit(main())
