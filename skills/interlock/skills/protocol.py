"""What executor and fork server say to each other: JSON objects, one a line, over a socket pair."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Outcome = Literal[
    "done",
    "not_happened",
    "skill_error",
    "crashed",
    "input_invalid",
    "output_invalid",
    "float_in_output",
    "path_not_allowed",
    "cpu_limit",
    "wall_limit",
    "memory_limit",
    "disk_limit",
    "process_limit",
    "output_too_large",
    "isolation_unavailable",
    "host_lost",
    "stopped",
    "not_started",
]


class RunOrder(Struct, frozen=True, kw_only=True):
    """Run a handler. mode check asks the handler whether an interrupted effect happened. Sizes in bytes. begin_by_s:
    after this time on `clock.boot_s` the handler must not be called any more; 0: whenever. share: runs with the same may
    be served by one process, one after another; empty: the run has a process of its own.
    """

    id: str
    mode: Literal["run", "check"]
    handler: str
    input: dict[str, Any]
    files: dict[str, str]
    config: str
    now: str
    seed: int
    scratch: str
    out: str
    readable: list[str]
    writable: list[str]
    cpu_seconds: int
    wall_ms: int
    memory_bytes: int
    scratch_bytes: int
    output_bytes: int
    max_files: int
    processes: int
    network: bool
    strict: bool
    begin_by_s: float = 0.0
    share: str = ""


class StopOrder(Struct, frozen=True, kw_only=True):
    """End a run: SIGTERM now, SIGKILL after the grace period."""

    id: str
    grace_ms: int


class RunReport(Struct, frozen=True, kw_only=True):
    """How a run ended. output: what the handler returned; log: the tail of what it printed."""

    id: str
    outcome: Outcome
    detail: str = ""
    output: Any = None
    cpu_us: int = 0
    wall_ms: int = 0
    peak_rss_kb: int = 0
    log: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What the child itself says at its end, on the result pipe."""

    status: Literal[
        "done",
        "not_happened",
        "skill_error",
        "crashed",
        "memory_limit",
        "disk_limit",
        "isolation_unavailable",
        "not_started",
    ]
    detail: str = ""
    output: Any = field(default=None)


class Order(Struct, frozen=True, kw_only=True):
    """One line from the executor."""

    run: RunOrder | None = None
    stop: StopOrder | None = None
