"""Serving the console: bound to this machine alone unless its settings say otherwise, ended with the context."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio

from interlock.agents.cli.session import Session
from interlock.agents.console.guard import is_loopback, origins_of
from interlock.agents.console.settings import ConsoleSettings
from interlock.agents.errors import UserError
from interlock.bus.tasks import background
from interlock.bus.transport import Transport

if TYPE_CHECKING:
    from interlock.agents.console.desk import Desk

GRACE_S = 2
BACKLOG = 256
MOST_CONNECTIONS = 1_024


@asynccontextmanager
async def serving(session: Session, transport: Transport, *, port: int | None = None) -> AsyncIterator[Desk]:
    """The console of this workspace, reading over this connection, for as long as the context. port: instead of the
    settings'; 0: any that is free. Raises UserError and BusError.
    """
    settings = session.settings.console
    check_settings(settings)
    try:
        from interlock.agents.console.app import application
        from interlock.agents.console.desk import Desk
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "interlock":
            raise
        detail = f"the console needs {error.name}"
        raise UserError("no_extra", detail, "pip install 'interlock[console]'") from error
    with _bound(settings.host, settings.port if port is None else port) as listening:
        bound: int = listening.getsockname()[1]
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{name}:{bound}"
        desk = Desk(session, transport, origins_of(settings.host, bound, settings.origins), url)
        app = application(desk)
        async with desk.feed.running(), _server(app, listening, desk):
            yield desk


def check_settings(settings: ConsoleSettings) -> None:
    """Raises UserError where it would be open to others without TLS before it."""
    if is_loopback(settings.host):
        return
    if not settings.origins or not all(origin.startswith("https://") for origin in settings.origins):
        detail = f"console.host {settings.host} is reached from elsewhere"
        mend = "Set console.host to 127.0.0.1, or put TLS before it and name its https:// origins in console.origins"
        raise UserError("not_loopback", detail, mend, 2)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError as error:
            detail = f"{host}:{port}: {error.strerror}"
            raise UserError("not_bound", detail, "Choose another with --port or console.port") from error
        listening.setblocking(False)
        yield listening


@asynccontextmanager
async def _server(app: Any, listening: socket.socket, desk: Desk) -> AsyncIterator[None]:
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are the command's, which ends the context

    config = uvicorn.Config(
        app,
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )
    server, ended = Server(config), anyio.Event()

    async def serve() -> None:
        try:
            await server.serve([listening])
        finally:
            ended.set()

    async with background() as group:
        group.start_soon(serve)
        while not server.started and not ended.is_set():
            await anyio.sleep(0.005)
        try:
            yield
        finally:
            desk.feed.close()
            server.should_exit = True
            with anyio.move_on_after(GRACE_S + 1, shield=True):
                await ended.wait()
