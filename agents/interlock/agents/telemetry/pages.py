"""What a role's process serves over HTTP: /health, /ready, /metrics; and where, for Prometheus and for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from interlock.agents.errors import UserError
from interlock.agents.telemetry.telemetry import Telemetry
from interlock.agents.workspace.keys import write_private
from interlock.bus.telemetry.endpoint import JSON, Endpoint, Page, serving
from interlock.envelope.ids import role_of

Checks = Mapping[str, Callable[[], bool]]


class Target(Struct, frozen=True):
    """One entry of a file of Prometheus' file_sd_configs."""

    targets: list[str]
    labels: dict[str, str]


@asynccontextmanager
async def serving_pages(
    host: str, port: int, telemetry: Telemetry, checks: Checks, announce: Path, labels: Mapping[str, str]
) -> AsyncIterator[Endpoint]:
    """Serves, and says where in a file as Prometheus reads it. checks: what must hold for /ready. Raises UserError when the
    address is not to be had.
    """

    async def alive(_: str) -> Page:
        return Page(200, b"alive\n")

    async def ready(_: str) -> Page:
        found = {name: check() for name, check in checks.items()}
        is_ready = all(found.values())
        return Page(200 if is_ready else 503, msgspec.json.encode({"ready": is_ready, "checks": found}), JSON)

    async def metrics(accept: str) -> Page:
        from prometheus_client.exposition import choose_encoder

        if telemetry.metrics is None:
            return Page(404, b"no metrics\n")
        await telemetry.metrics.refresh()
        encode, kind = choose_encoder(accept)
        return Page(200, encode(telemetry.metrics.registry), kind)

    server = serving(host, port, {"/health": alive, "/ready": ready, "/metrics": metrics})
    try:
        endpoint = await server.__aenter__()
    except OSError as error:
        mend = "Give another --metrics-port, or set telemetry.metrics_port to 0 or off"
        raise UserError("port_taken", f"{host}:{port} is not to be had: {error.strerror or error}", mend) from error
    try:
        _write(announce, endpoint, labels)
        yield endpoint
    finally:
        with suppress(OSError):
            announce.unlink(missing_ok=True)
        await server.__aexit__(None, None, None)


def _write(announce: Path, endpoint: Endpoint, labels: Mapping[str, str]) -> None:
    """That nobody is told where the metrics are stops nothing."""
    target = Target([endpoint.url.removeprefix("http://")], dict(labels))
    with suppress(OSError):
        announce.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(announce, msgspec.json.encode([target]))


def announced_labels(agent: str, workspace: str) -> dict[str, str]:
    """The labels of a process' series: bounded, for an agent's name is configured."""
    return {"agent": agent, "role": role_of(agent), "workspace": workspace}
