"""Blueprints as they stand on disk (seed 001): SERVICE/blueprint.yaml, SERVICE/history/v1.2.3.yaml, governance/policies.yaml
beside the services.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies, read_policies
from interlock.skills.infrastructure.blueprint.reading import read_blueprint
from interlock.skills.infrastructure.blueprint.versions import History, history

FILE = "blueprint.yaml"
MAX_VERSIONS = 1000
Read = Callable[[Path], bytes]


class Service(Struct, frozen=True):
    """One blueprint with what belongs to it. problems: a line each, of all its files; blueprint, policies and history are
    what could be read. policies_path: None if the directory has none.
    """

    path: Path
    blueprint: Blueprint | None
    history: History | None
    policies: Policies | None
    policies_path: Path | None
    problems: tuple[str, ...]


def blueprint_files(path: Path) -> list[Path]:
    """The blueprints that a path means: a file itself, the `blueprint.yaml` in a directory, or those of the directories
    in it. Sorted; empty if there is none.
    """
    if not path.is_dir():
        return [path]
    own = path / FILE
    return [own] if own.is_file() else sorted(entry for entry in path.glob(f"*/{FILE}") if entry.is_file())


def read_service(path: Path, read: Read) -> Service:
    """The blueprint at path, its history and its policies. read: gives a file's bytes, and raises what it likes."""
    reading = read_blueprint(read(path), source=str(path))
    problems = reading.told()
    policies, policies_path = None, path.resolve().parent.parent / "governance" / "policies.yaml"
    exists = policies_path.is_file()
    if exists:
        shown = _beside(path, policies_path)
        found = read_policies(read(policies_path), source=shown)
        policies = found.policies
        problems.extend(found.told())
    past = []
    for file in sorted((path.parent / "history").glob("*.yaml"))[:MAX_VERSIONS]:
        version = read_blueprint(read(file), source=str(file))
        problems.extend(version.told())
        if version.blueprint is not None:
            past.append((str(file), version.blueprint))
    told: History | None = None
    if reading.blueprint is not None:
        told = history(past, (str(path), reading.blueprint))
        problems.extend(told.problems)
    return Service(path, reading.blueprint, told, policies, policies_path if exists else None, tuple(problems))


def clashes(services: list[Service]) -> list[str]:
    """Two blueprints of one name, or about one object: a line each, told of the later."""
    names: dict[str, Path] = {}
    targets: dict[str, Path] = {}
    problems = []
    for service in services:
        if service.blueprint is None:
            continue
        name, target = service.blueprint.name, str(service.blueprint.unread_target)
        if name in names:
            problems.append(f"{service.path}: is called {name}, like {names[name]}; expected a name of its own")
        if target in targets:
            problems.append(f"{service.path}: is about {target}, like {targets[target]}; expected an object of its own")
        names.setdefault(name, service.path)
        targets.setdefault(target, service.path)
    return problems


def _beside(path: Path, policies: Path) -> str:
    """How the policies are called: as the blueprint was."""
    return str(policies if path.is_absolute() else path.parent.parent / "governance" / policies.name)
