"""Where the read-only configuration (policies, playbooks, gates, prices) is."""

from __future__ import annotations

import os
from pathlib import Path

from interlock.agents.errors import UserError

VARIABLE = "INTERLOCK_CONFIG"


def config_dir() -> Path:
    """INTERLOCK_CONFIG, else what the wheel installed, else the repository's `config/`. Raises UserError."""
    chosen = os.environ.get(VARIABLE)
    here = Path(__file__).resolve()
    candidates = [Path(chosen)] if chosen else [here.parents[2] / "_config", here.parents[4] / "config"]
    for candidate in candidates:
        if (candidate / "gates.yaml").is_file():
            return candidate
    raise UserError(
        "no_config", f"no configuration in {candidates[0]}", f"Set {VARIABLE} to a directory with gates.yaml"
    )
