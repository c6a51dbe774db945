"""The webhooks of the settings, each with its secret read from its file."""

from __future__ import annotations

import stat

from interlock.agents.errors import UserError
from interlock.agents.posting import Webhook, url_problem
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings, WebhookSettings

MIN_SECRET_BYTES = 16


def webhook_of(layout: Layout, settings: Settings) -> Webhook | None:
    """Where people are told; None where none is set. Raises UserError for an address or a secret that would not do."""
    return _read(layout, "approvals.webhook", settings.approvals.webhook)


def witness_of(layout: Layout, settings: Settings) -> Webhook | None:
    """Who is handed the checkpoints of the audit log; None and errors as above."""
    return _read(layout, "audit.witness", settings.audit.witness)


def _read(layout: Layout, name: str, wanted: WebhookSettings | None) -> Webhook | None:
    if wanted is None:
        return None
    problem = url_problem(wanted.url)
    if problem:
        raise UserError("bad_webhook", f"{name}.url {problem}", "Mend interlock.yaml", 2)
    path = layout.root / wanted.secret_file
    try:
        mode, secret = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise UserError("no_secret", f"{path}: {error.strerror}", "Write a random secret there") from error
    if stat.S_IMODE(mode) & 0o077:
        raise UserError("key_exposed", f"{path} can be read by others", f"chmod 600 {path}")
    if len(secret) < MIN_SECRET_BYTES:
        raise UserError("weak_secret", f"{path} has less than {MIN_SECRET_BYTES} bytes", "Write a random secret there")
    return Webhook(url=wanted.url, secret=secret)
