"""What a schema cannot say of an intake: dates, choices, plans, the inputs a playbook or a task asks for. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterator

from interlock.agents.goal.dispatch import MAX_FAN_OUT
from interlock.agents.goal.plan import Problem, plan_problems
from interlock.agents.goal.references import BadReference, dig, reference_in, references
from interlock.agents.intake.reading import one_line
from interlock.agents.planning.catalogue import Catalogue
from interlock.envelope.amounts import time_ms
from interlock.envelope.payloads import Intake, TaskSpec
from interlock.skills.schemas import check

_FIELD = re.compile(r"\$\.([a-z_]+)")


def meaning_problems(
    intake: Intake, now_ms: int, max_ttl_ms: int, catalogue: Catalogue, unread: Container[str] = ()
) -> list[Problem]:
    """unread: fields that already have a problem of their own; they stand in the intake with a default, and nothing is
    said about them.
    """
    problems = [*_basics(intake), *_deadline(intake, now_ms, max_ttl_ms)]
    if "tasks" not in unread:
        problems += _choice(intake)
        if intake.tasks:
            problems += plan_problems(intake.tasks, intake.release, catalogue.has_skill)
            if "inputs" not in unread:
                problems += _task_inputs(intake)
    if intake.playbook is not None:
        problems += _playbook(intake, catalogue)
    told = [Problem(one_line(entry.path), one_line(entry.message)) for entry in problems]
    return [entry for entry in told if not ((found := _FIELD.match(entry.path)) and found[1] in unread)]


def _basics(intake: Intake) -> Iterator[Problem]:
    if not intake.goal.strip():
        yield Problem("$.goal", "the goal is empty")
    for name, entries in (("stakeholders", intake.stakeholders), ("success_metrics", intake.success_metrics)):
        if not entries:
            yield Problem(f"$.{name}", "needs at least one entry")
    if intake.budget_limits.actions < 1:
        yield Problem("$.budget_limits.actions", "must allow at least one action")


def _deadline(intake: Intake, now_ms: int, max_ttl_ms: int) -> Iterator[Problem]:
    if intake.deadline is None:
        return
    left_ms = time_ms(intake.deadline) - now_ms
    if left_ms <= 0:
        yield Problem("$.deadline", "is in the past")
    elif left_ms > max_ttl_ms:
        yield Problem("$.deadline", f"is more than {max_ttl_ms // 60_000} minutes ahead")


def _choice(intake: Intake) -> Iterator[Problem]:
    if intake.playbook is not None and intake.tasks:
        yield Problem("$.tasks", "a goal names a playbook or lists tasks, not both")
    if intake.release is not None and not intake.tasks:
        yield Problem("$.release", "goes with tasks of the goal's own")


def _task_inputs(intake: Intake) -> Iterator[Problem]:
    """References of own tasks into the goal's inputs, which are all known by now."""
    named = [(f"$.tasks[{index}]", task) for index, task in enumerate(intake.tasks)]
    if intake.release is not None:
        named.append(("$.release", intake.release))
    for path, task in named:
        for where, reference in references(task.input):
            message = _missing(intake, reference)
            if message:
                yield Problem(f"{path}.input{where[1:]}", message)
        message = _fan_out(intake, task)
        if message:
            yield Problem(f"{path}.each", message)


def _fan_out(intake: Intake, task: TaskSpec) -> str:
    reference = reference_in(task.each)
    if reference is None or reference.partition(".")[0] != "inputs":
        return ""
    message = _missing(intake, reference)
    if message:
        return message
    items = dig(intake.inputs, reference.split(".")[1:], reference)
    if not isinstance(items, list):
        return f"{task.each} is no list"
    return f"{task.each} has {len(items)} items; at most {MAX_FAN_OUT}" if len(items) > MAX_FAN_OUT else ""


def _missing(intake: Intake, reference: str) -> str:
    root, *parts = reference.split(".")
    if root != "inputs":
        return ""
    try:
        dig(intake.inputs, parts, reference)
    except BadReference as error:
        return str(error)
    return ""


def _playbook(intake: Intake, catalogue: Catalogue) -> Iterator[Problem]:
    name = intake.playbook or ""
    playbook = catalogue.playbooks.get(name)
    if playbook is None:
        near = difflib.get_close_matches(name, catalogue.playbooks, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(sorted(catalogue.playbooks))}"
        yield Problem("$.playbook", f"there is no playbook `{name}`; {hint}")
        return
    for path, message in check(intake.inputs, playbook.inputs):
        yield Problem(f"$.inputs{path[1:]}", message)
