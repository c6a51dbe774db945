"""What the tasks of a blueprint's goal hand to each other, as files: each is decoded strictly by whoever takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from interlock.envelope.canonical import canonical
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.sdk import SkillError

BLUEPRINT = "blueprint.json"
DECISION = "decision.json"
T = TypeVar("T")


class Governed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of blueprint.json: a blueprint and the policies of its directory."""

    blueprint: Blueprint
    policies: Policies | None = None


class Decided(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of decision.json: a decision and what it saw."""

    decision: Decision
    state: ObservedState


def put(directory: Path, name: str, value: Struct) -> None:
    """Writes a value for the next task; the same value gives the same bytes."""
    (directory / name).write_bytes(canonical(value))


def take(files: Mapping[str, Path], name: str, kind: type[T]) -> T:
    """What an earlier task left. Raises SkillError."""
    if name not in files:
        raise SkillError(f"{name} was not handed in")
    return taken(files[name].read_bytes(), name, kind)


def taken(data: bytes, name: str, kind: type[T]) -> T:
    """A value from its JSON. Raises SkillError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SkillError(f"{name}: {str(error)[:200]}") from error


def convert(value: object, name: str, kind: type[T]) -> T:
    """A value of the task's input. Raises SkillError."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SkillError(f"{name}: {str(error)[:200]}") from error
