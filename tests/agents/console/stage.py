"""A whole secured house of processes with its console, the command line beside it, a tab of a real browser on it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import msgspec

from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.status import read_status
from interlock.agents.workspace.broker import login_of
from interlock.agents.workspace.layout import Layout
from interlock.bus.jetstream.transport import JetStreamTransport

ROOT = Path(__file__).parents[3]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
SLOW = 20_000


class Place:
    """A running `interlock up --console`, and the command line beside it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.root = root
        self.process: subprocess.Popen[bytes] | None = None

    def cli(self, *words: str) -> str:
        command = [sys.executable, "-m", "interlock.agents", *words]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout.strip()

    def up(self) -> None:
        command = [sys.executable, "-m", "interlock.agents", "up", "--console"]
        with (self.root / "up.log").open("wb") as log:
            process = self.process = subprocess.Popen(command, cwd=self.root, stdout=log, stderr=subprocess.STDOUT)
        until(lambda: (self.layout.run / "console.json").exists() or process.poll() is not None, 60)
        assert process.poll() is None, (self.root / "up.log").read_text()
        self.url = msgspec.json.decode((self.layout.run / "console.json").read_bytes())["url"]

    def down(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def call(self, agent: str, work: Callable[[JetStreamTransport], Awaitable[Any]]) -> Any:
        """Does it over a connection of this agent's, in a thread of its own: playwright has taken this one."""

        async def connected() -> Any:
            running = self.layout.running()
            assert running is not None
            login = login_of(self.layout, agent)
            async with JetStreamTransport.connect(running.url, name=agent, login=login) as transport:
                return await work(transport)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(anyio.run, connected).result()

    def submit(self, tasks: list[dict[str, Any]], goal: str = "Leave a line", wait: bool = True) -> str:
        """Its id; wait: once it has ended and was audited, else once it was taken up and has a page."""

        async def work(transport: JetStreamTransport) -> str:
            with anyio.fail_after(60):
                goal_id = await publish_goal(transport, "default", goal_text(tasks, goal).encode())
                if wait:
                    await wait_for_end(transport, "default", goal_id, lambda _status, _hops: None)
                    assert await wait_for_audit(transport, "default", goal_id) is not None
                while await read_status(transport, "default", goal_id) is None:
                    await anyio.sleep(0.02)
            return goal_id

        found: str = self.call("human", work)
        return found


def focused(page: Any) -> Any:
    """The page's keyboard, once the page has put its cursor somewhere: that comes after it has loaded, and no hand is so fast."""
    page.locator("body :focus").wait_for()
    return page.keyboard


def until(holds: Callable[[], Any], within_s: float = 20) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.05)
    return found


def goal_text(tasks: list[dict[str, Any]], goal: str = "Leave a line") -> str:
    return msgspec.json.encode(
        {
            "goal": goal,
            "constraints": [],
            "stakeholders": ["Ada"],
            "success_metrics": ["it is there"],
            "budget_limits": {"costUSD": "1", "wallMs": 10_000_000, "actions": 100},
            "tasks": tasks,
        }
    ).decode()


def running_in(root: Path) -> Iterator[Place]:
    made = Place(root)
    made.cli("init", "--secure", ".")
    (root / "lines").mkdir()
    skills = ROOT / "tests" / "agents" / "skills"
    sample = ROOT / "examples" / "01-release-readiness" / "sample"
    settings = {
        "skills": [str(skills)],
        "write_roots": [str(root / "lines")],
        "input_roots": [str(sample)],
        "console": {"port": 0},
    }
    (root / "interlock.yaml").write_bytes(msgspec.json.encode(settings))
    made.up()
    yield made
    assert made.down() == 0
    assert "Traceback" not in (root / "up.log").read_text()
    assert not (made.layout.run / "console.json").exists()


class Tab:
    """A page, and everything that must not happen on it."""

    def __init__(self, context: Any, place: Place) -> None:
        self.place = place
        self.page = context.new_page()
        self.page.set_default_timeout(SLOW)
        self.requests: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", lambda told: self._heard(told.type, told.text))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.said.append(text)

    def go(self, path: str) -> None:
        self.page.goto(self.place.url + path)

    def check(self) -> None:
        """Nothing left this host, nothing broke, nothing was kept from running by the policy."""
        assert self.requests
        assert [url for url in self.requests if not url.startswith(self.place.url + "/")] == []
        assert self.said == []


def line(place: Place, name: str, pause_ms: int = 0, skill: str = "appending-line", **more: Any) -> dict[str, Any]:
    given = {"place": str(place.root / "lines"), "line": name, "pause_ms": pause_ms}
    return {"id": name, "skill": skill, "input": given} | more
