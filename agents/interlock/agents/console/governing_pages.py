"""Halts and deviations: what stands still, what is open with its clock, and a human's order to stop or go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from interlock.agents.cli.deviating import deviations_of, settle
from interlock.agents.cli.halting import order
from interlock.agents.console.desk import Desk
from interlock.agents.console.pages import done, part, render, shown, text_of, wants_part
from interlock.agents.console.sessions import Visit
from interlock.agents.deviations.fold import Deviation
from interlock.agents.errors import UserError
from interlock.bus.control.giving import halts_of
from interlock.bus.control.orders import EVERYTHING, KINDS, SCOPES, WORKSPACE, ControlOrder, nobody_in, scope_problem
from interlock.bus.sender import Identity
from interlock.envelope.keys import SigningKey

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

MAX_WHY = 1_000
HALTS = "/halts"


async def halts_in_force(desk: Desk) -> list[ControlOrder]:
    """Oldest first, each checked as every actor does."""

    async def load() -> list[ControlOrder]:
        return (await halts_of(desk.transport, desk.workspace, desk.trust)).in_force

    return await desk.kept.get("halts", "in force", load)


async def deviations(desk: Desk) -> list[Deviation]:
    """Open ones first, then those last resolved."""

    async def load() -> list[Deviation]:
        nobody = Identity("human", SigningKey(bytes(32)))  # to read by; nothing is signed with it
        state = await deviations_of(desk.transport, desk.workspace, desk.trust, nobody)
        return sorted(state.values(), key=lambda one: (not one.is_open, -one.opened_ms))

    return await desk.kept.get("deviations", "all", load)


async def _halts(desk: Desk, visit: Visit, request: Request) -> Response:
    values: dict[str, Any] = {
        "halts": await halts_in_force(desk),
        "deviations": (await deviations(desk))[:100],
        "now_ms": desk.now_ms,
    }
    if wants_part(request):
        return part("halts_live.html", **values)
    return render("halts.html", desk, visit, kinds=KINDS, everything=EVERYTHING, whole=WORKSPACE, **values)


async def _confirm(desk: Desk, visit: Visit, request: Request) -> Response:
    """What an order would do, before it is given."""
    query = request.query_params
    kind, name = query.get("kind", ""), query.get("name", "").strip()
    scope = query.get("scope", "") or (f"{kind}:{name}" if kind in KINDS else kind)
    verb = "resume" if query.get("verb") == "resume" else "halt"
    problem = scope_problem(scope) or (nobody_in(scope) if verb == "halt" else "")
    if problem:
        raise UserError("bad_scope", problem, f"Scopes: {SCOPES}", 2)
    in_force = {one.scope: one for one in await halts_in_force(desk)}
    return render(
        "halt_confirm.html",
        desk,
        visit,
        verb=verb,
        scope=scope,
        standing=in_force.get(scope),
        lease_ms=desk.session.settings.control.lease_ms,
        grace_ms=desk.session.settings.control.grace_ms,
    )


async def _give(desk: Desk, visit: Visit, form: FormData, request: Request) -> str:
    desk.identity(visit)
    scope, why = text_of(form, "scope", 600), text_of(form, "why", MAX_WHY)
    if not why.strip():
        raise UserError("bad_usage", "an order needs a reason", "Say why", 2)
    verb = text_of(form, "verb")
    if verb not in ("halt", "resume"):
        raise UserError("bad_form", "halt or resume", exit_code=2)
    given = await order(desk.session, desk.transport, "halt" if verb == "halt" else "resume", scope, why, visit.agent)
    desk.feed.mark("halts")
    told = "halted" if verb == "halt" else "resumed"
    visit.said("done", f"{told} {given.order.scope}, signed by {given.order.by}")
    return HALTS


async def _deviation(desk: Desk, visit: Visit, request: Request) -> Response:
    name = str(request.path_params["name"])
    found = next((one for one in await deviations(desk) if one.id == name), None)
    if found is None:
        raise UserError("unknown_deviation", "there is no such deviation", exit_code=2)
    return render("deviation.html", desk, visit, one=found, now_ms=desk.now_ms)


async def _resolve(desk: Desk, visit: Visit, form: FormData, request: Request) -> str:
    desk.identity(visit)
    name, why = str(request.path_params["name"]), text_of(form, "why", MAX_WHY)
    settled = await settle(desk.session, desk.transport, name, why, visit.agent)
    for topic in ("deviations", "halts"):
        desk.feed.mark(topic)
    also = f"; resumed {settled.resumed}" if settled.resumed else ""
    visit.said("done", f"resolved {settled.id}{also}")
    return HALTS


halts, confirm, give = shown(_halts), shown(_confirm), done(_give, HALTS)
deviation, resolve = shown(_deviation), done(_resolve)
