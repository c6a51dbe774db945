"""Discovery as NATS services have it (ADR-32): who answers $SRV.PING, $SRV.INFO and $SRV.STATS stands in `nats micro ls`.

A role is no request-reply service: its one endpoint is its inbox, and the counts are those of the hops it handled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct, field

from interlock.bus.errors import BusError
from interlock.bus.telemetry.counting import HopCounts
from interlock.bus.transport import Message, Transport

VERBS = ("PING", "INFO", "STATS")
ROOT = "$SRV"


class ServiceEndpoint(Struct, frozen=True, kw_only=True):
    name: str
    subject: str
    queue_group: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class EndpointStats(Struct, frozen=True, kw_only=True):
    """Times in nanoseconds, as ADR-32 has them."""

    name: str
    subject: str
    queue_group: str = ""
    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_time: int = 0
    average_processing_time: int = 0
    data: Mapping[str, str] = field(default_factory=dict)  # optional by ADR-32; nats-py's client insists on it


class Service(Struct, frozen=True, kw_only=True):
    """name: letters, digits, `-` and `_`; id: unique; version: SemVer; started: RFC 3339."""

    name: str
    id: str
    version: str
    description: str
    started: str
    metadata: Mapping[str, str]
    endpoints: tuple[ServiceEndpoint, ...]


Count = Callable[[ServiceEndpoint], EndpointStats]


def endpoint_stats(endpoint: ServiceEndpoint, counts: HopCounts) -> EndpointStats:
    """The counts of an endpoint's hops."""
    return EndpointStats(
        name=endpoint.name,
        subject=endpoint.subject,
        queue_group=endpoint.queue_group,
        num_requests=counts.handled,
        num_errors=counts.not_done,
        last_error=counts.last_problem,
        processing_time=counts.busy_ns,
        average_processing_time=counts.busy_ns // max(counts.handled, 1),
    )


def subjects(name: str, instance: str) -> list[str]:
    """All nine that a service listens to."""
    return [f"{ROOT}.{verb}{tail}" for verb in VERBS for tail in ("", f".{name}", f".{name}.{instance}")]


def answer(service: Service, verb: str, count: Count) -> bytes:
    """The answer to one of VERBS."""
    said: dict[str, Any] = {
        "name": service.name,
        "id": service.id,
        "version": service.version,
        "metadata": service.metadata,
    }
    if verb == "INFO":
        said |= {"description": service.description, "endpoints": service.endpoints}
    elif verb == "STATS":
        said |= {"started": service.started, "endpoints": [count(endpoint) for endpoint in service.endpoints]}
    return msgspec.json.encode({"type": f"io.nats.micro.v1.{verb.lower()}_response", **said})


@asynccontextmanager
async def answering(transport: Transport, service: Service, count: Count) -> AsyncIterator[None]:
    """Answers while the context lasts."""

    async def on_message(message: Message) -> None:
        if not message.reply:
            return
        try:
            await transport.send(message.reply, answer(service, message.subject.split(".")[1], count))
        except BusError:
            return  # whoever asked asks again

    async with AsyncExitStack() as stack:
        for subject in subjects(service.name, service.id):
            await stack.enter_async_context(transport.subscribe(subject, on_message))
        yield
