"""The `drive` of a goal file: which blueprints are run in which simulated cluster, for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import Struct

from interlock.agents.errors import UserError

_KEYS = ("blueprints", "world", "last", "every")


class Drive(Struct, frozen=True, kw_only=True):
    """What is driven: paths as the goal's file has them resolved; durations in ms."""

    blueprints: Path
    world: Path
    last_ms: int
    every_ms: int


def read_drive(value: Any, path: Path) -> Drive:
    """The `drive` of a goal file. Raises UserError."""
    if not isinstance(value, dict) or set(value) - set(_KEYS) or not {"blueprints", "world"} <= set(value):
        raise UserError("bad_goal", f"{path}: drive is a mapping of {', '.join(_KEYS)}", exit_code=2)
    from interlock.skills.infrastructure.blueprint import quantities

    try:
        last_ms = quantities.parse("duration", value.get("last", "1h"))
        every_ms = quantities.parse("duration", value.get("every", "15s"))
    except quantities.QuantityError as error:
        raise UserError("bad_goal", f"{path}: drive: last and every are durations", f"Write {error}", 2) from error
    base = path.resolve().parent
    if not 1_000 <= every_ms <= last_ms:
        raise UserError("bad_goal", f"{path}: drive: every is at least 1s and at most last", exit_code=2)
    return Drive(
        blueprints=base / str(value["blueprints"]), world=base / str(value["world"]), last_ms=last_ms, every_ms=every_ms
    )


def drive_of(path: Path, value: Any) -> Drive | None:
    """The `drive` of a goal file's content, None if it has none. Raises UserError."""
    return read_drive(value["drive"], path) if isinstance(value, dict) and "drive" in value else None
