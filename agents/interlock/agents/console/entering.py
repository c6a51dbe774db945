"""Logging in and out. Ids are made anew at login, so that nobody can prepare one for somebody else."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import RedirectResponse, Response

from interlock.agents.console.challenge import GOOD_MS, check_answer, read_answer
from interlock.agents.console.desk import Desk
from interlock.agents.console.pages import (
    cookie_name,
    desk_of,
    done,
    failed,
    proxied,
    render,
    text_of,
    visit_of,
)
from interlock.agents.console.sessions import Visit, same
from interlock.agents.errors import UserError

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

MAX_ANSWER = 2_048


async def login_page(request: Request) -> Response:
    """A challenge to sign, or a button for an answer that a link brought: links are followed by more than people."""
    desk = desk_of(request)
    if visit_of(request) is not None:
        return RedirectResponse("/goals", 303)
    answer = request.query_params.get("answer", "")[:MAX_ANSWER]
    try:
        agent = read_answer(answer).agent if answer else ""
    except UserError as error:
        return failed(desk, None, error)
    before = request.cookies.get(cookie_name(desk, "before"), "") or secrets.token_urlsafe(24)
    response = render(
        "login.html",
        desk,
        None,
        answer=answer,
        agent=agent,
        challenge=desk.challenges.new(desk.now_ms),
        good_s=GOOD_MS // 1000,
        form_token=desk.challenges.form_token(before),
        proxied=proxied(request)[1],
    )
    _set(response, request, "before", before, GOOD_MS * 5)
    return response


async def challenge(request: Request) -> Response:
    """For `interlock console login`: what to sign, and for which origin."""
    desk = desk_of(request)
    told = {"workspace": desk.workspace, "challenge": desk.challenges.new(desk.now_ms)}
    return Response(msgspec.json.encode(told), media_type="application/json")


async def log_in(request: Request) -> Response:
    desk = desk_of(request)
    before = request.cookies.get(cookie_name(desk, "before"), "")
    async with request.form(max_files=0, max_fields=8) as form:
        try:
            if not before or not same(text_of(form, "token"), desk.challenges.form_token(before)):
                raise UserError("bad_form", "this form is not of your browser's own page", "Load the page again", 2)
            visit = _by_proxy(desk, request) if "proxy" in form else _by_key(desk, text_of(form, "answer", MAX_ANSWER))
        except UserError as error:
            return failed(desk, None, error)
    desk.visits.leave(request.cookies.get(cookie_name(desk), ""))
    response = RedirectResponse("/goals", 303)
    _set(response, request, "visit", visit.id, desk.settings.session_ms)
    response.delete_cookie(cookie_name(desk, "before"), path="/")
    return response


async def _log_out(desk: Desk, visit: Visit, form: FormData, request: Request) -> str:
    desk.visits.leave(visit.id)
    return "/login"


log_out = done(_log_out)


def _by_key(desk: Desk, text: str) -> Visit:
    answer = check_answer(
        text,
        challenges=desk.challenges,
        origins=desk.origins,
        workspace=desk.workspace,
        trust=desk.trust,
        now_ms=desk.now_ms,
    )
    return desk.visits.enter(answer.agent, answer.key_id, desk.now_ms)


def _by_proxy(desk: Desk, request: Request) -> Visit:
    name, agent = proxied(request)
    if not agent:
        raise UserError("login_refused", "no proxy vouches for you", "Log in with a key", 2)
    visit = desk.visits.enter(agent, "", desk.now_ms, via="proxy", proxied=name)
    if not desk.is_welcome(visit):
        desk.visits.leave(visit.id)
        raise UserError("login_refused", f"{agent} has no good key", "`interlock keys list`", 2)
    return visit


def _set(response: Response, request: Request, what: str, value: str, for_ms: int) -> None:
    """Secure where the browser came by https, as the origin of that name says: a cookie so marked is kept from plain http."""
    desk = desk_of(request)
    host = request.headers.get("host", "").lower()
    by_tls = f"https://{host}" in desk.origins and f"http://{host}" not in desk.origins
    response.set_cookie(
        cookie_name(desk, what),
        value,
        max_age=for_ms // 1000,
        path="/",
        httponly=True,
        samesite="strict",
        secure=by_tls,
    )
