"""Inside the forked child: enter the sandbox, call the handler, say what came of it. Nothing here is trusted."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from interlock.skills.protocol import Answer, RunOrder
from interlock.skills.sandbox.enter import Confinement, IsolationUnavailable, enter
from interlock.skills.sdk import SkillError, Task

# Where the result goes, beside standard input, output and error.
_RESULT = 3
_MOST_DESCRIPTORS = 1 << 20
_DISK = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)


def become_run(order: RunOrder, code: types.CodeType, result_fd: int, log_fd: int) -> NoReturn:
    """Turns the forked process into the run; never returns."""
    status = 1
    try:
        _take_place(order, result_fd, log_fd)
        answer = _answer(order, code)
        _write(_RESULT, msgspec.json.encode(answer))
        status = 0
    except BaseException as error:
        _write(_RESULT, msgspec.json.encode(Answer(status="crashed", detail=_line(error))))
    finally:
        os._exit(status)


def _take_place(order: RunOrder, result_fd: int, log_fd: int) -> None:
    """Nothing of the host's stays open but the two pipes; moved out of the way first, since they may lie anywhere."""
    result, log, nothing = _above(result_fd), _above(log_fd), _above(os.open("/dev/null", os.O_RDONLY))
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2), (result, _RESULT)):
        os.dup2(descriptor, place, inheritable=place != _RESULT)
    os.closerange(_RESULT + 1, _MOST_DESCRIPTORS)
    os.environ.clear()
    os.environ.update(HOME=order.scratch, TMPDIR=order.scratch, LANG="C.UTF-8", PATH="/usr/bin:/bin", TZ="UTC")
    os.chdir(order.scratch)


def _above(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _RESULT + 1)


def _answer(order: RunOrder, code: types.CodeType) -> Answer:
    directory = str(Path(order.handler).parent)
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
    try:
        enter(confinement)
    except (IsolationUnavailable, OSError) as error:
        return Answer(status="isolation_unavailable", detail=str(error))
    try:
        return _call(order, code, directory)
    except SkillError as error:
        return Answer(status="skill_error", detail=_line(error))
    except MemoryError:
        return Answer(status="memory_limit", detail=f"more than {order.memory_bytes >> 20} MB of memory")
    except OSError as error:
        if error.errno in _DISK:
            return Answer(status="disk_limit", detail=_line(error))
        raise
    except RecursionError as error:
        return Answer(status="crashed", detail=_line(error))
    finally:
        with contextlib.suppress(Exception):  # what became of its standard output is the handler's own affair
            sys.stdout.flush()


def _call(order: RunOrder, code: types.CodeType, directory: str) -> Answer:
    sys.path.insert(0, directory)
    sys.dont_write_bytecode = True
    module = types.ModuleType("handler")
    module.__file__ = order.handler
    sys.modules["handler"] = module
    exec(code, module.__dict__)  # noqa: S102 - running the skill is what this process is for
    task = Task(
        input=order.input,
        out=Path(order.out),
        config=Path(order.config),
        now=order.now,
        seed=order.seed,
        files={name: Path(path) for name, path in order.files.items()},
    )
    if order.mode == "check":
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
