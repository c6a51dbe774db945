"""Audit: verifying a bundle by its file, with the verifier of `interlock audit verify` and nothing else (AUD-02)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.console.desk import Desk
from interlock.agents.console.pages import MAX_FIELDS, desk_of, failed, render, shown, text_of, visit_of
from interlock.agents.console.sessions import Visit, same
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import load_roots
from interlock.envelope.ids import sha256_hex

if TYPE_CHECKING:
    from starlette.requests import Request

AUDIT = "/audit"
ROOM_BYTES = 16 * 1024  # what a form needs around its file


async def _audit(desk: Desk, visit: Visit, request: Request) -> Response:
    return render("audit.html", desk, visit, verdict=None, name="", digest="", size=0)


async def verify(request: Request) -> Response:
    """One at a time: whoever drops many large files waits for the first. Nothing of a file is kept."""
    visit = visit_of(request)
    if visit is None:
        return RedirectResponse("/login", 303)
    desk = desk_of(request)
    form = request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=ROOM_BYTES)
    async with form as fields:
        try:
            if not same(text_of(fields, "csrf"), visit.csrf):
                raise UserError("bad_form", "this form is not of your session", "Load the page again", 2)
            file = fields.get("bundle")
            if not isinstance(file, UploadFile):
                raise UserError("bad_form", "no file was sent", "Choose a bundle", 2)
            data = await file.read(desk.settings.bundle_bytes + 1)
            if len(data) > desk.settings.bundle_bytes:
                raise UserError("too_large", f"at most {desk.settings.bundle_bytes} bytes", "See docs/settings.md", 2)
            roots = load_roots(desk.session.layout)
        except UserError as error:
            return failed(desk, visit, error)
        async with desk.verifying:
            verdict = await anyio.to_thread.run_sync(verify_bundle, data, roots)
        name = (file.filename or "a file")[:120]
    status = 200 if verdict.valid else 422
    digest, size = sha256_hex(data), len(data)
    return render("audit.html", desk, visit, http_status=status, verdict=verdict, name=name, digest=digest, size=size)


audit = shown(_audit)
