"""An intake as anybody may have written it: every error with its JSON path, or the goal it stands for. Pure.

Plain JSON of at most 256 KiB. The common case is one decode; only what fails is looked at again with JSON Schema, so
that its author hears of every error at once.
"""

from __future__ import annotations

import difflib
import json
from typing import Any

import msgspec
from msgspec import Struct

from interlock.agents.goal.plan import Problem, plan_problems
from interlock.agents.planning.catalogue import Catalogue
from interlock.envelope.amounts import micro_usd, time_ms, timestamp, usd_text
from interlock.envelope.canonical import MAX_DEPTH, check_plain
from interlock.envelope.payloads import Intake

MAX_BYTES = 256 * 1024 - 16 * 1024  # the envelope around it needs room too
MAX_PROBLEMS = 50


class Accepted(Struct, frozen=True):
    intake: Intake


class Rejected(Struct, frozen=True):
    problems: list[Problem]


def read_intake(data: bytes, *, now_ms: int, max_ttl_ms: int, catalogue: Catalogue) -> Accepted | Rejected:
    """Never raises, whatever the bytes."""
    if len(data) > MAX_BYTES:
        return _rejected("$", f"{len(data)} bytes; at most {MAX_BYTES}: put large content into files")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
        if depth_of(value) > MAX_DEPTH:
            return _rejected("$", f"nested deeper than {MAX_DEPTH}")
    except _Duplicate as error:
        return _rejected("$", str(error))
    except (ValueError, RecursionError) as error:
        return _rejected("$", f"not JSON: {str(error)[:200] or type(error).__name__}")
    if not isinstance(value, dict):
        return _rejected("$", "a goal is a JSON object")
    normalised, problems = normalise(value)
    try:
        check_plain(normalised)
    except ValueError as error:
        problems += [Problem(str(error).split(":")[0], str(error).partition(": ")[2])]
    if not problems:
        try:
            intake = msgspec.convert(normalised | {"type": "intake"}, Intake)
        except (msgspec.ValidationError, ValueError) as error:
            problems = schema_problems(normalised) or [_problem_of(error)]
        else:
            problems = meaning_problems(intake, now_ms, max_ttl_ms, catalogue)
            if not problems:
                return Accepted(intake)
    else:
        problems += schema_problems(normalised)
    unique = {(entry.path, entry.message): entry for entry in problems}
    return Rejected(list(unique.values())[:MAX_PROBLEMS])


def normalise(value: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """What may be written in a friendlier way: money as a number, stakeholders as names, any RFC 3339 deadline."""
    goal = {key: entry for key, entry in value.items() if key != "type"}
    problems: list[Problem] = []
    budgets = [("$.budget_limits", goal.get("budget_limits"))]
    if isinstance(goal.get("tasks"), list):
        budgets += [
            (f"$.tasks[{n}].budget", task.get("budget"))
            for n, task in enumerate(goal["tasks"])
            if isinstance(task, dict)
        ]
    for path, budget in budgets:
        if isinstance(budget, dict):
            problems += _normalise_budget(budget, path)
    people = goal.get("stakeholders")
    if isinstance(people, list):
        goal["stakeholders"] = [{"name": entry} if isinstance(entry, str) else entry for entry in people]
    deadline = goal.get("deadline")
    if isinstance(deadline, str):
        try:
            goal["deadline"] = timestamp(time_ms(deadline))
        except (ValueError, OverflowError, OSError):
            problems.append(Problem("$.deadline", "not an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z"))
            del goal["deadline"]
    return goal, problems


def _normalise_budget(budget: dict[str, Any], path: str) -> list[Problem]:
    if "thinkingBudget" in budget and "thinkingTokens" not in budget:
        budget["thinkingTokens"] = budget.pop("thinkingBudget")
    cost = budget.get("costUSD")
    if isinstance(cost, bool) or not isinstance(cost, str | int | float):
        return []
    try:
        text = repr(cost) if isinstance(cost, float) else str(cost)
        budget["costUSD"] = usd_text(micro_usd(text))
    except ValueError:
        budget["costUSD"] = "0"
        return [Problem(f"{path}.costUSD", "not an amount of USD with at most six decimals")]
    return []


def schema_problems(value: dict[str, Any]) -> list[Problem]:
    """All violations of the intake's JSON Schema."""
    from interlock.skills.schemas import jsonschema_library

    problems: list[Problem] = []
    for error in jsonschema_library().Draft202012Validator(intake_schema()).iter_errors(value):
        for leaf in error.context or [error]:
            problems.append(Problem(_path_of(leaf), leaf.message[:300]))
            if len(problems) >= MAX_PROBLEMS:
                return problems
    return problems


def _path_of(error: Any) -> str:
    """A missing property is reported where it should stand."""
    if error.validator == "required":
        missing = error.message.split("'")[1:2]
        return f"{error.json_path}.{missing[0]}" if missing else str(error.json_path)
    return str(error.json_path)


def intake_schema() -> dict[str, Any]:
    """JSON Schema of the intake as its user writes it."""
    schema = msgspec.json.schema(Intake)
    for definition in schema["$defs"].values():
        if definition.get("title") == "Intake":
            definition["properties"].pop("type", None)
            definition["required"] = [name for name in definition["required"] if name != "type"]
    return schema


def meaning_problems(intake: Intake, now_ms: int, max_ttl_ms: int, catalogue: Catalogue) -> list[Problem]:
    """What a schema cannot say."""
    problems: list[Problem] = []
    if not intake.goal.strip():
        problems.append(Problem("$.goal", "the goal is empty"))
    needed = {"stakeholders": intake.stakeholders, "success_metrics": intake.success_metrics}
    problems += [Problem(f"$.{name}", "needs at least one entry") for name, entries in needed.items() if not entries]
    if intake.budget_limits.actions < 1:
        problems.append(Problem("$.budget_limits.actions", "must allow at least one action"))
    if intake.deadline is not None:
        left_ms = time_ms(intake.deadline) - now_ms
        if left_ms <= 0:
            problems.append(Problem("$.deadline", "is in the past"))
        elif left_ms > max_ttl_ms:
            problems.append(Problem("$.deadline", f"is more than {max_ttl_ms // 60_000} minutes ahead"))
    if intake.playbook is not None and intake.tasks:
        problems.append(Problem("$.tasks", "a goal names a playbook or lists tasks, not both"))
    if intake.release is not None and not intake.tasks:
        problems.append(Problem("$.release", "goes with tasks of the goal's own"))
    if intake.tasks:
        problems += plan_problems(intake.tasks, intake.release, catalogue.has_skill)
    if intake.playbook is not None:
        problems += _playbook_problems(intake, catalogue)
    return problems


def _playbook_problems(intake: Intake, catalogue: Catalogue) -> list[Problem]:
    from interlock.skills.schemas import check

    playbook = catalogue.playbooks.get(intake.playbook or "")
    if playbook is None:
        near = difflib.get_close_matches(intake.playbook or "", catalogue.playbooks, 1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(sorted(catalogue.playbooks))}"
        return [Problem("$.playbook", f"there is no playbook `{intake.playbook}`; {hint}")]
    return [Problem(f"$.inputs{path[1:]}", message) for path, message in check(intake.inputs, playbook.inputs)]


def depth_of(value: Any) -> int:
    """How deep lists and objects nest."""
    deepest, stack = 0, [(value, 0)]
    while stack:
        node, depth = stack.pop()
        deepest = max(deepest, depth)
        if isinstance(node, dict):
            stack.extend((item, depth + 1) for item in node.values())
        elif isinstance(node, list):
            stack.extend((item, depth + 1) for item in node)
    return deepest


class _Duplicate(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise _Duplicate(f"the key `{twice[:80]}` is there twice")
    return result


def _no_constants(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _problem_of(error: Exception) -> Problem:
    what, _, where = str(error).partition(" - at `")
    return Problem(where.rstrip("`") or "$", what[:300])


def _rejected(path: str, message: str) -> Rejected:
    return Rejected([Problem(path, message)])
