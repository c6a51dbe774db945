"""`interlock flags`: what each flag is worth here and now, and why."""

from __future__ import annotations

from interlock.agents.cli.session import Session
from interlock.agents.flags.file import load_flags, resolve
from interlock.agents.workspace.config_dir import config_dir
from interlock.envelope.amounts import clock_ms


def show_flags(session: Session, risk: str) -> int:
    """risk: the risk tier to ask for; empty: none is said."""
    said = {"workspace": session.workspace, "environment": session.settings.environment}
    if risk:
        said["riskTier"] = risk
    rows = []
    for name, flag in load_flags(config_dir() / "flags.yaml").items():
        found = resolve(flag, said, clock_ms())
        rows.append({"flag": name, "value": found.value, "variant": found.variant, "why": found.why})
    lines = [f"{row['flag']:<24} {row['variant']:<12} {row['why']}" for row in rows]
    session.say("\n".join([f"environment {said['environment']}", *lines]), rows)
    return 0
