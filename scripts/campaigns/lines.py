"""A goal whose every task leaves one line outside, so that what was lost or done twice can be counted afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

SKILLS = Path(__file__).resolve().parents[2] / "tests" / "agents" / "skills"


def goal_of_lines(place: Path, name: str, tasks: int, *, behind: int = 2, pause_ms: int = 0, **more: Any) -> bytes:
    """Lines `name-0`, `name-1`, … in place/lines.txt. behind: each waits for the one so many before it; 0: for none."""
    listed = [
        {
            "id": f"t{n}",
            "skill": "appending-line",
            "after": [f"t{n - behind}"] if behind and n >= behind else [],
            "input": {"place": str(place), "line": f"{name}-{n}", "pause_ms": pause_ms},
        }
        for n in range(tasks)
    ]
    goal = {
        "goal": "leave one line a task",
        "constraints": [],
        "stakeholders": ["Ada"],
        "success_metrics": ["no line twice"],
        "budget_limits": {"costUSD": "1", "wallMs": 10_000_000, "actions": 1_000},
        "tasks": listed,
    }
    return msgspec.json.encode(goal | more)
