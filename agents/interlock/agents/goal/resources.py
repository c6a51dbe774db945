"""What a task touches, in the words of capability grants: `skill:NAME`, `artefact:SHA-256`."""

from __future__ import annotations

from interlock.envelope.payloads import Task


def task_resources(task: Task) -> list[str]:
    """Its skill, and the files handed to it, each once."""
    return [f"skill:{task.skill}", *sorted({f"artefact:{file.digest}" for file in task.files})]
