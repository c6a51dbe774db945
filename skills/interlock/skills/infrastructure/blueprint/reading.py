"""From bytes to a blueprint, or to everything that is wrong with them. Pure; no exception escapes for any bytes."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from interlock.bus.yaml12 import Loaded, YamlError, load_yaml
from interlock.skills.infrastructure.blueprint.checking import problem, violations
from interlock.skills.infrastructure.blueprint.format import leaves_by_field
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.problems import Problem, in_order
from interlock.skills.infrastructure.blueprint.rules import Breach, breaches
from interlock.skills.infrastructure.blueprint.values import Values, values_of

MAX_BYTES = 256 * 1024


class Reading(Struct, frozen=True):
    """blueprint: None if there are problems. Problems are by place, each once."""

    source: str
    blueprint: Blueprint | None
    problems: tuple[Problem, ...] = ()

    def told(self) -> list[str]:
        """A line per problem."""
        return [entry.told(self.source) for entry in self.problems]


def read_blueprint(data: bytes | str, *, source: str) -> Reading:
    """source: how the file is called in what is told. At most MAX_BYTES."""
    faults: list[YamlError] = []
    try:
        loaded = load_yaml(data, source=source, limit_bytes=MAX_BYTES, faults=faults)
    except YamlError as error:
        return Reading(source, None, in_order(of_yaml(fault) for fault in [*faults, error]))
    problems = [of_yaml(fault) for fault in faults]
    problems.extend(violations(loaded))
    values = values_of(loaded.value, frozenset(entry.path for entry in problems))
    problems.extend(_told(breach, loaded, values) for breach in breaches(values))
    if problems:
        return Reading(source, None, in_order(problems))
    return Reading(source, msgspec.convert(_nested(values), Blueprint))


def of_yaml(error: YamlError) -> Problem:
    """What the loader refused, as a problem of the file as a whole."""
    what = error.what.removeprefix("but ").removeprefix("found ")
    instead = "spaces" if "'\\t'" in what else ""
    return Problem(error.line, error.column, "", "YAML 1.2 that reads in one way only", f"this: {what}", instead)


def _told(breach: Breach, loaded: Loaded, values: Values) -> Problem:
    parts: list[str | int] = list(leaves_by_field()[breach.field].path.split("."))
    if breach.at is not None:
        parts.append(breach.at)
    return problem(loaded, parts, breach.expected, breach.found, breach.instead)


def _nested(values: Values) -> dict[str, Any]:
    """What is said, as the model nests it; what is not said is the model's default."""
    given = dict(values.given)
    cooldown_ms = given.pop("scaling.cooldown_ms", None)
    if cooldown_ms is not None:
        given.setdefault("scaling.scale_up_cooldown_ms", cooldown_ms)
        given.setdefault("scaling.scale_down_cooldown_ms", cooldown_ms)
    given.setdefault("target.namespace", values.get("target.namespace"))
    given.setdefault("target.kind", values.get("target.kind"))
    given.setdefault("target.name", given["name"])
    given.setdefault("target.container", given["target.name"])
    nested: dict[str, Any] = {}
    for field, value in given.items():
        *sections, last = field.split(".")
        at = nested
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    return nested
