"""The consumers' use, saturation and errors, as the broker counts them: pending, ack pending, redelivered (OPS-02)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from interlock.bus.jetstream.connection import Connection
from interlock.bus.streams import ConsumerSpec


class _Problem(Struct, frozen=True):
    code: int = 0
    description: str = ""
    err_code: int = 0


class ConsumerState(Struct, frozen=True):
    """What nats-server says of a consumer (io.nats.jetstream.api.v1.consumer_info_response), as far as it is of use."""

    num_pending: int = 0
    num_ack_pending: int = 0
    num_redelivered: int = 0
    num_waiting: int = 0
    error: _Problem | None = None


async def consumer_state(transport: Connection, spec: ConsumerSpec) -> ConsumerState:
    """Raises BusError."""
    return await transport.api(f"CONSUMER.INFO.{spec.stream}.{spec.name}", None, ConsumerState)


class ConsumerMetrics:
    """Of the consumers this process works on. A consumer that cannot be asked has no series: missing is not zero."""

    def __init__(self, registry: CollectorRegistry, consumers: Sequence[ConsumerSpec]) -> None:
        labels = ["stream", "consumer"]
        self._consumers = consumers
        self._pending = Gauge("interlock_consumer_pending", "Messages not yet delivered.", labels, registry=registry)
        self._ack_pending = Gauge(
            "interlock_consumer_ack_pending", "Messages delivered and not yet answered.", labels, registry=registry
        )
        self._redelivered = Gauge(
            "interlock_consumer_redelivered", "Unanswered messages delivered more than once.", labels, registry=registry
        )
        self._room = Gauge(
            "interlock_consumer_ack_pending_limit",
            "How many messages may be unanswered before the broker delivers no more.",
            labels,
            registry=registry,
        )

    async def refresh(self, transport: Connection) -> None:
        """Raises BusError."""
        self.clear()
        for spec in self._consumers:
            state = await consumer_state(transport, spec)
            names = (spec.stream, spec.name)
            self._pending.labels(*names).set(state.num_pending)
            self._ack_pending.labels(*names).set(state.num_ack_pending)
            self._redelivered.labels(*names).set(state.num_redelivered)
            self._room.labels(*names).set(spec.max_ack_pending)

    def clear(self) -> None:
        for gauge in (self._pending, self._ack_pending, self._redelivered, self._room):
            gauge.clear()
