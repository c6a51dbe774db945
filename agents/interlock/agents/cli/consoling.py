"""`interlock console` and `interlock console login`; the console of `interlock up --console`."""

from __future__ import annotations

import http.client
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from interlock.agents.cli.session import Session
from interlock.agents.console.challenge import sign_answer
from interlock.agents.errors import UserError
from interlock.agents.presence import until_signalled
from interlock.agents.workspace.keys import load_key, write_private
from interlock.bus.transport import Transport
from interlock.envelope.ids import is_agent_id, role_of

TIMEOUT_S = 5
MAX_ANSWER = 4_096


class _Asked(Struct, frozen=True):
    workspace: str
    challenge: str


async def stay(session: Session, port: int | None, by: str) -> int:
    """Until SIGINT or SIGTERM. by: whose key logs in to the broker, and for whom a link is printed."""
    _check_human(by)
    async with session.connected(agent=by) as transport, consoling(session, transport, port, by):
        await until_signalled()
    return 0


@asynccontextmanager
async def consoling(session: Session, transport: Transport, port: int | None, by: str) -> AsyncIterator[None]:
    """Serves and says where, with a link that logs in once if the key is here."""
    from interlock.agents.console.serving import serving

    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    place = session.layout.run / "console.json"
    async with serving(session, transport, port=port) as desk:
        session.layout.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(place, msgspec.json.encode({"url": desk.url}))
        link = ""
        with suppress(UserError):
            link = _link(session, desk.url, desk.challenges.new(desk.now_ms), by)
        session.say(f"console: {desk.url}", {"url": desk.url, "link": link})
        if not session.json:
            session.say(f"log in as {by}, once, within two minutes:\n  {link}" if link else "log in as the page says")
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


def log_in(session: Session, challenge: str, url: str, by: str) -> int:
    """A link that logs in once; with a challenge, as the login page shows it, the answer to paste there."""
    _check_human(by)
    origin = url.rstrip("/") or _running_url(session)
    if challenge:
        answer = _answer(session, origin, challenge, by)
        session.say(answer, {"answer": answer})
        return 0
    asked = _ask(origin)
    if asked.workspace != session.workspace:
        detail = f"{origin} is the console of workspace {asked.workspace[:64]}, this is {session.workspace}"
        raise UserError("wrong_workspace", detail, "Check --url and --dir", 2)
    link = _link(session, origin, asked.challenge, by)
    session.say(link, {"link": link})
    return 0


def _check_human(by: str) -> None:
    if not is_agent_id(by) or role_of(by) != "human":
        raise UserError("not_human", f"{by[:80]!r} is no human", "Give --as human or --as human.NAME", 2)


def _link(session: Session, origin: str, challenge: str, by: str) -> str:
    return f"{origin}/login?answer={_answer(session, origin, challenge, by)}"


def _answer(session: Session, origin: str, challenge: str, by: str) -> str:
    if len(challenge) > 100:
        raise UserError("bad_usage", "this is no challenge of a console", "Copy it from the login page", 2)
    key = load_key(session.layout, by)
    return sign_answer(key, workspace=session.workspace, origin=origin, challenge=challenge, agent=by)


def _running_url(session: Session) -> str:
    try:
        found = msgspec.json.decode((session.layout.run / "console.json").read_bytes(), type=dict[str, str])
        return found["url"]
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise UserError("no_console", "no console runs here", "Run `interlock console`, or give --url") from error


def _ask(origin: str) -> _Asked:
    try:
        parts = urlsplit(origin)
    except ValueError:
        parts = urlsplit("")
    kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}.get(parts.scheme)
    if kind is None or not parts.hostname:
        raise UserError("bad_usage", f"{origin[:100]!r} is no url of a console", "Such as http://127.0.0.1:8470", 2)
    try:
        connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/login/challenge")
            response = connection.getresponse()
            body = response.read(MAX_ANSWER)
        finally:
            connection.close()
        if response.status != 200:
            raise UserError("no_console", f"{origin} answered {response.status}", "Check --url")
        return msgspec.json.decode(body, type=_Asked)
    except (OSError, ValueError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise UserError("no_console", f"{origin}: {error}", "Is `interlock console` running? Check --url") from error
