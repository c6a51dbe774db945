"""Inside the forked child: enter the sandbox, call the handler, say what came of it. Nothing here is trusted."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from interlock.bus.clock import boot_s
from interlock.skills.protocol import Answer, RunOrder
from interlock.skills.sandbox.enter import Confinement, Sandbox
from interlock.skills.sdk import SkillError, Task

# Where the result goes, beside standard input, output and error. In the host all four places are taken, so that what it
# opens for a run lies above them.
RESULT = 3
_MOST_DESCRIPTORS = 1 << 20
_DISK = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)
ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
_encoder = msgspec.json.Encoder()


class Prepared(Struct, frozen=True):
    """All of a run that can be made before the fork: a child copies every page that it touches. directory: of the
    handler; descriptors above RESULT, nothing: of /dev/null.
    """

    order: RunOrder
    code: types.CodeType
    directory: str
    task: Task
    sandbox: Sandbox
    nothing: int
    log: int
    result: int


def prepare(order: RunOrder, code: types.CodeType, *, nothing: int, log: int, result: int) -> Prepared:
    """The caller closes the sandbox. Raises IsolationUnavailable."""
    directory = str(Path(order.handler).parent)
    task = Task(
        input=order.input,
        out=Path(order.out),
        config=Path(order.config),
        now=order.now,
        seed=order.seed,
        files={name: Path(path) for name, path in order.files.items()},
    )
    confinement = Confinement(
        cpu_seconds=order.cpu_seconds,
        memory_bytes=order.memory_bytes,
        file_bytes=order.scratch_bytes,
        processes=order.processes,
        network=order.network,
        readable=(directory, order.config, *order.files.values(), *order.readable),
        writable=(order.scratch, order.out, *order.writable),
        strict=order.strict,
    )
    return Prepared(order, code, directory, task, Sandbox(confinement), nothing, log, result)


def become_run(run: Prepared) -> NoReturn:
    """Turns the forked process into the run; never returns."""
    status = 1
    try:
        _take_place(run)
        _write(RESULT, _encoder.encode(_answer(run)))
        status = 0
    except BaseException as error:
        _write(RESULT, _encoder.encode(Answer(status="crashed", detail=_line(error))))
    finally:
        os._exit(status)


def _take_place(run: Prepared) -> None:
    """Nothing of the host's is seen in the four places."""
    for descriptor, place in ((run.result, RESULT), (run.nothing, 0), (run.log, 1), (run.log, 2)):
        os.dup2(descriptor, place, inheritable=place != RESULT)
    os.environ["HOME"] = os.environ["TMPDIR"] = run.order.scratch
    os.chdir(run.order.scratch)


def _answer(run: Prepared) -> Answer:
    try:
        run.sandbox.enter()
    except OSError as error:
        return Answer(status="isolation_unavailable", detail=str(error))
    os.closerange(RESULT + 1, _MOST_DESCRIPTORS)  # nothing of the host's stays open but the two pipes
    if run.order.begin_by_s and boot_s() > run.order.begin_by_s:
        return Answer(status="not_started", detail="the time within which it had to begin was over")
    try:
        return _call(run)
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


def _call(run: Prepared) -> Answer:
    sys.path.insert(0, run.directory)
    module = types.ModuleType("handler")
    module.__file__ = run.order.handler
    sys.modules["handler"] = module
    exec(run.code, module.__dict__)  # noqa: S102 - running the skill is what this process is for
    if run.order.mode == "check":
        check = module.__dict__.get("check")
        if check is None:
            return Answer(status="crashed", detail="the handler has no `check`")
        found = check(run.task)
        return Answer(status="not_happened") if found is None else _done(found)
    return _done(module.__dict__["run"](run.task))


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
