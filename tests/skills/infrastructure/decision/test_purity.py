"""A decision knows only what it is given: no clock, no chance, no file, no network in what makes it."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec

import interlock.skills.infrastructure.decision.decide as decide
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.observed import ObservedState, PodState
from tests.skills.infrastructure.decision.services import NOW, TARGET, blueprint

ROOM = Path(decide.__file__).parent
# The log is read from a file and tells times as text; neither decides anything.
BESIDE = {"record.py"}
IMPURE = {"anyio", "asyncio", "datetime", "os", "pathlib", "random", "secrets", "socket", "subprocess", "time", "uuid"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_nothing_that_decides_asks_the_world() -> None:
    modules = [path for path in ROOM.glob("*.py") if path.name not in BESIDE]
    assert len(modules) > 10
    assert {path.name: found for path in modules if (found := imported(path) & IMPURE)} == {}


def test_what_decides_does_not_read_the_log() -> None:
    assert [path.name for path in ROOM.glob("*.py") if "decision.record" in path.read_text()] == []


def test_the_same_question_has_the_same_id_wherever_its_strings_came_from() -> None:
    """What was observed is handed on as JSON: defaults that are left out, or not, must not make another question of it."""
    phase = "".join(["Run", "ning"])  # equal to the default, and another object: as an API's answer gives it
    pod = PodState(name="a", phase=phase, cpu_m=90, usage_at_ms=NOW)  # type: ignore[arg-type]  # a str that was put together
    state = ObservedState(target=TARGET, at_ms=NOW, replicas=1, ready_replicas=1, pods=(pod,))
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(state)), ObservedState)
    asked = blueprint()
    assert decide.decide(asked, state, History(), NOW).id == decide.decide(asked, again, History(), NOW).id
