"""Dead letters: what could not be handled, and putting it back (BUS-07)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from interlock.agents.console.desk import Desk
from interlock.agents.console.pages import done, part, render, shown, text_of, wants_part
from interlock.agents.console.sessions import Visit
from interlock.agents.dead.letters import Entry, read_letters
from interlock.agents.dead.redrive import Redriver
from interlock.agents.errors import UserError

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

MOST_LETTERS = 200
SHOWN_BYTES = 8_000


async def letters_of(desk: Desk) -> list[Entry]:
    """Newest first; of the bytes only so many as are shown."""

    async def load() -> list[Entry]:
        return list(reversed(await read_letters(desk.transport, desk.workspace, desk.trust)))[:MOST_LETTERS]

    return await desk.kept.get("dead", "letters", load)


async def _letters(desk: Desk, visit: Visit, request: Request) -> Response:
    values: dict[str, Any] = {"letters": await letters_of(desk), "most": MOST_LETTERS}
    if wants_part(request):
        return part("dead_live.html", **values)
    return render("dead.html", desk, visit, **values)


async def _letter(desk: Desk, visit: Visit, request: Request) -> Response:
    entry = await _entry(desk, request)
    text = entry.original[:SHOWN_BYTES].decode(errors="replace")
    return render("letter.html", desk, visit, entry=entry, text=text, most=SHOWN_BYTES)


async def _redrive(desk: Desk, visit: Visit, form: FormData, request: Request) -> str:
    """Under a signed order, as `interlock dead redrive` does."""
    identity = desk.identity(visit)
    why = text_of(form, "why", 1_000)
    redriver = Redriver(desk.transport, desk.workspace, identity, desk.trust, desk.limits, why)
    entry = await _entry(desk, request)
    put = await redriver.put_back(entry)
    desk.feed.mark("dead")
    visit.said("done", f"put back {entry.id} as {put.became}, signed by {put.order.by}")
    return "/dead"


async def _entry(desk: Desk, request: Request) -> Entry:
    number = int(request.path_params["number"])
    found = next((entry for entry in await letters_of(desk) if entry.id == number), None)
    if found is None:
        raise UserError("unknown_letter", "there is no such dead letter here", "`interlock dead list` lists all", 2)
    return found


letters, letter, redrive = shown(_letters), shown(_letter), done(_redrive)
