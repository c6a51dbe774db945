"""Goals: all of them, one of them, handing one in, fetching what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from starlette.responses import Response

from interlock.agents.artefacts import get_artefact
from interlock.agents.cli.halting import concerning
from interlock.agents.cli.submission import publish_goal
from interlock.agents.console.desk import Desk
from interlock.agents.console.goal_reading import read_goal
from interlock.agents.console.governing_pages import halts_in_force
from interlock.agents.console.graph import drawing
from interlock.agents.console.pages import done, part, render, shown, text_of, wants_part
from interlock.agents.console.plan_view import figures, plan_view
from interlock.agents.console.sessions import Visit
from interlock.agents.errors import UserError
from interlock.agents.status import read_status
from interlock.bus.yaml12 import YamlError, load_yaml
from interlock.envelope.ids import is_uuid7, sha256_hex

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

MAX_GOAL = 256 * 1024
PER_PAGE = 50
PLANNED_S = 1.0
MOST_HOPS_SHOWN = 400
EXAMPLE = """\
goal: Say what this is for
constraints: []
stakeholders: [{name: Ada, role: owner}]
success_metrics: [it is done]
budget_limits: {costUSD: "0.50", wallMs: 600000, actions: 50}
tasks:
  - id: first
    skill: name-of-a-skill
    input: {}
"""


async def _goals(desk: Desk, visit: Visit, request: Request) -> Response:
    rows = desk.feed.board.rows()
    number = request.query_params.get("page", "1")
    page = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 1
    last = max(1, -(-len(rows) // PER_PAGE))
    page = min(max(page, 1), last)
    values: dict[str, Any] = {
        "rows": rows[(page - 1) * PER_PAGE : page * PER_PAGE],
        "all": rows,
        "page": page,
        "last": last,
    }
    if wants_part(request):
        return part("goals_live.html", **values)
    return render("goals.html", desk, visit, example=EXAMPLE, **values)


async def _submit(desk: Desk, visit: Visit, form: FormData, request: Request) -> str:
    """As `interlock submit` does: published to the goal's subject, judged by the gateway."""
    data = goal_of(text_of(form, "goal", MAX_GOAL), visit.agent)
    goal_id = await publish_goal(desk.transport, desk.workspace, data)
    visit.said("done", f"goal {goal_id} accepted")
    with anyio.move_on_after(PLANNED_S):  # so that its page has something to show
        while await read_status(desk.transport, desk.workspace, goal_id) is None:
            await anyio.sleep(0.02)
    return f"/goals/{goal_id}"


def goal_of(text: str, agent: str) -> bytes:
    """The goal as it is published. Raises UserError with line and column for what is no YAML."""
    try:
        value = load_yaml(text.encode("utf-8", "replace"), source="goal").value
    except YamlError as error:
        raise UserError("bad_yaml", str(error), exit_code=2) from error
    if not isinstance(value, dict):
        raise UserError("bad_goal", "a goal is a mapping", "Begin with `goal: …`", 2)
    try:
        return msgspec.json.encode({"submitted_by": agent} | value)
    except (TypeError, UnicodeEncodeError) as error:
        raise UserError("bad_goal", str(error)[:200], exit_code=2) from error


async def _goal(desk: Desk, visit: Visit, request: Request) -> Response:
    goal_id = goal_id_in(request)
    goal = await read_goal(desk, goal_id)
    view = plan_view(goal.audit.hops)
    values: dict[str, Any] = {
        "goal": goal,
        "plan": view,
        "figures": figures(view, goal.status),
        "drawing": drawing(view.nodes),
        "hops": goal.branches[-MOST_HOPS_SHOWN:],
        "hidden": max(0, len(goal.branches) - MOST_HOPS_SHOWN),
        "halts": concerning(await halts_in_force(desk), goal_id),
    }
    if wants_part(request):
        return part("goal_live.html", **values)
    return render("goal.html", desk, visit, **values)


async def _artefact(desk: Desk, visit: Visit, request: Request) -> Response:
    """Only what a verified hop of this goal names, by its digest, which is checked again; its name is no path here."""
    goal = await read_goal(desk, goal_id_in(request))
    digest = str(request.path_params["digest"])
    found = [one.ref for one in plan_view(goal.audit.hops).artefacts if one.ref.digest == digest]
    if not found:
        raise UserError("unknown_artefact", "no verified hop of this goal names such a file", exit_code=2)
    data = await get_artefact(desk.transport, found[0])
    headers = {
        "Content-Disposition": f'attachment; filename="{found[0].name}"',
        "Digest": f"sha-256={sha256_hex(data)}",
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


def goal_id_in(request: Request) -> str:
    goal_id = str(request.path_params["goal_id"])
    if not is_uuid7(goal_id):
        raise UserError("unknown_goal", "there is no such goal", exit_code=2)
    return goal_id


goals, submit, goal, artefact = shown(_goals), done(_submit), shown(_goal), shown(_artefact)
