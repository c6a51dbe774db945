"""`interlock agent ROLE`: one role in the foreground."""

from __future__ import annotations

from collections.abc import Sequence


def run_agent(arguments: Sequence[str]) -> int:
    """The broker is --nats, that of the settings, or that of an `up` that runs here."""
    from pathlib import Path

    from interlock.agents.errors import UserError
    from interlock.agents.process import parse, run_role
    from interlock.agents.workspace.layout import Layout
    from interlock.agents.workspace.settings import load_settings

    options = parse(arguments)
    if options.dir is not None and not options.dir.is_dir():
        raise UserError("no_directory", f"{options.dir} is no directory", "Check --dir", 2)
    layout = Layout(options.dir.resolve()) if options.dir is not None else Layout.find(Path())
    options.dir = layout.root
    if not options.nats:
        running = layout.running()
        options.nats = load_settings(layout.settings).nats or (running.url if running else "")
        if not options.nats:
            raise UserError("no_broker", "no broker is known here", "Give --nats URL, or run `interlock up`", 2)
    run_role(options)
    return 0
