"""Does what is allowed, or takes back what was not verified."""

from __future__ import annotations

import asyncio
from typing import Any

from interlock.skills.infrastructure.executing import act, happened, undo
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    return asyncio.run(undo(task) if "met" in task.input else act(task, approved=False))


def check(task: Task) -> dict[str, Any] | None:
    return asyncio.run(happened(task))
