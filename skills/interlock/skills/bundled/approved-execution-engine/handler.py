"""Does what a human approved: the executor has checked the approval of exactly this input."""

from __future__ import annotations

import asyncio
from typing import Any

from interlock.skills.infrastructure.executing import act, happened
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    return asyncio.run(act(task, approved=True))


def check(task: Task) -> dict[str, Any] | None:
    return asyncio.run(happened(task))
