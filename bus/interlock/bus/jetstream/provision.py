"""Making streams, consumers and buckets as declared, or only checking that they are there (bind-only)."""

from __future__ import annotations

from functools import partial
from typing import Any

from interlock.bus.errors import NotFound, TooManyConsumers
from interlock.bus.jetstream.broker_errors import Answer
from interlock.bus.jetstream.connection import Connection
from interlock.bus.streams import BucketSpec, ConsumerSpec, Declarations, StreamSpec
from interlock.bus.tasks import together

_NS_PER_MS = 1_000_000
_DEDUPE_MS = 120_000  # NATS's default; a window beyond the age of what is kept is refused
# A server takes 1,000 of a stream that asks for no number (nats-server 2.15), 166 workspaces: HOPS has six of each.
MAX_CONSUMERS = 60_000


async def provision(transport: Connection, declarations: Declarations, *, bind_only: bool) -> None:
    """Creates or updates all; with bind_only raises NotFound, naming what is missing."""
    streams = {spec.name: stream_config(spec, declarations.replicas) for spec in declarations.streams}
    streams |= {
        name: config for spec in declarations.buckets for name, config in [bucket_config(spec, declarations.replicas)]
    }
    await _each(transport, [("STREAM", name, name, config) for name, config in streams.items()], bind_only)
    consumers = [
        ("CONSUMER", f"{spec.stream}.{spec.name}", spec.stream, consumer_config(spec))
        for spec in declarations.consumers
    ]
    await _each(transport, consumers, bind_only)


async def _each(transport: Connection, wanted: list[tuple[str, str, str, dict[str, Any]]], bind_only: bool) -> None:
    await together(partial(_one, transport, *what, bind_only) for what in wanted)


async def _one(
    transport: Connection, kind: str, path: str, stream: str, config: dict[str, Any], bind_only: bool
) -> None:
    if bind_only:
        await transport.api(f"{kind}.INFO.{path}", None, Answer)
    elif kind == "CONSUMER":
        await transport.api(f"CONSUMER.CREATE.{path}", {"stream_name": stream, "config": config}, Answer)
    else:
        try:
            await _made(transport, path, config)
        except TooManyConsumers:  # its account allows fewer than these: as many as it does
            await _made(transport, path, config | {"max_consumers": -1})


async def _made(transport: Connection, name: str, config: dict[str, Any]) -> None:
    try:
        await transport.api(f"STREAM.UPDATE.{name}", config, Answer)
    except NotFound:
        await transport.api(f"STREAM.CREATE.{name}", config, Answer)


def stream_config(spec: StreamSpec, replicas: int) -> dict[str, Any]:
    """The JSON of nats-server's StreamConfig."""
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_bytes": spec.max_bytes,
        "max_age": spec.max_age_ms * _NS_PER_MS,
        "max_msgs": -1,
        "max_consumers": MAX_CONSUMERS,
        "max_msg_size": spec.max_message_bytes,
        "max_msgs_per_subject": spec.max_per_subject,
        "discard": spec.discard,
        "duplicate_window": spec.dedupe_ms * _NS_PER_MS,
        "deny_delete": spec.deny_delete,
        "deny_purge": spec.deny_purge,
        "allow_rollup_hdrs": False,
        "allow_direct": spec.direct,
        "no_ack": spec.no_ack,
        "allow_msg_schedules": spec.allow_schedules,
        "allow_msg_ttl": spec.allow_schedules,
    }


def consumer_config(spec: ConsumerSpec) -> dict[str, Any]:
    """The JSON of nats-server's ConsumerConfig: a durable pull consumer with explicit acknowledgement."""
    config: dict[str, Any] = {
        "durable_name": spec.name,
        "name": spec.name,
        "ack_policy": "explicit",
        "ack_wait": spec.ack_wait_ms * _NS_PER_MS,
        "deliver_policy": "all",
        "replay_policy": "instant",
        "filter_subjects": list(spec.subjects),
        "max_deliver": spec.max_deliver,
        "max_ack_pending": spec.max_ack_pending,
        "max_waiting": 512,
    }
    if spec.backoff_ms:
        config["backoff"] = [ms * _NS_PER_MS for ms in spec.backoff_ms]
    return config


def bucket_config(spec: BucketSpec, replicas: int) -> tuple[str, dict[str, Any]]:
    """A bucket as the stream NATS keeps it in (ADR-8 key-value, ADR-20 objects)."""
    kv = spec.kind == "kv"
    name = f"KV_{spec.name}" if kv else f"OBJ_{spec.name}"
    subjects = (f"$KV.{spec.name}.>",) if kv else (f"$O.{spec.name}.C.>", f"$O.{spec.name}.M.>")
    stream = StreamSpec(
        name=name,
        subjects=subjects,
        max_bytes=spec.max_bytes,
        max_age_ms=spec.max_age_ms,
        max_per_subject=spec.history if kv else -1,
        dedupe_ms=min(_DEDUPE_MS, spec.max_age_ms or _DEDUPE_MS),
        deny_delete=kv,
    )
    # No rollups in either: one of them (`Nats-Rollup: all`) empties the bucket, and who may write may send it.
    return name, stream_config(stream, replicas)
