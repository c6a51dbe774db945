"""The flags of config/flags.yaml, and what one is worth for whoever asks, when (GOV-11). Pure but for the loading."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from interlock.agents.errors import UserError
from interlock.agents.workspace.settings import read_yaml

# Those that roles ask; scripts ask chaos-engineering.
ENHANCED, AI_ACT = "ai-safety-enhanced", "eu-ai-act-compliance"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
Value = bool | int | str
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,62}(?!\n)$")]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Rule(_Part, frozen=True, kw_only=True):
    """Matches if, for every attribute named, the asker says one of the values. An attribute not said does not match."""

    when: Annotated[dict[str, list[str]], Meta(min_length=1)]
    variant: Name


class Window(_Part, frozen=True, kw_only=True):
    """A weekly time, UTC, that may reach into the next day."""

    day: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    begins: Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](?!\n)$")] = field(name="from")
    minutes: Annotated[int, Meta(ge=1, le=7 * 24 * 60)]
    variant: Name


class Flag(_Part, frozen=True, kw_only=True):
    purpose: str
    variants: Annotated[dict[Name, Value], Meta(min_length=1)]
    default: Name
    rules: list[Rule] = field(default_factory=list)
    schedule: list[Window] = field(default_factory=list)

    def __post_init__(self) -> None:
        named = [self.default, *(rule.variant for rule in self.rules), *(part.variant for part in self.schedule)]
        unknown = sorted({name for name in named if name not in self.variants})
        if unknown:
            raise ValueError(f"no such variant: {', '.join(unknown)}")
        if len({type(value) for value in self.variants.values()}) > 1:
            raise ValueError("all variants of a flag are of one type")


class FlagFile(_Part, frozen=True, kw_only=True):
    flags: dict[Name, Flag]


class Resolved(Struct, frozen=True):
    """What a flag is worth. why: rule, schedule or default."""

    value: Value
    variant: str
    why: Literal["rule", "schedule", "default"]


def load_flags(path: Path) -> dict[str, Flag]:
    """Raises UserError with file, line and column."""
    data, loaded = read_yaml(path)
    try:
        return msgspec.convert(data or {}, FlagFile).flags
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        where = where.rstrip("`") or "$"
        line, column = loaded.position(where)
        raise UserError("bad_flags", f"{path}:{line}:{column}: {what} {where}", exit_code=2) from error


def resolve(flag: Flag, said: Mapping[str, object], now_ms: int) -> Resolved:
    """said: what the asker says of itself; now_ms: ms since 1970 UTC."""
    for rule in flag.rules:
        if all(said.get(name) in values for name, values in rule.when.items()):
            return Resolved(flag.variants[rule.variant], rule.variant, "rule")
    for window in flag.schedule:
        if _is_open(window, now_ms):
            return Resolved(flag.variants[window.variant], window.variant, "schedule")
    return Resolved(flag.variants[flag.default], flag.default, "default")


def _is_open(window: Window, now_ms: int) -> bool:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    hour, minute = map(int, window.begins.split(":"))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    back = (now.weekday() - DAYS.index(window.day)) % 7
    latest = midnight - timedelta(days=back) + timedelta(hours=hour, minutes=minute)
    length = timedelta(minutes=window.minutes)
    return any(begins <= now < begins + length for begins in (latest, latest - timedelta(days=7)))
