"""The intake's JSON Schema as its user writes it, and its violations in words. Pure; loads its library when first used."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from interlock.agents.goal.plan import Problem
from interlock.agents.intake.reading import MAX_PROBLEMS, problem
from interlock.envelope.ids import TOKEN_PATTERN
from interlock.envelope.payloads import Intake

MAX_ENTRIES = 500
_NAMES = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_TOKEN = "must be lower-case letters, digits and hyphens, at most 63, not beginning with a hyphen"


@lru_cache(maxsize=1)
def intake_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what is published to goal.submit: the Intake without its tag."""
    schema = msgspec.json.schema(Intake)
    definition = schema["$defs"]["Intake"]
    definition["properties"].pop("type")
    definition["required"].remove("type")
    return schema


def schema_problems(value: dict[str, Any]) -> list[Problem]:
    """Every violation with its path, at most MAX_PROBLEMS. Of lists only the first MAX_ENTRIES are looked at: a stranger's
    goal must not keep the gateway busy for seconds.
    """
    from interlock.skills.schemas import jsonschema_library

    problems: list[Problem] = []
    looked_at = {name: entry[:MAX_ENTRIES] if isinstance(entry, list) else entry for name, entry in value.items()}
    for error in jsonschema_library().Draft202012Validator(intake_schema()).iter_errors(looked_at):
        for leaf in _leaves(error):
            problems += _told(leaf)
            if len(problems) >= MAX_PROBLEMS:
                return problems
    return problems


def _leaves(error: Any) -> Iterator[Any]:
    """Of alternatives, the errors of the one that was meant: the one whose type the value has."""
    if error.validator != "anyOf":
        yield error
        return
    branches: dict[int, list[Any]] = {}
    for inner in error.context:
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    for inners in branches.values():
        if not any(inner.validator == "type" and inner.absolute_path == error.absolute_path for inner in inners):
            for inner in inners:
                yield from _leaves(inner)
            return
    yield next(iter(branches.values()))[0]


def _told(error: Any) -> list[Problem]:
    where = list(error.absolute_path)
    limit = error.validator_value
    match error.validator:
        case "required":
            return [problem([*where, name], "is missing") for name in limit if name not in error.instance]
        case "additionalProperties":
            known = list(error.schema.get("properties", {}))
            unknown = [name for name in error.instance if name not in known]
            return [problem([*where, name], _unknown(name, known)) for name in unknown[:MAX_PROBLEMS]]
        case "type":
            return [problem(where, f"must be {_NAMES.get(limit, limit)}, not {_kind(error.instance)}")]
        case "pattern":
            return [problem(where, _TOKEN if limit == TOKEN_PATTERN else f"must match {limit}")]
        case "enum":
            return [problem(where, f"must be one of {', '.join(map(str, limit))}")]
        case "minimum":
            return [problem(where, f"must be at least {limit}")]
        case "maximum":
            return [problem(where, f"must be at most {limit}")]
        case "maxLength":
            return [problem(where, f"has {len(error.instance)} characters; at most {limit}")]
    return [problem(where, error.message)]


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(known)}"
    return f"there is no such field; {hint}"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "null")
