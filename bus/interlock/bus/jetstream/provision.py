"""Making streams, consumers and buckets as declared, or only checking that they are there (bind-only)."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import Struct

from interlock.bus.errors import NotFound, TooManyConsumers
from interlock.bus.jetstream.broker_errors import Answer
from interlock.bus.jetstream.connection import Connection
from interlock.bus.streams import BucketSpec, ConsumerSpec, Declarations, StreamSpec, taken, unheard
from interlock.bus.tasks import together

_NS_PER_MS = 1_000_000
_DEDUPE_MS = 120_000  # NATS's default; a window beyond the age of what is kept is refused
# A server takes 1,000 of a stream that asks for no number (nats-server 2.15), 166 workspaces: HOPS has six of each.
MAX_CONSUMERS = 60_000


class _Subjects(Struct, frozen=True):
    subjects: tuple[str, ...] = ()


class _Stream(Answer):
    config: _Subjects = _Subjects()


class _Names(Answer):
    """A page of names, the first; total: of all pages."""

    consumers: tuple[str, ...] = ()
    total: int = 0


async def provision(transport: Connection, declarations: Declarations, *, bind_only: bool) -> None:
    """Creates or updates all; with bind_only raises NotFound, naming what is missing."""
    if bind_only:
        await _bound(transport, declarations)
        return
    configs = {spec.name: stream_config(spec, declarations.replicas) for spec in declarations.streams}
    configs |= dict(bucket_config(spec, declarations.replicas) for spec in declarations.buckets)
    shared = [spec for spec in declarations.streams if spec.heard_by]
    own = configs.keys() - {spec.name for spec in shared}
    await together(
        [partial(_made, transport, name, configs[name]) for name in own]
        + [partial(_there, transport, spec.name, configs[spec.name]) for spec in shared]
    )
    await together(partial(_consumer, transport, spec) for spec in declarations.consumers)
    await together(partial(_narrowed, transport, spec, configs[spec.name]) for spec in shared)


async def _bound(transport: Connection, declarations: Declarations) -> None:
    """Raises NotFound."""
    subjects: dict[str, tuple[str, ...]] = {}

    async def look(name: str) -> None:
        subjects[name] = (await transport.api(f"STREAM.INFO.{name}", None, _Stream)).config.subjects

    async def ask(spec: ConsumerSpec) -> None:
        await transport.api(f"CONSUMER.INFO.{spec.stream}.{spec.name}", None, Answer)

    names = [spec.name for spec in declarations.streams] + [bucket_config(one, 1)[0] for one in declarations.buckets]
    await together(partial(look, name) for name in names)
    await together(partial(ask, spec) for spec in declarations.consumers)
    if wrong := unheard(declarations.consumers, subjects):
        raise NotFound(wrong, "Run `interlock up` first")


async def _consumer(transport: Connection, spec: ConsumerSpec) -> None:
    body = {"stream_name": spec.stream, "config": consumer_config(spec)}
    await transport.api(f"CONSUMER.CREATE.{spec.stream}.{spec.name}", body, Answer)


async def _there(transport: Connection, name: str, config: dict[str, Any]) -> None:
    """The same for whoever comes first, so that two of them may."""
    try:
        await transport.api(f"STREAM.INFO.{name}", None, Answer)
    except NotFound:
        await _made(transport, name, config)


async def _narrowed(transport: Connection, spec: StreamSpec, config: dict[str, Any]) -> None:
    """A stream's configuration has no revision that one could expect, and others may be about this as well: each writes
    what he found after he had made his own consumers, and again until nothing came in between. So the last who writes knows all.
    """
    subjects = await _taken(transport, spec)
    written = None
    while subjects != written:
        await _made(transport, spec.name, config | {"subjects": list(subjects)})
        subjects, written = await _taken(transport, spec), subjects


async def _taken(transport: Connection, spec: StreamSpec) -> tuple[str, ...]:
    page = await transport.api(f"CONSUMER.NAMES.{spec.name}", None, _Names)
    return spec.subjects if page.total > len(page.consumers) else taken(spec, page.consumers)


async def _made(transport: Connection, name: str, config: dict[str, Any]) -> None:
    try:
        await _updated(transport, name, config)
    except TooManyConsumers:  # its account allows fewer than these: as many as it does
        await _updated(transport, name, config | {"max_consumers": -1})


async def _updated(transport: Connection, name: str, config: dict[str, Any]) -> None:
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
