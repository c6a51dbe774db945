"""One role as an operating-system process: `python -m interlock.agents.process ROLE …` (ROL-10). What a pod runs.

Imports little before it must: a role is to start in a moment and idle below 60 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import anyio

from interlock.agents.contract.holder import ContractHolder
from interlock.agents.contract.store import load_contract
from interlock.agents.errors import UserError
from interlock.agents.parts import Parts
from interlock.agents.wiring import ROLES, running
from interlock.agents.workspace.broker import login_of
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import load_key, load_roots, load_trust
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings
from interlock.agents.workspace.trust_source import TrustHolder
from interlock.bus.child import bind_to_parent
from interlock.bus.errors import BusError
from interlock.bus.jetstream import JetStreamTransport
from interlock.bus.sender import Identity
from interlock.bus.tasks import background
from interlock.bus.transport import Message
from interlock.envelope.ids import is_agent_id, role_of
from interlock.envelope.subjects import workspace_subject


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 after SIGTERM, 1 with one line for what the user can mend."""
    parser = argparse.ArgumentParser(prog="interlock agent")
    parser.add_argument("agent", help="role or role.instance")
    parser.add_argument("--dir", type=Path, default=Path())
    parser.add_argument("--nats", required=True)
    parser.add_argument("--grant", type=Path, action="append", default=[], help="a directory skills may read")
    parser.add_argument("--skills", type=Path, action="append", default=[])
    parser.add_argument("--parent", type=int, default=0, help="end when this process does")
    options = parser.parse_args(arguments)
    if options.parent:
        bind_to_parent(options.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        run_loop(serve(options.agent, Layout(options.dir.resolve()), options.nats, options.grant, options.skills))
    except (UserError, BusError) as error:
        sys.stderr.write(f"interlock: {error}{'' if isinstance(error, UserError) else f' ({error.reason})'}\n")
        return error.exit_code if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def run_loop(main_coroutine: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it is installed."""
    try:
        import uvloop

        uvloop.run(main_coroutine)
    except ImportError:
        asyncio.run(main_coroutine)


async def serve(agent: str, layout: Layout, url: str, grants: Sequence[Path], skills: Sequence[Path]) -> None:
    """Runs the role until SIGTERM or SIGINT. Raises UserError or BusError."""
    role = role_of(agent)
    if not is_agent_id(agent) or role not in ROLES:
        raise UserError("unknown_role", f"there is no role `{agent[:80]}`", f"Roles: {', '.join(ROLES)}", 2)
    settings = load_settings(layout.settings)
    trust, roots = load_trust(layout), load_roots(layout)
    holder = TrustHolder(trust, roots)
    contract = ContractHolder(load_contract(layout), tuple(roots), holder)
    identity = Identity(agent, load_key(layout, agent))

    def paths(names: Sequence[str]) -> tuple[Path, ...]:
        return tuple((layout.root / name).resolve() for name in names)

    async with JetStreamTransport.connect(url, name=agent, login=login_of(layout, agent)) as transport:
        parts = Parts(
            transport=transport,
            workspace=settings.workspace,
            identity=identity,
            trust=holder,
            config=config_dir(),
            contract=contract,
            skills=(*paths(settings.skills), *skills),
            playbooks=paths(settings.playbooks),
            read_roots=(*paths(settings.input_roots), *grants),
            write_roots=paths(settings.write_roots),
            isolation=settings.isolation,
            concurrency=settings.concurrency,
            region=settings.region,
            day_limit=settings.day_limit.amount,
            limits=settings.hops.limits,
            agent_rate=settings.rates.agent,
            workspace_rate=settings.rates.workspace,
            breaker=settings.breaker.settings,
            model_planner=settings.model,
            secured=layout.is_secure,
            log_memory=layout.checkpoint,
        )

        async def pong(message: Message) -> None:
            await transport.send(message.reply, agent.encode())

        ping = transport.subscribe(ping_subject(settings.workspace, agent), pong)
        async with background() as group, running(role, parts), ping:
            group.start_soon(holder.follow, transport)
            group.start_soon(contract.follow, transport)
            await until_signalled()


def ping_subject(workspace: str, agent: str) -> str:
    """Where a running agent answers that it is there."""
    return workspace_subject(workspace, "request", "ping", *agent.split("."))


async def until_signalled() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


if __name__ == "__main__":
    sys.exit(main())
