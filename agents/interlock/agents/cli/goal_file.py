"""A goal as a file: YAML or JSON, paths in it relative to it, inputs replaced from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.errors import UserError
from interlock.agents.planning.playbooks import load_playbooks
from interlock.agents.workspace.config_dir import config_dir
from interlock.agents.workspace.settings import read_yaml
from interlock.bus.yaml12 import plain_scalar
from interlock.skills.schemas import path_properties

PATH_NAMES = ("path", "directory")


class GoalFile(Struct, frozen=True):
    """data: what is published. grants: directories of the host its skills need to read. skills: the folder `skills`
    beside the file, if there is one.
    """

    data: bytes
    grants: list[Path]
    skills: list[Path]


def load_goal(path: Path, replaced: Sequence[str]) -> GoalFile:
    """Raises UserError for what can be seen to be wrong before anything is started."""
    value, _ = read_yaml(path)
    if not isinstance(value, dict):
        raise UserError(
            "bad_goal", f"{path}:1:1: a goal is a mapping", "See examples/01-release-readiness/goal.yaml", 2
        )
    inputs = value.setdefault("inputs", {})
    if not isinstance(inputs, dict):
        raise UserError("bad_goal", f"{path}: inputs must be a mapping", exit_code=2)
    here = {name: (entry, path.resolve().parent) for name, entry in inputs.items()}
    for assignment in replaced:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UserError("bad_usage", f"--input {assignment!r} is not KEY=VALUE", exit_code=2)
        here[name] = (plain_scalar(text), Path.cwd())
    grants = []
    directories = _directory_inputs(value)
    for name, (entry, base) in here.items():
        if name in directories and isinstance(entry, str):
            place = (base / Path(entry).expanduser()).resolve()
            if not place.is_dir():
                raise UserError("no_directory", f"inputs.{name}: {place} is no directory", "Check the path", 2)
            grants.append(place)
            entry = str(place)
        inputs[name] = entry
    beside = path.resolve().parent / "skills"
    try:
        data = msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise UserError("bad_goal", f"{path}: {error}", exit_code=2) from error
    return GoalFile(data, grants, [beside] if beside.is_dir() else [])


def _directory_inputs(goal: dict[str, Any]) -> set[str]:
    """Inputs that name directories: as the playbook's schema says; for own tasks those called `path` or `directory`."""
    name = goal.get("playbook")
    playbook = None if name is None else load_playbooks([config_dir() / "playbooks"]).get(str(name))
    if playbook is None:
        return set(PATH_NAMES)
    return {name for name, _ in path_properties(playbook.inputs)}
