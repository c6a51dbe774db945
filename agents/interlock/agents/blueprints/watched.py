"""One service that is watched: its blueprint as it stands on disk, its past, what is under way. Kept over restarts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from interlock.agents.blueprints.resetting import MAX_BYTES as MAX_ORDER_BYTES
from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.skills.infrastructure.blueprint.directory import Service, read_service
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.reading import MAX_BYTES, read_blueprint
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.decision.model import Decision
from interlock.skills.infrastructure.decision.record import ExecutionPart, GovernanceCheck
from interlock.skills.infrastructure.observed import ObservedState

RESET = ".reset"


class Pending(Struct, frozen=True, kw_only=True):
    """An operation that was done and is to be verified at due_ms. undo: what its execution said of before and after;
    handed_in: the blueprint it was done by, and its policies, as its goal got them.
    """

    decision: Decision
    governance: GovernanceCheck
    execution: ExecutionPart
    before: ObservedState
    undo: dict[str, Any]
    due_ms: int
    handed_in: dict[str, str]


class Acting(Struct, frozen=True, kw_only=True):
    """A goal that was handed in: whoever finds this after a crash asks for the same goal again. looked: the history without
    the action, for the case that nothing is done. files: the digest of the files it was decided by.
    """

    goal_id: str
    goal: dict[str, Any]
    decision: Decision
    governance: GovernanceCheck
    before: ObservedState
    looked: History
    since_ms: int
    files: str = ""


class Memory(Struct, kw_only=True):
    """What is kept of a service. declined: action → until when it is not asked for again (UTC ms); reset_ms: when the last
    order to close the breaker was signed.
    """

    history: History = field(default_factory=History)
    acting: Acting | None = None
    pending: Pending | None = None
    declined: dict[str, int] = field(default_factory=dict)
    reset_ms: int = 0


def blueprint_of(handed_in: dict[str, str]) -> Blueprint:
    """The blueprint that a goal was given: it was right then. Raises ValueError if it is not."""
    blueprint = read_blueprint(handed_in["text"], source=handed_in["source"]).blueprint
    if blueprint is None:
        raise ValueError(f"{handed_in['source']} was handed in and cannot be read")
    return blueprint


class Watched:
    """A service under watch."""

    def __init__(self, path: Path, keep: Path) -> None:
        """path: of its blueprint.yaml; keep: the directory for its memory."""
        self.path = path
        self._keep = keep
        self.files = ""
        self._name = path.parent.name
        self.service = self._read()
        self.memory = self._remembered()

    @property
    def name(self) -> str:
        """The blueprint's name, also while it cannot be read: what is remembered lies under it."""
        return self._name

    def look(self) -> list[str] | None:
        """Reads the files again if they changed. None: they did not; else what is wrong with them, a line each. What is
        wrong is not acted on: the service is left alone until its blueprint is right again.
        """
        if not self.changed():
            return None
        self.service = self._read()
        self.memory.declined.clear()
        return list(self.service.problems)

    def changed(self, since: str | None = None) -> bool:
        """Whether the files are others than when they were last read, or than those of a digest."""
        return self._digest() != (self.files if since is None else since)

    def handed_in(self) -> dict[str, str]:
        """The blueprint and its policies as a goal gets them: their text."""
        policies = self.service.policies_path
        return {
            "source": f"{self.path.parent.name}/{self.path.name}",
            "text": read_file(self.path, MAX_BYTES).decode("utf-8", "replace"),
            "policies": read_file(policies, MAX_BYTES).decode("utf-8", "replace") if policies is not None else "",
        }

    def save(self) -> None:
        """Makes the memory durable before anything rests on it."""
        self._keep.mkdir(parents=True, exist_ok=True)
        path = self._file()
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(msgspec.json.encode(self.memory))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def reset_asked(self) -> bytes | None:
        """The order to close the breaker that was left since the last look, None if there is none. It is taken away."""
        path = self._keep / f"{self.name}{RESET}"
        if not path.is_file():
            return None
        data = path.read_bytes()[: MAX_ORDER_BYTES + 1]
        path.unlink()
        return data

    def _remembered(self) -> Memory:
        path = self._file()
        return msgspec.json.decode(path.read_bytes(), type=Memory) if path.is_file() else Memory()

    def _file(self) -> Path:
        return self._keep / f"{self.name}.json"

    def _read(self) -> Service:
        """A file that has gone, or is none, is a problem of this service and of no other."""
        self.files = self._digest()
        try:
            service = read_service(self.path, lambda file: read_file(file, MAX_BYTES))
        except UserError as error:
            return Service(self.path, None, None, None, None, (str(error),))
        if service.blueprint is not None:
            self._name = service.blueprint.name
        return service

    def _digest(self) -> str:
        """Of everything that is read: the blueprint, its history's names, the policies."""
        digest = hashlib.sha256()
        for file in (self.path, self.path.resolve().parent.parent / "governance" / "policies.yaml"):
            try:
                digest.update(read_file(file, MAX_BYTES))
            except UserError:
                digest.update(b"\0")
        for file in sorted((self.path.parent / "history").glob("*.yaml")):
            digest.update(file.name.encode() + b"\0")
        return digest.hexdigest()
