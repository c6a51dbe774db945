"""Approvals: what exactly is asked for, why, under which rule, and what follows from either answer (GOV-06)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from interlock.agents.approvals.deciding import Asked
from interlock.agents.approvals.view import ApprovalStatus, read_approvals
from interlock.agents.cli.approving import Signer, counted_by, find_approval, told
from interlock.agents.console.desk import Desk
from interlock.agents.console.pages import done, part, render, shown, text_of, wants_part
from interlock.agents.console.sessions import Visit, same
from interlock.agents.errors import UserError
from interlock.envelope.approval import PLAN_START
from interlock.envelope.ids import is_uuid7

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

MOST_ENDED = 50
MAX_REASON = 2_000


async def approvals_of(desk: Desk) -> list[ApprovalStatus]:
    """All that are remembered, oldest first."""

    async def load() -> list[ApprovalStatus]:
        try:
            return await read_approvals(desk.transport, desk.workspace)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            detail = f"KV approvals holds what is no approval: {str(error)[:200]}"
            raise UserError("unreadable", detail, "`interlock audit check` tells who wrote it") from error

    return await desk.kept.get("approvals", "all", load)


async def _approvals(desk: Desk, visit: Visit, request: Request) -> Response:
    found = await approvals_of(desk)
    values: dict[str, Any] = {
        "waiting": [one for one in found if one.state == "pending"],
        "ended": [one for one in reversed(found) if one.state != "pending"][:MOST_ENDED],
    }
    if wants_part(request):
        return part("approvals_live.html", **values)
    return render("approvals.html", desk, visit, **values)


async def _approval(desk: Desk, visit: Visit, request: Request) -> Response:
    """From the request as its orchestrator signed it, never from the view in KV."""
    status = await _status(desk, request)
    if wants_part(request):
        return part("approval_live.html", status=status)
    asked: Asked | None = None
    problem = ""
    try:
        asked = await _asked(desk, status)
    except UserError as error:
        problem = str(error)
    return render(
        "approval.html",
        desk,
        visit,
        status=status,
        asked=asked,
        problem=problem,
        is_plan=status.operation == PLAN_START,
    )


async def _decide(desk: Desk, visit: Visit, form: FormData, request: Request) -> str:
    """Signs as `interlock approve` and `reject` do, and only what its human was shown."""
    desk.identity(visit)
    decision, reason = text_of(form, "decision"), text_of(form, "reason", MAX_REASON).strip()
    if decision not in ("approve", "reject"):
        raise UserError("bad_form", "approve or reject", exit_code=2)
    if not reason and decision == "reject":
        raise UserError("bad_usage", "a rejection needs a reason: the goal is told", "Say why", 2)
    status = await _status(desk, request)
    if status.state != "pending":
        raise UserError("already_decided", f"approval {status.approval_id} is {status.state}", exit_code=2)
    asked = await _asked(desk, status)
    if not same(text_of(form, "digest"), asked.request.action_digest):
        detail = "what you were shown is not what is asked for"
        raise UserError("approval_mismatch", detail, "Look at it again", 2)
    signer = Signer(desk.session, visit.agent)
    allows = decision == "approve"
    await signer.decide(desk.transport, status, asked, allows=allows, reason=reason or "approved")
    counted = await counted_by(desk.transport, desk.workspace, status, visit.agent)
    desk.feed.mark("approvals")
    if counted is None:
        visit.said("done", "signed; no orchestrator has counted it yet")
    elif any(one.by == visit.agent for one in counted.decisions):
        visit.said("done", told(counted))
    else:
        visit.said("refused", f"it came too late: {told(counted)}")
    return "/approvals"


async def _asked(desk: Desk, status: ApprovalStatus) -> Asked:
    from interlock.agents.approvals.deciding import find_request

    return await find_request(
        desk.transport, desk.workspace, status.goal_id, status.approval_id, desk.trust, desk.limits
    )


async def _status(desk: Desk, request: Request) -> ApprovalStatus:
    name = str(request.path_params["approval_id"])
    if not is_uuid7(name):
        raise UserError("unknown_approval", "there is no such approval", exit_code=2)
    return find_approval(await approvals_of(desk), name)


approvals, approval, decide = shown(_approvals), shown(_approval), done(_decide)
