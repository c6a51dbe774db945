"""What all tests share: the event loop, one embedded nats-server per session, how properties are searched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from interlock.bus.server.embedded import EmbeddedServer

# The same examples on every machine: a red build is one that anybody can repeat. No deadline: shared machines pause.
# To look for new ones: pytest --hypothesis-profile=search
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=200, print_blob=True)
settings.register_profile("search", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("ci")


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
