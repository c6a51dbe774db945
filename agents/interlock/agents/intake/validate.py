"""An intake as anybody may have written it: every error with its JSON path, or the goal it stands for. Pure.

The common case is one decode; only what fails is looked at again with JSON Schema and field by field, so that its
author hears of every error at once (ROL-01).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.goal.plan import Problem
from interlock.agents.intake.meaning import meaning_problems
from interlock.agents.intake.reading import MAX_PROBLEMS, one_line, plain_problems, problem, read_json
from interlock.agents.intake.schema import schema_problems
from interlock.agents.planning.catalogue import Catalogue
from interlock.envelope.amounts import micro_usd, time_ms, timestamp, usd_text
from interlock.envelope.canonical import canonical
from interlock.envelope.payloads import Intake

HEADROOM = 16 * 1024  # what else stands in an envelope that carries an intake
MAX_BYTES = 256 * 1024 - HEADROOM
_NOTHING: dict[str, Any] = {
    "type": "intake",
    "goal": "",
    "constraints": [],
    "stakeholders": [],
    "success_metrics": [],
    "budget_limits": {},
}


class Accepted(Struct, frozen=True):
    intake: Intake


class Rejected(Struct, frozen=True):
    """At least one problem, at most MAX_PROBLEMS."""

    problems: list[Problem]


def read_intake(
    data: bytes, *, now_ms: int, max_ttl_ms: int, catalogue: Catalogue, max_bytes: int = MAX_BYTES
) -> Accepted | Rejected:
    """Never raises, whatever the bytes. max_ttl_ms: how far ahead a deadline may be."""
    if len(data) > max_bytes:
        return _rejected(f"{len(data)} bytes; at most {max_bytes}: put large content into files")
    read = read_json(data)
    if read.value is None:
        return Rejected(read.problems)
    goal, problems = normalise(read.value)
    problems += plain_problems(goal)
    if any(entry.message.startswith("nested deeper") for entry in problems):
        return Rejected(_unique(problems))  # JSON Schema would recurse into it
    intake = None
    if not problems:
        try:
            intake = _converted(goal)
        except (msgspec.ValidationError, ValueError) as error:
            problems = schema_problems(goal) or [_problem_of(error)]
    else:
        told = {entry.path for entry in problems}
        problems += [entry for entry in schema_problems(goal) if entry.path not in told]
    if intake is not None:
        problems = meaning_problems(intake, now_ms, max_ttl_ms, catalogue)
        if problems:
            return Rejected(_unique(problems))
        size = len(canonical(intake))
        if size > max_bytes:
            return _rejected(f"{size} bytes with all defaults; at most {max_bytes}: fan out over `each`, or use files")
        return Accepted(intake)
    part, unread = _readable(goal)
    problems += meaning_problems(part, now_ms, max_ttl_ms, catalogue, unread)
    return Rejected(_unique(problems))


def normalise(value: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """What may be written in a friendlier way: money as a number, thinkingBudget, stakeholders as names, any RFC 3339
    deadline. What cannot be read is told and left as it is, or left out.
    """
    goal = value.copy() if type(value) is dict else value
    problems: list[Problem] = []
    if goal.pop("type", "intake") != "intake":
        problems.append(problem(["type"], "must be `intake`, or left out"))
    budgets: list[tuple[list[str | int], Any]] = [(["budget_limits"], goal.get("budget_limits"))]
    tasks = goal.get("tasks")
    if isinstance(tasks, list):
        budgets += [(["tasks", n, "budget"], task.get("budget")) for n, task in enumerate(tasks) if _is_object(task)]
    if _is_object(goal.get("release")):
        budgets.append((["release", "budget"], goal["release"].get("budget")))
    for where, budget in budgets:
        if isinstance(budget, dict):
            problems += _normalise_budget(budget, where)
    people = goal.get("stakeholders")
    if isinstance(people, list):
        goal["stakeholders"] = [{"name": entry} if isinstance(entry, str) else entry for entry in people]
    deadline = goal.get("deadline")
    if isinstance(deadline, str):
        try:
            goal["deadline"] = timestamp(time_ms(deadline))
        except (ValueError, OverflowError, OSError):
            problems.append(problem(["deadline"], "not an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z"))
            del goal["deadline"]
    return goal, problems


def _normalise_budget(budget: dict[str, Any], where: list[str | int]) -> list[Problem]:
    if "thinkingBudget" in budget and "thinkingTokens" not in budget:
        budget["thinkingTokens"] = budget.pop("thinkingBudget")
    cost = budget.get("costUSD")
    if isinstance(cost, bool) or not isinstance(cost, str | int | float):
        return []
    try:
        text = format(Decimal(repr(cost)), "f") if isinstance(cost, float) else str(cost)
        budget["costUSD"] = usd_text(micro_usd(text))
    except ValueError:
        budget["costUSD"] = "0"
        return [problem([*where, "costUSD"], "not an amount of USD with at most six decimals")]
    return []


def _converted(goal: dict[str, Any]) -> Intake:
    return msgspec.convert(goal | {"type": "intake"}, Intake)


def _converts(goal: dict[str, Any]) -> bool:
    try:
        _converted(goal)
    except (msgspec.ValidationError, ValueError):
        return False
    return True


def _readable(goal: dict[str, Any]) -> tuple[Intake, set[str]]:
    """The intake made of the fields that can be read alone, and the names of those that cannot or are missing."""
    good = {name: entry for name, entry in goal.items() if _converts(_NOTHING | {name: entry})}
    return _converted(_NOTHING | good), {name for name in (*_NOTHING, *goal) if name not in good}


def _problem_of(error: Exception) -> Problem:
    """msgspec's own word: the first problem only."""
    what, _, where = str(error).partition(" - at `")
    return Problem(one_line(where.rstrip("`")) or "$", one_line(what))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _unique(problems: list[Problem]) -> list[Problem]:
    return list({(entry.path, entry.message): entry for entry in problems}.values())[:MAX_PROBLEMS]


def _rejected(message: str) -> Rejected:
    return Rejected([problem((), message)])
