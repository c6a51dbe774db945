"""Pages: templates that escape whatever they are given, who may see them, and what becomes of an error."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
from starlette.responses import HTMLResponse, RedirectResponse, Response

from interlock.agents.console.desk import Desk
from interlock.agents.console.figures import figure, share
from interlock.agents.console.guard import FORM_BYTES
from interlock.agents.console.sessions import Visit, same
from interlock.agents.errors import UserError, one_line
from interlock.bus.errors import BusError
from interlock.envelope.amounts import timestamp, usd_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.datastructures import FormData
    from starlette.requests import Request

log = logging.getLogger("interlock.console")
HERE = Path(__file__).parent
MAX_FIELDS = 32
Endpoint = Callable[["Request"], Awaitable[Response]]
Shown = Callable[[Desk, Visit, "Request"], Awaitable[Response]]
Done = Callable[[Desk, Visit, "FormData", "Request"], Awaitable[str]]


@functools.cache
def environment() -> Environment:
    """Everything is escaped, and no invisible letter is shown as nothing; a name that a template does not know is an
    error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": usd_text,
        "usd6": usd_column,
        "when": when,
        "clock": lambda at: when(at)[11:],
        "stamp": timestamp,
        "pretty": pretty,
        "brief": brief,
        "share": lambda ppm: share(Decimal(ppm) / 1_000_000),
    }
    made.globals["figure"] = figure
    return made


def readable(value: Any) -> Any:
    """Text with its control characters, marks of direction and the like as escapes; lines stay lines."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(one if one.isprintable() or one == "\n" else f"\\u{ord(one):04x}" for one in value)


def when(at: str) -> str:
    """RFC 3339 as a table shows it: to the second, UTC."""
    return at.replace("T", " ")[:19]


def usd_column(micro: int) -> str:
    """With all six places, so that a column's points stand below each other."""
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


def brief(name: str) -> str:
    """The end of an id: ids made in one minute begin alike."""
    return f"…{name[-8:]}" if len(name) > 12 else name


def pretty(value: Any) -> str:
    """JSON to be read; control characters made visible by its own escapes."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def desk_of(request: Request) -> Desk:
    return cast("Desk", request.app.state.desk)


def cookie_name(desk: Desk, what: str = "visit") -> str:
    """Cookies do not tell ports apart: two consoles on one machine keep theirs apart by name."""
    return f"interlock_{what}_{desk.url.rpartition(':')[2]}"


def visit_of(request: Request, *, used: bool = True) -> Visit | None:
    """Who asks: logged in, still good, and, where a proxy vouched, still vouched for."""
    desk = desk_of(request)
    visit = desk.visits.find(request.cookies.get(cookie_name(desk), ""), desk.now_ms, used=used)
    if visit is None:
        return None
    vouched = visit.via == "key" or proxied(request) == (visit.proxied, visit.agent)
    if vouched and desk.is_welcome(visit):
        return visit
    desk.visits.leave(visit.id)
    return None


def proxied(request: Request) -> tuple[str, str]:
    proxy = request.app.state.proxy
    address = request.client.host if request.client is not None else ""
    return ("", "") if proxy is None else proxy.user(address, request.headers.raw)


def render(template: str, desk: Desk, visit: Visit | None, *, http_status: int = 200, **values: Any) -> HTMLResponse:
    """values: what the template shows."""
    shown = {"desk": desk, "visit": visit, "notice": visit.told() if visit is not None else None} | values
    return HTMLResponse(environment().get_template(template).render(shown), status_code=http_status)


def part(template: str, **values: Any) -> HTMLResponse:
    """A piece of a page, for what is exchanged while it is open."""
    return HTMLResponse(environment().get_template(template).render(values))


def wants_part(request: Request) -> bool:
    return request.query_params.get("part") == "live"


def shown(page: Shown) -> Endpoint:
    """A page for whoever is logged in; all others are asked to log in."""

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request, used=not wants_part(request))
        if visit is None:
            return _to_login(request)
        desk = desk_of(request)
        try:
            return await page(desk, visit, request)
        except (UserError, BusError) as error:
            return failed(desk, visit, error)

    return endpoint


def done(action: Done, back: str = "") -> Endpoint:
    """A form that does something: believed with its visit's token alone. The answer leads to the page that action names,
    which tells what came of it; a refusal leads back, to the page of the form's own path if nothing else is said.
    """

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        if visit is None:
            return _to_login(request)
        desk = desk_of(request)
        async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=FORM_BYTES) as form:
            if not same(text_of(form, "csrf"), visit.csrf):
                error = UserError("bad_form", "this form is not of your session", "Load the page again", 2)
                return failed(desk, visit, error)
            try:
                return RedirectResponse(await action(desk, visit, form, request), 303)
            except (UserError, BusError) as error:
                log.info("refused to %s: %s", visit.agent, one_line(error))
                visit.said("refused", one_line(error))
                return RedirectResponse(back or request.url.path, 303)

    return endpoint


def text_of(form: FormData, name: str, most: int = 2_000) -> str:
    """A field's text, empty where there is none; a file or a text beyond most is a UserError."""
    value = form.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise UserError("bad_form", f"{name} is no text of at most {most} characters", exit_code=2)
    return value


def failed(desk: Desk, visit: Visit | None, error: UserError | BusError) -> Response:
    """What could not be shown, in one line."""
    unknown = isinstance(error, UserError) and error.reason.startswith("unknown_")
    refused = isinstance(error, UserError) and error.exit_code == 2
    status = 404 if unknown else 403 if refused else 503
    return render("error.html", desk, visit, http_status=status, told=one_line(error), status_code=status)


def _to_login(request: Request) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    return RedirectResponse("/login", 303)
