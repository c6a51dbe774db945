"""Playbooks: plan templates in YAML, from the configuration and from a workspace's own directories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from interlock.bus.yaml12 import load_yaml
from interlock.envelope.ids import Token
from interlock.envelope.payloads import TaskSpec


class Playbook(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """inputs: JSON Schema of the goal's `inputs`. release: the task that runs after audit and knowledge pack."""

    id: Token
    version: int
    description: str
    inputs: dict[str, Any] = field(default_factory=lambda: {"type": "object"})
    tasks: list[TaskSpec]
    release: TaskSpec | None = None


def load_playbook(path: Path) -> Playbook:
    """Raises ValueError: file, line and column, and what is wrong."""
    loaded = load_yaml(path.read_bytes(), source=str(path))
    try:
        playbook = msgspec.convert(loaded.value, Playbook)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `")
        line, column = loaded.position(where.rstrip("`") or "$")
        raise ValueError(f"{path}:{line}:{column}: {what} {where.rstrip('`')}".rstrip()) from error
    if playbook.id != path.stem:
        raise ValueError(f"{path}: its id is `{playbook.id}`; it must be the file's name")
    return playbook


def load_playbooks(directories: Sequence[Path]) -> dict[str, Playbook]:
    """By id; a later directory's playbook replaces an earlier one's of the same id. Raises ValueError."""
    paths = [path for directory in directories if directory.is_dir() for path in sorted(directory.glob("*.yaml"))]
    return {playbook.id: playbook for playbook in map(load_playbook, paths)}
