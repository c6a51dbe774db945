"""Inside the forked child: enter the sandbox, call the handler, say what came of it; once, or, shared, again and again with
what comes on a pipe. Nothing here is trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from interlock.bus.clock import boot_s
from interlock.skills import order_file
from interlock.skills.protocol import Answer, RunOrder
from interlock.skills.sandbox.enter import Confinement, enter
from interlock.skills.sdk import SkillError, Task

# Where the result goes and, in a shared child, where the next run comes from, beside standard input, output and error. In
# the zygote all these places are taken, so that what it receives for a run lies above them.
RESULT, TURNS = 3, 4
# How a run may end without ending its process.
CALM = ("done", "not_happened", "skill_error", "not_started")
_MOST_DESCRIPTORS = 1 << 20
_DISK = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)
ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
_encoder = msgspec.json.Encoder()


class Turn(Struct, frozen=True, kw_only=True):
    """What differs between two runs of a shared child. See RunOrder."""

    input: dict[str, Any]
    now: str
    seed: int
    begin_by_s: float


_turns = msgspec.json.Decoder(Turn)


class Given(Struct, frozen=True):
    """What the run is born with. directory: of the handler. nothing: a descriptor of /dev/null; log, result: pipes to the
    host; turns: where further runs come from, rules: those of Landlock, -1 where there are none. All above TURNS.
    """

    order: RunOrder
    code: types.CodeType
    directory: str
    task: Task
    nothing: int
    log: int
    result: int
    turns: int
    rules: int


def confinement_of(order: RunOrder) -> Confinement:
    """What a process for this order is confined to."""
    return Confinement(
        # Shared, the host holds each run to its limit, and this is for all of them.
        cpu_seconds=order.cpu_seconds + bool(order.share),
        memory_bytes=order.memory_bytes,
        file_bytes=order.scratch_bytes,
        processes=order.processes,
        network=order.network,
        readable=(_directory(order), order.config, *order.files.values(), *order.readable),
        writable=(order.scratch, order.out, *order.writable),
        strict=order.strict,
    )


def _directory(order: RunOrder) -> str:
    """Of the handler, whose path is whole. By hand: the way through Path costs a child 0.1 ms."""
    return order.handler.rpartition("/")[0]


def descriptors_of(order: int, log: int, result: int, turns: int, rules: int) -> list[int]:
    """As `become_run` takes them; -1 for turns and rules where there are none."""
    return [order, log, result, *(descriptor for descriptor in (turns, rules) if descriptor >= 0)]


def _given(descriptors: Sequence[int], nothing: int) -> Given:
    described, log, result, *rest = descriptors
    order, code = order_file.read(described)
    turns = rest.pop(0) if order.share else -1
    task = Task(
        input=order.input,
        out=Path(order.out),
        config=Path(order.config),
        now=order.now,
        seed=order.seed,
        files={name: Path(path) for name, path in order.files.items()},
    )
    rules = rest.pop(0) if rest else -1
    return Given(order, code, _directory(order), task, nothing, log, result, turns, rules)


def become_run(descriptors: Sequence[int], nothing: int) -> NoReturn:
    """Turns the forked process into the run; never returns. descriptors: from descriptors_of; nothing: of /dev/null."""
    status, result = 1, descriptors[2]
    try:
        run = _given(descriptors, nothing)
        _take_place(run)
        result = RESULT
        if run.turns < 0:
            _write(RESULT, _encoder.encode(_confined(run)))
        else:
            _serve(run)
        status = 0
    except BaseException as error:  # a skill may raise anything, SystemExit included: told, and over
        _write(result, _encoder.encode(Answer(status="crashed", detail=_line(error))))
    finally:
        os._exit(status)


def _serve(run: Given) -> None:
    """Answers run after run, a line each, until one ends otherwise than it should or no more come."""
    path, modules, environment = list(sys.path), frozenset(sys.modules), dict(os.environ)
    answer = _confined(run)
    while True:
        _write(RESULT, _encoder.encode(answer) + b"\n")
        if answer.status not in CALM:
            return
        line = _next_line()
        if not line:
            return
        turn = _turns.decode(line)
        _start_afresh(run, path, modules, environment)
        task = dataclasses.replace(run.task, input=turn.input, now=turn.now, seed=turn.seed)
        answer = _answer(run, task, turn.begin_by_s)


def _next_line() -> bytes:
    """Empty when no more will come."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(TURNS, 1 << 16)
        if not data:
            return b""
        line += data
    return line


def _start_afresh(run: Given, path: list[str], modules: frozenset[str], environment: dict[str, str]) -> None:
    """What the skill's own modules keep does not reach its next run; what it did to others does (docs/skills.md)."""
    for name in sys.modules.keys() - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(run.directory + "/"):
            del sys.modules[name]
    sys.path[:] = path
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    os.chdir(run.order.scratch)


def _take_place(run: Given) -> None:
    """Nothing of the host's is seen in the places."""
    places = [(run.result, RESULT), (run.nothing, 0), (run.log, 1), (run.log, 2)]
    if run.turns >= 0:
        places.append((run.turns, TURNS))
    for descriptor, place in places:
        os.dup2(descriptor, place, inheritable=place < RESULT)
    os.environ["HOME"] = os.environ["TMPDIR"] = run.order.scratch
    os.chdir(run.order.scratch)


def _confined(run: Given) -> Answer:
    """Enters the sandbox, and answers the first run."""
    if run.order.strict and run.rules < 0:
        return Answer(status="isolation_unavailable", detail="it was given no Landlock rules")
    try:
        enter(confinement_of(run.order), run.rules)
    except OSError as error:
        return Answer(status="isolation_unavailable", detail=str(error))
    # Nothing of the host's stays open but the pipes.
    os.closerange((RESULT if run.turns < 0 else TURNS) + 1, _MOST_DESCRIPTORS)
    return _answer(run, run.task, run.order.begin_by_s)


def _answer(run: Given, task: Task, begin_by_s: float) -> Answer:
    if begin_by_s and boot_s() > begin_by_s:
        return Answer(status="not_started", detail="the time within which it had to begin was over")
    try:
        return _call(run, task)
    except SkillError as error:
        return Answer(status="skill_error", detail=_line(error))
    except MemoryError:
        return Answer(status="memory_limit", detail=f"more than {run.order.memory_bytes >> 20} MB of memory")
    except OSError as error:
        if error.errno in _DISK:
            return Answer(status="disk_limit", detail=_line(error))
        raise
    except RecursionError as error:
        return Answer(status="crashed", detail=_line(error))
    finally:
        with contextlib.suppress(Exception):  # what became of its standard output is the handler's own affair
            sys.stdout.flush()


def _call(run: Given, task: Task) -> Answer:
    sys.path.insert(0, run.directory)
    module = types.ModuleType("handler")
    module.__file__ = run.order.handler
    sys.modules["handler"] = module
    exec(run.code, module.__dict__)  # noqa: S102 - running the skill is what this process is for
    if run.order.mode == "check":
        check = module.__dict__.get("check")
        if check is None:
            return Answer(status="crashed", detail="the handler has no `check`")
        found = check(task)
        return Answer(status="not_happened") if found is None else _done(found)
    return _done(module.__dict__["run"](task))


def _done(output: Any) -> Answer:
    if not isinstance(output, dict):
        return Answer(status="crashed", detail=f"the handler returned {type(output).__name__}, not an object")
    return Answer(status="done", output=output)


def _write(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return  # the host stopped listening: it has decided already


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, SkillError) else f"{type(error).__name__}: {text}"
