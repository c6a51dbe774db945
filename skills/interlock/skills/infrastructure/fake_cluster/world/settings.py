"""What the simulated world is made of: images that misbehave, services under load, how long things take."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class ImageBehaviour(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How containers of one image behave. fails: `crash` soon after the start, `never_ready`, `pull` cannot be pulled;
    empty: they work.
    """

    image: str
    fails: Literal["", "crash", "never_ready", "pull"] = ""


class LoadPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From at_ms after the world was configured, so many requests per 1,000 s (mrps) arrive at the service."""

    at_ms: int
    mrps: int


class Service(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload that serves requests, spread evenly over its ready pods.

    cpu_um_per_request: millionths of a core-second each; idle_cpu_m, base_memory_bytes: of a pod without requests;
    memory_bytes_per_mrps: on top. base_latency_us: p95 of an idle pod; it grows as 1 / (1 - utilisation of the CPU limit).
    metrics: `missing` and `stale` are what a broken pipeline gives.
    """

    namespace: str
    name: str
    load: list[LoadPoint] = []
    cpu_um_per_request: int = 5_000
    idle_cpu_m: int = 5
    base_memory_bytes: int = 64 * 1024 * 1024
    memory_bytes_per_mrps: int = 0
    base_latency_us: int = 60_000
    metrics: Literal["ok", "missing", "stale"] = "ok"


class WorldSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """node_cpu_m: what all pods together may request, None: no bound. scrape_ms: how often usage is measured."""

    services: list[Service] = []
    images: list[ImageBehaviour] = []
    start_ms: int = 2_000
    ready_ms: int = 1_000
    terminate_ms: int = 1_000
    scrape_ms: int = 15_000
    node_cpu_m: int | None = None
