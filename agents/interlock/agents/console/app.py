"""The console as an ASGI application: its routes, behind the guard."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from interlock.agents.approvals.view import ApprovalStatus
from interlock.agents.console import (
    approval_pages,
    audit_pages,
    cost_pages,
    dead_pages,
    decision_pages,
    entering,
    goal_pages,
)
from interlock.agents.console import governing_pages as governing
from interlock.agents.console.desk import Desk
from interlock.agents.console.guard import Guard, TooLarge
from interlock.agents.console.pages import HERE, part, shown
from interlock.agents.console.proxy import Proxy
from interlock.agents.console.sessions import Visit
from interlock.agents.console.stream import events
from interlock.bus.errors import BusError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger("interlock.console")
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
ASSETS = {path.name: path for path in sorted((HERE / "static").iterdir())}
KEPT_S = 3_600


def application(desk: Desk) -> ASGIApp:
    """Raises UserError for settings that cannot be meant."""
    get, post = ["GET"], ["POST"]
    routes = [
        Route("/", _home),
        Route("/static/{name}", _asset),
        Route("/login", entering.login_page, methods=get),
        Route("/login", entering.log_in, methods=post),
        Route("/login/challenge", entering.challenge),
        Route("/logout", entering.log_out, methods=post),
        Route("/events", events),
        Route("/nav", _nav),
        Route("/goals", goal_pages.goals, methods=get),
        Route("/goals", goal_pages.submit, methods=post),
        Route("/goals/{goal_id}", goal_pages.goal),
        Route("/goals/{goal_id}/artefacts/{digest}", goal_pages.artefact),
        Route("/approvals", approval_pages.approvals),
        Route("/approvals/{approval_id}", approval_pages.approval, methods=get),
        Route("/approvals/{approval_id}", approval_pages.decide, methods=post),
        Route("/decisions", decision_pages.decisions),
        Route("/decisions/{name}", decision_pages.decision),
        Route("/costs", cost_pages.costs),
        Route("/halts", governing.halts, methods=get),
        Route("/halts", governing.give, methods=post),
        Route("/halts/confirm", governing.confirm),
        Route("/deviations/{name}", governing.deviation, methods=get),
        Route("/deviations/{name}", governing.resolve, methods=post),
        Route("/dead", dead_pages.letters),
        Route("/dead/{number:int}", dead_pages.letter, methods=get),
        Route("/dead/{number:int}", dead_pages.redrive, methods=post),
        Route("/audit", audit_pages.audit, methods=get),
        Route("/audit", audit_pages.verify, methods=post),
    ]
    inner = Starlette(
        routes=routes, exception_handlers={404: _unknown, 405: _unknown, TooLarge: _too_large, 500: _failed}
    )
    inner.state.desk = desk
    proxy = desk.settings.proxy
    inner.state.proxy = None if proxy is None else Proxy(proxy, desk.session.layout.root)
    limits = {audit_pages.AUDIT: desk.settings.bundle_bytes + audit_pages.ROOM_BYTES}
    return Guard(_Quiet(inner), desk.origins, limits)


class _Quiet:
    """What nobody foresaw is in the log, and its page says nothing but that."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            log.exception("%s %s", scope["method"], scope["path"])


async def _home(request: Request) -> Response:
    return RedirectResponse("/goals", 303)


async def _unknown(request: Request, error: Exception) -> Response:
    return Response("interlock: there is no such page (unknown_page)\n", getattr(error, "status_code", 404))


async def _too_large(request: Request, error: Exception) -> Response:
    return Response(f"interlock: {error} (too_large)\n", 413)


async def _failed(request: Request, error: Exception) -> Response:
    return Response("interlock: this page failed; the console's log says why (failed)\n", 500)


async def _asset(request: Request) -> Response:
    """Only what was there at the start, by its whole name."""
    path = ASSETS.get(str(request.path_params["name"]))
    if path is None:
        return Response("interlock: there is no such file\n", 404)
    headers = {"Cache-Control": f"private, max-age={KEPT_S}"}
    return FileResponse(path, media_type=KINDS.get(path.suffix), headers=headers)


async def _counts(desk: Desk, visit: Visit, request: Request) -> Response:
    """What waits for a human, for the menu. What cannot be read now is not counted."""

    async def waiting() -> dict[str, int]:
        approvals: list[ApprovalStatus] = await approval_pages.approvals_of(desk)
        return {
            "approvals": sum(one.state == "pending" for one in approvals),
            "halts": len(await governing.halts_in_force(desk))
            + sum(one.is_open for one in await governing.deviations(desk)),
            "dead": sum(entry.order is None for entry in await dead_pages.letters_of(desk)),
        }

    counts: dict[str, int] = {}
    if desk.feed.broker_ok:
        try:
            counts = await waiting()
        except BusError as error:
            log.warning("%s", error)
    return part("nav.html", desk=desk, visit=visit, counts=counts, here=request.query_params.get("here", ""))


_nav = shown(_counts)
