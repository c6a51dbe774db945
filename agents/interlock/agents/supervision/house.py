"""A whole Interlock on one machine: broker, streams, trust, roles. The same for `run`, `up` and the tests."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from interlock.agents.contract.exchange import exchange
from interlock.agents.contract.generate import ensure_contract
from interlock.agents.errors import UserError
from interlock.agents.presence import ping_subject
from interlock.agents.supervision.room import check_room, keep_room
from interlock.agents.supervision.supervisor import Supervisor, role_program
from interlock.agents.workspace.broker import login_of, server_include
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.keys import ensure_keys, load_roots, load_trust, write_private
from interlock.agents.workspace.layout import Layout, Running, process_began
from interlock.agents.workspace.policies import policy_bundle
from interlock.agents.workspace.settings import MetricsPort, Settings, check_directories
from interlock.agents.workspace.trust_source import publish_trust
from interlock.bus.errors import ServerFailed, Unavailable
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.permissions import ADMIN
from interlock.bus.server.cluster import embedded_cluster, urls_of
from interlock.bus.server.embedded import EmbeddedServer
from interlock.bus.streams import declarations
from interlock.bus.tasks import background
from interlock.bus.transport import Transport

log = logging.getLogger("interlock.house")

AGENTS = ("gateway", "orchestrator", "evaluator", "executor", "auditor", "synthesizer")
READY_S = 30.0
SERVER_DEATHS = 5
SERVER_WINDOW_S = 60.0


class House(Struct, frozen=True):
    """What is running: where the broker is, a connection to it, and the supervisor."""

    url: str
    transport: JetStreamTransport
    supervisor: Supervisor


@asynccontextmanager
async def house(
    layout: Layout,
    settings: Settings,
    *,
    nats: str = "",
    grants: Sequence[Path] = (),
    skills: Sequence[Path] = (),
    agents: Sequence[str] = AGENTS,
    cluster: int = 0,
) -> AsyncIterator[House]:
    """Starts all of it and waits until every role answers; ends all of it. cluster: so many embedded servers instead of
    one, and as many replicas of everything. Raises UserError or BusError.
    """
    running = layout.running()
    if running is not None:
        raise UserError(
            "already_running", f"an Interlock already runs here at {running.url}", "Use it, or stop it first"
        )
    check_room(layout.hidden)
    check_directories(layout.settings, settings)
    ensure_keys(layout, settings.workspace)
    trust = load_trust(layout)
    if trust.workspace != settings.workspace:
        detail = f"the keys are those of workspace {trust.workspace}, the settings say {settings.workspace}"
        raise UserError("wrong_workspace", detail, "Use another --dir for another workspace")
    policy_bundle(layout, settings)
    chain = ensure_contract(layout, settings, config_dir())
    async with AsyncExitStack() as stack:
        url, server_pid = nats or settings.nats, 0
        clustered = not url and cluster > 0
        servers: list[EmbeddedServer] = []
        if clustered:
            servers = await stack.enter_async_context(
                embedded_cluster(layout.cluster, cluster, settings.durability, server_include(layout))
            )
        elif not url:
            alone = EmbeddedServer(layout.store, settings.durability, server_include(layout))
            servers = [await stack.enter_async_context(alone)]
        if servers:
            url, server_pid = urls_of(servers), servers[0].pid
            group = await stack.enter_async_context(background())
            for server in servers:
                group.start_soon(keep_server, server, layout, url)
            group.start_soon(keep_room, servers)
        ports = metrics_ports(settings, len(agents))
        programs = [
            role_program(
                agent, layout.root, url, grants, skills, port, layout.cluster_checkpoint if clustered else None
            )
            for agent, port in zip(agents, ports, strict=True)
        ]
        supervisor = Supervisor(programs, layout.run)
        # The roles start while the streams are made: they need far longer to import than that takes.
        await stack.enter_async_context(supervisor.running())
        async with connected(layout, url, ADMIN) as control:
            await provision(control, layout, settings, cluster or 1)
            await exchange(control, layout, chain)
        transport = await stack.enter_async_context(connected(layout, url, "human"))
        layout.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_running(layout, url, server_pid, clustered)
        stack.callback(layout.server.unlink, missing_ok=True)
        await ready(transport, settings.workspace, agents, supervisor)
        yield House(url, transport, supervisor)


def metrics_ports(settings: Settings, count: int) -> list[MetricsPort]:
    """One for each of so many processes on this machine: in a row from the configured one; any, or none, as it says."""
    first = settings.telemetry.metrics_port
    return [first if first == "off" or first == 0 else first + index for index in range(count)]


def without_metrics(settings: Settings) -> Settings:
    """For the time of one goal nobody is asked to look at them, unless a port is named: the roles start so much earlier."""
    telemetry = settings.telemetry
    port = "off" if telemetry.metrics_port == 0 else telemetry.metrics_port
    return msgspec.structs.replace(settings, telemetry=msgspec.structs.replace(telemetry, metrics_port=port))


def write_running(layout: Layout, url: str, server_pid: int, cluster: bool = False) -> None:
    """Tells other commands of this workspace where the broker is."""
    running = Running(url, os.getpid(), process_began(os.getpid()), server_pid, cluster)
    write_private(layout.server, msgspec.json.encode(running))


def connected(layout: Layout, url: str, agent: str) -> AbstractAsyncContextManager[JetStreamTransport]:
    """A connection with the agent's key where the broker asks for one."""
    return JetStreamTransport.connect(url, name=agent, login=login_of(layout, agent))


async def provision(transport: Transport, layout: Layout, settings: Settings, replicas: int = 1) -> None:
    """What only the control plane may: streams, consumers, the trust store."""
    await transport.declare(declarations((settings.workspace,), replicas))
    await publish_trust(transport, settings.workspace, layout.trust.read_bytes(), load_roots(layout))


async def keep_server(server: EmbeddedServer, layout: Layout, urls: str) -> None:
    """For ever: a server that ends is started again, on the same ports and store, to which everybody reconnects. urls: of
    all servers. Raises UserError when it dies SERVER_DEATHS times within SERVER_WINDOW_S; one that was
    asked to end (status 0) did not die.
    """
    deaths: list[float] = []
    while True:
        status = await server.wait_died()
        now = time.monotonic()
        deaths = [moment for moment in deaths if now - moment < SERVER_WINDOW_S] + [now] * (status != 0)
        log.warning("nats-server ended with status %s; it is started again", status)
        if len(deaths) >= SERVER_DEATHS:
            detail = f"nats-server died {len(deaths)} times within {SERVER_WINDOW_S:.0f} s"
            raise UserError("broker_died", detail, f"See {server.log_path}")
        with suppress(ServerFailed):  # it has died again, which is counted like any death
            await server.restart()
            if layout.server.exists():
                write_running(layout, urls, server.pid)


async def ready(
    transport: JetStreamTransport,
    workspace: str,
    agents: Sequence[str],
    supervisor: Supervisor,
    within_s: float = READY_S,
) -> None:
    """Returns when every agent answers. Raises UserError naming the one that does not."""
    deadline = time.monotonic() + within_s
    for agent in agents:
        while True:
            try:
                await transport.request(ping_subject(workspace, agent), b"", timeout_ms=500)
                break
            except Unavailable as error:
                if time.monotonic() > deadline:
                    log = supervisor.log_of(agent)
                    raise UserError(
                        "not_ready", f"{agent} did not start within {within_s:.0f} s", f"See {log}"
                    ) from error
                await anyio.sleep(0.01)
