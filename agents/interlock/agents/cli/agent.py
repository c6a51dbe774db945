"""`interlock agent ROLE`: one role in the foreground."""

from __future__ import annotations

from collections.abc import Sequence


def run_agent(arguments: Sequence[str]) -> int:
    """The broker is --nats, that of the settings, or that of an `up` that runs here."""
    from pathlib import Path

    from interlock.agents.errors import UserError
    from interlock.agents.process import main
    from interlock.agents.workspace.layout import Layout
    from interlock.agents.workspace.settings import load_settings

    given = list(arguments)
    if not given or given[0].startswith("-"):
        raise UserError("bad_usage", "which role?", "interlock agent executor --nats nats://host:4222", 2)
    if "--dir" not in given:
        given += ["--dir", str(Layout.find(Path()).root)]
    if "--nats" not in given:
        layout = Layout(Path(given[given.index("--dir") + 1]).resolve())
        running = layout.running()
        url = load_settings(layout.settings).nats or (running.url if running else "")
        if not url:
            raise UserError("no_broker", "no broker is known here", "Give --nats URL, or run `interlock up`", 2)
        given += ["--nats", url]
    return main(given)
