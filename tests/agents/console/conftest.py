"""A console over a house of roles in this process, and a browser that does what it is told: cookies, forms, no scripts.

A real browser over a house of processes (stage.py) is here too; it and its house are started once for a module.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import msgspec
import pytest

from interlock.agents.cli.session import Session
from interlock.agents.console.app import application
from interlock.agents.console.challenge import sign_answer
from interlock.agents.console.desk import Desk
from interlock.agents.console.guard import origins_of
from interlock.agents.console.settings import ConsoleSettings
from interlock.agents.workspace.keys import write_private
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
from interlock.envelope.keys import SigningKey
from tests.agents.conftest import InProcess
from tests.agents.console.stage import CHROMIUM, Place, Tab, focused, running_in

PORT = 8470
ORIGIN = f"http://127.0.0.1:{PORT}"
Headers = Iterable[tuple[str, str]]


class Answer(msgspec.Struct):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Browser:
    """Speaks ASGI to the console as uvicorn would."""

    def __init__(self, app: Any, address: str = "127.0.0.1") -> None:
        self.app = app
        self.address = address
        self.cookies: dict[str, str] = {}

    def scope(self, method: str, path: str, headers: Headers) -> dict[str, Any]:
        path, _, query = path.partition("?")
        sent = [("host", f"127.0.0.1:{PORT}")]
        if method == "POST":
            sent.append(("origin", ORIGIN))
        if self.cookies:
            sent.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        replaced = {name for name, _ in headers}
        sent = [*((name, value) for name, value in sent if name not in replaced), *headers]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent if value is not None],
            "client": (self.address, 40_000),
            "server": ("127.0.0.1", PORT),
        }

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> Answer:
        sent: list[dict[str, Any]] = []
        parts = [body[at : at + 65_536] for at in range(0, len(body), 65_536)] or [b""]

        async def receive() -> dict[str, Any]:
            if not parts:
                await anyio.sleep_forever()  # the browser stays
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(self.scope(method, path, list(headers)), receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        found = [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]
        for name, value in found:
            if name == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    self.cookies[key] = morsel.value
                    if not morsel.value:
                        del self.cookies[key]
        return Answer(start["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    async def get(self, path: str, headers: Headers = ()) -> Answer:
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, fields: dict[str, str], headers: Headers = ()) -> Answer:
        kind = ("content-type", "application/x-www-form-urlencoded")
        body = urlencode(fields).encode()
        return await self.ask("POST", path, body, [kind, ("content-length", str(len(body))), *headers])

    async def upload(self, path: str, fields: dict[str, str], name: str, data: bytes, file: str = "b") -> Answer:
        mark = secrets.token_hex(12)
        parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'
        body = "".join([*parts, head]).encode() + data + f"\r\n--{mark}--\r\n".encode()
        kind = ("content-type", f"multipart/form-data; boundary={mark}")
        return await self.ask("POST", path, body, [kind, ("content-length", str(len(body)))])

    async def follow(self, answer: Answer) -> Answer:
        assert answer.status == 303, answer.text
        return await self.get(answer.header("location"))


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


class Counter:
    """A console, and browsers that log in to it."""

    def __init__(self, desk: Desk, app: Any, house: InProcess) -> None:
        self.desk = desk
        self.app = app
        self.house = house

    def answer_of(self, agent: str, challenge: str = "", **more: Any) -> str:
        key: SigningKey = more.pop("key", None) or self.house.keys.agents[agent]
        said = {
            "workspace": self.desk.workspace,
            "origin": ORIGIN,
            "challenge": challenge or self.desk.challenges.new(self.desk.now_ms),
            "agent": agent,
        } | more
        return sign_answer(key, **said)

    async def browser(self, agent: str = "human.ada") -> Browser:
        browser = Browser(self.app)
        page = await browser.get("/login")
        done = await browser.post("/login", {"token": field(page.text, "token"), "answer": self.answer_of(agent)})
        assert done.status == 303, done.text
        return browser

    async def csrf(self, browser: Browser) -> str:
        return field((await browser.get("/goals")).text, "csrf")

    async def act(self, browser: Browser, path: str, **fields: str) -> Answer:
        """Posts a form as its page would; the page that it leads to."""
        return await browser.follow(await browser.post(path, {"csrf": await self.csrf(browser)} | fields))


def written(house: InProcess, root: Path, holding: Iterable[str] = ("human", "human.ada", "human.bob")) -> Layout:
    """The house's keys and trust as a workspace on disk. holding: whose keys are there."""
    layout = Layout(root / "workspace")
    layout.keys.mkdir(parents=True, mode=0o700, exist_ok=True)
    for agent in holding:
        write_private(layout.key(agent), house.keys.agents[agent].seed_text().encode())
    write_private(layout.trust, house.keys.signed)
    write_private(layout.roots, msgspec.json.encode([house.keys.root.key_id]))
    return layout


def desk_for(house: InProcess, root: Path, **settings: Any) -> Desk:
    layout = written(house, root)
    told = Settings(workspace=house.workspace, console=ConsoleSettings(**settings))
    session = Session(layout.root, "", False, settings=told)
    return Desk(session, house.transport, origins_of("127.0.0.1", PORT, told.console.origins), ORIGIN)


@pytest.fixture
async def counter(house: InProcess, tmp_path: Path) -> AsyncIterator[Counter]:
    """Over a whole house."""
    desk = desk_for(house, tmp_path)
    async with desk.feed.running():
        yield Counter(desk, application(desk), house)


@pytest.fixture
async def quiet_counter(quiet_house: InProcess, tmp_path: Path) -> AsyncIterator[Counter]:
    """Over a broker without roles."""
    desk = desk_for(quiet_house, tmp_path)
    async with desk.feed.running():
        yield Counter(desk, application(desk), quiet_house)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="interlock-") as directory:  # pictures show its name
        yield from running_in(Path(directory))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def seat(chromium: Any, place: Place) -> Iterator[Any]:
    """A context that is logged in, by the link that the command line printed and the key Enter."""
    context = chromium.new_context(viewport={"width": 1360, "height": 860}, accept_downloads=True)
    page = context.new_page()
    page.goto(place.cli("console", "login"))
    focused(page).press("Enter")
    page.wait_for_url("**/goals")
    page.close()
    yield context
    context.close()


@pytest.fixture
def tab(seat: Any, place: Place) -> Iterator[Tab]:
    made = Tab(seat, place)
    yield made
    made.check()
    made.page.close()
