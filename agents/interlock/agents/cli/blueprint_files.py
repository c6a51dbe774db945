"""`interlock blueprint validate|history|diff`: what stands in files, nothing else. Other blueprint verbs read through here."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.skills.infrastructure.blueprint.diff import semantic_diff
from interlock.skills.infrastructure.blueprint.directory import (
    FILE,
    Service,
    blueprint_files,
    clashes,
    read_service,
)
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.reading import MAX_BYTES, read_blueprint


def load_services(path: Path) -> list[Service]:
    """Every service that a path means, all right. Raises UserError when one is not, having told every problem."""
    services = [_service(file) for file in _files(path)]
    problems = [line for service in services for line in service.problems] + clashes(services)
    if problems:
        raise _refused(problems)
    return services


def one_blueprint(path: Path) -> Blueprint:
    """The blueprint that a path means. Raises UserError where it means none, several, or one that is not right."""
    return _blueprint(_one(path))


def validate_paths(paths: list[Path], json: bool) -> int:
    """Exit 0 if all are right, else 1."""
    services = [_service(file) for path in paths or [Path()] for file in _files(path)]
    apart = clashes(services)
    if json:
        answer = {
            "valid": not apart and not any(service.problems for service in services),
            "blueprints": [_answer(service) for service in services],
            "problems": apart,
        }
        _write(msgspec.json.encode(answer).decode())
    else:
        for service in services:
            lines = [*service.problems] or [f"{service.path}: {_summary(service)}"]
            _write("\n".join(lines))
        for line in apart:
            _write(line)
        count = sum(len(service.problems) for service in services) + len(apart)
        if count:
            _write(f"{_counted(count, 'problem')} in {_counted(len(services), 'blueprint')}")
    return 1 if apart or any(service.problems for service in services) else 0


def show_history(path: Path, json: bool) -> int:
    """Oldest first. Exit 1 if the history has problems."""
    service = _service(_one(path))
    if service.history is None:
        raise _refused(list(service.problems))
    versions = service.history.versions
    if json:
        entries = [
            {
                "version": entry.blueprint.version,
                "source": entry.source,
                "digest": entry.blueprint.digest,
                "changes": msgspec.to_builtins(entry.changes),
            }
            for entry in versions
        ]
        answer = {"name": versions[-1].blueprint.name, "versions": entries, "problems": service.problems}
        _write(msgspec.json.encode(answer).decode())
        return 1 if service.problems else 0
    for index, entry in enumerate(versions):
        current = " (current)" if index == len(versions) - 1 else ""
        _write(f"{entry.blueprint.version}{current}  {entry.blueprint.digest[:12]}  {entry.source}")
        for change in entry.changes:
            if change.path != "metadata.version":
                _write(f"  {change.told()}")
    for line in service.problems:
        _write(line)
    return 1 if service.problems else 0


def show_diff(old: Path, new: Path | None, json: bool) -> int:
    """Exit 0 if they ask for the same, 1 if not."""
    if new is None:
        service = _service(_one(old))
        if service.blueprint is None or service.history is None:
            raise _refused(list(service.problems))
        current = service.blueprint
        earlier = [entry.blueprint for entry in service.history.versions if entry.blueprint is not current]
        earlier = [entry for entry in earlier if entry.digest != current.digest] or earlier
        if not earlier:
            raise UserError("no_history", f"{old} has no earlier version", "Give two blueprints to compare", 2)
        first, second = earlier[-1], current
    else:
        first, second = _blueprint(_one(old)), _blueprint(_one(new))
    changes = semantic_diff(first, second)
    if json:
        ends = [{"name": end.name, "version": end.version, "digest": end.digest} for end in (first, second)]
        answer = {"old": ends[0], "new": ends[1], "changes": msgspec.to_builtins(changes)}
        _write(msgspec.json.encode(answer).decode())
    else:
        _write(f"{first.name} {first.version} → {second.name} {second.version}: {_counted(len(changes), 'change')}")
        for change in changes:
            _write(f"  {change.told()}")
    return 1 if changes else 0


def _files(path: Path) -> list[Path]:
    files = blueprint_files(path)
    if not files:
        raise UserError("no_blueprint", f"{path} has no {FILE}, nor has a directory in it", "Check the path", 2)
    return files


def _one(path: Path) -> Path:
    files = _files(path)
    if len(files) > 1:
        names = ", ".join(str(file.parent.name) for file in files[:5])
        raise UserError("many_blueprints", f"{path} has {len(files)} blueprints", f"Name one of them: {names}", 2)
    return files[0]


def _service(path: Path) -> Service:
    return read_service(path, lambda file: read_file(file, MAX_BYTES))


def _blueprint(path: Path) -> Blueprint:
    reading = read_blueprint(read_file(path, MAX_BYTES), source=str(path))
    if reading.blueprint is None:
        raise _refused(reading.told())
    return reading.blueprint


def _refused(problems: list[str]) -> UserError:
    """Tells every problem on standard error; the error counts them."""
    sys.stderr.write("".join(f"{line}\n" for line in problems))
    count = _counted(len(problems), "problem")
    return UserError("bad_blueprint", f"{count} in the blueprint", "See `interlock blueprint validate`", 2)


def _answer(service: Service) -> dict[str, object]:
    blueprint = service.blueprint
    return {
        "path": str(service.path),
        "name": blueprint.name if blueprint else None,
        "version": blueprint.version if blueprint else None,
        "digest": blueprint.digest if blueprint else None,
        "problems": service.problems,
    }


def _summary(service: Service) -> str:
    blueprint = service.blueprint
    assert blueprint is not None and service.history is not None
    policies = "with the directory's policies" if service.policies is not None else "no policies beside it"
    versions = _counted(len(service.history.versions), "version")
    return f"{blueprint.name} {blueprint.version} is right ({versions}, {policies}; {blueprint.digest[:12]})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
