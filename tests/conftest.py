"""What all tests share: the event loop, and one embedded nats-server per session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interlock.bus.server import EmbeddedServer


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server for the whole session: tests keep apart by the names of their streams."""
    server = EmbeddedServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()
