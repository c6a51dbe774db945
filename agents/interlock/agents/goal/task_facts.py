"""What policies are told of a task: from its skill's manifest, not from who asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from interlock.bus.hop import Hop
from interlock.bus.policy.facts import TaskFacts
from interlock.envelope.payloads import Task

if TYPE_CHECKING:
    from interlock.skills.manifest import Skill

AUDIT_REPORT = "audit_report.md"


def task_facts(hop: Hop, find: Callable[[str], Skill | None]) -> TaskFacts | None:
    """None for anything but a task. A skill that is not here is described by its name: the executor refuses it."""
    task = hop.envelope.payload
    if not isinstance(task, Task):
        return None
    operation = "task.release" if task.seal else "task.run"
    audited = any(file.name == AUDIT_REPORT for file in task.files)
    skill = find(task.skill)
    if skill is None:
        capability = f"skill:{task.skill}"
        return TaskFacts(skill=task.skill, capability=capability, operation=operation, audited=audited)
    manifest = skill.manifest
    return TaskFacts(
        skill=manifest.name,
        capability=manifest.capability,
        effects=manifest.effects,
        network=manifest.network,
        operation=operation,
        audited=audited,
    )
