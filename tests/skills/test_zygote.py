"""Runs are born of a process that never heard of any: nothing of other goals is in their memory, and none outlives it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from anyio.abc import TaskGroup

from interlock.skills.runner import SkillRunner
from tests.skills.test_runner import FORKING, children_of, descendants_of, request_for, wait_gone

pytestmark = [pytest.mark.anyio, pytest.mark.process]
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r")


def holds(pid: int, text: str) -> bool:
    """Whether the text is anywhere in the memory of a process, also in what it has freed."""
    found = False
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            mapping = MAPPING.match(line)
            if mapping is not None and not line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                first, last = (int(place, 16) for place in mapping.groups())
                found = found or text.encode() in os.pread(memory.fileno(), last - first, first)
    return found


def zygote_of(runner: SkillRunner) -> int:
    """The youngest child of the host: its guard was there before."""
    return max(children_of(runner.host_pid))


async def asleep(runner: SkillRunner, group: TaskGroup, place: Path, goal: str, secret: str) -> int:
    """A run of the goal that sleeps, and its process."""
    before = descendants_of(runner.host_pid)
    value = {"what": "sleep", "secret": secret}
    group.start_soon(runner.run, request_for(place, "", goal=goal, input=value))
    with anyio.fail_after(10):
        while not (new := descendants_of(runner.host_pid) - before) or not holds(min(new), secret):
            await anyio.sleep(0.01)
    return min(new)


async def test_a_run_finds_nothing_of_other_goals_in_its_memory(runner: SkillRunner, tmp_path: Path) -> None:
    """Neither of goals that run at the time nor of one that ran before: seen from outside, in all that it could read."""
    secrets = {goal: f"secret-of-{goal}-{uuid4()}" for goal in ("before", "one", "two", "")}
    value = {"what": "nothing", "secret": secrets["before"]}
    assert (await runner.run(request_for(tmp_path, "", goal="before", input=value))).outcome == "done"
    async with anyio.create_task_group() as group:
        pids = {goal: await asleep(runner, group, tmp_path, goal, secrets[goal]) for goal in ("one", "two", "")}
        known = {goal: {name for name, secret in secrets.items() if holds(pid, secret)} for goal, pid in pids.items()}
        assert known == {goal: {goal} for goal in pids}
        assert not any(holds(zygote_of(runner), secret) for secret in secrets.values())
        assert all(holds(runner.host_pid, secrets[goal]) for goal in pids), (
            "the host knows: else nothing could be found"
        )
        group.cancel_scope.cancel()


async def test_the_host_ends_by_itself_when_its_runner_does(tmp_path: Path) -> None:
    """Also with runs on their way; it is not the kill after a while that ends it."""
    async with SkillRunner.started() as runner:
        assert (await runner.run(request_for(tmp_path, "nothing"))).outcome == "done"
        link = await runner._link()
        async with anyio.create_task_group() as group:
            await asleep(runner, group, tmp_path, "one", "a secret")
            everybody = descendants_of(runner.host_pid)
            link._writer.close()
            with anyio.fail_after(10):
                status = await asyncio.wrap_future(link._process.ended)
    assert status == 0
    wait_gone([*everybody])


async def test_a_lost_zygote_ends_the_host_and_all_its_runs(runner: SkillRunner, tmp_path: Path) -> None:
    first, outcomes = runner.host_pid, []

    async def run(what: str, skill: object) -> None:
        outcomes.append(await runner.run(request_for(tmp_path, what, skill)))

    async with anyio.create_task_group() as group:
        group.start_soon(run, "sleeping_family", FORKING)
        with anyio.fail_after(10):
            while len(descendants_of(first)) < 5:
                await anyio.sleep(0.01)
        everybody = descendants_of(first)
        os.kill(zygote_of(runner), signal.SIGKILL)
    assert [(told.outcome, told.detail) for told in outcomes] == [
        ("host_lost", "the fork server ended: the zygote ended")
    ]
    again = [(await runner.run(request_for(tmp_path, "nothing"))).outcome for _ in range(2)]
    assert again[-1] == "done"
    wait_gone([first, *everybody])


PROBE = """
import os, resource, sys
from interlock.skills.zygote import Zygote, ZygoteLost
zygote = Zygote()
try:
    zygote.reap(os.getpid())
except OSError as error:
    print(type(error).__name__)
resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (8, 8))
try:
    zygote.fork([0, 1, 2])
except OSError as error:
    print(error.strerror)
os.kill(zygote.pid, 9)
try:
    zygote.fork([0, 1, 2])
except ZygoteLost as error:
    print(error)
"""


def test_what_it_cannot_do_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == ["ChildProcessError", "Too many open files"]
    assert done.stdout.splitlines()[2].startswith("the zygote ended")


UNCONFINED = """
import os, sys
from interlock.skills import order_file
from interlock.skills.protocol import RunOrder
from interlock.skills.zygote import Zygote
zygote = Zygote()
handler, place = sys.argv[1:]
order = RunOrder(
    id="r", mode="run", handler=handler, input={}, files={}, config=place, now="", seed=0, scratch=place, out=place,
    readable=[], writable=[], cpu_seconds=5, wall_ms=1_000, memory_bytes=1 << 28, scratch_bytes=1 << 20,
    output_bytes=1 << 20, max_files=50, processes=0, network=False, strict=True,
)
result, theirs = os.pipe()
code = order_file.compiled(b"def run(task): return {'ran': True}", handler)
pid = zygote.fork([order_file.write(order, code), 1, theirs])
zygote.reap(pid)
os.write(1, os.read(result, 1 << 16))
"""


def test_a_run_that_is_given_no_rules_does_not_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNCONFINED, str(tmp_path / "handler.py"), str(tmp_path)], capture_output=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b'"status":"isolation_unavailable"' in done.stdout
    assert b'"ran"' not in done.stdout


def test_it_ends_with_its_host_and_holds_nothing_of_it() -> None:
    script = "import os, sys, time; from interlock.skills.zygote import Zygote; z = Zygote(); os.write(1, b'%d' % z.pid); time.sleep(60)"
    held, theirs = os.pipe()
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, pass_fds=[theirs])
    os.close(theirs)
    assert host.stdout is not None
    zygote = int(os.read(host.stdout.fileno(), 16))
    wait_for_few_descriptors(zygote)
    host.kill()
    host.wait()
    wait_gone([zygote])
    assert os.read(held, 1) == b""
    os.close(held)
    host.stdout.close()


def wait_for_few_descriptors(pid: int) -> None:
    """Standard streams, two places, one of /dev/null above them, and its line alone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        names = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
        if len(names) <= 7 and [name.split(":")[0] for name in names].count("socket") == 1:
            return
        time.sleep(0.01)
    pytest.fail(f"the zygote holds {names}")
