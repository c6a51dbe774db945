"""The tables of docs/blueprints.md, from the schema and the list of operations. A test keeps the page equal to them."""

from __future__ import annotations

import json
from typing import Any

from interlock.skills.infrastructure.blueprint.checking import described
from interlock.skills.infrastructure.blueprint.format import Leaf, Section, entries, followed
from interlock.skills.infrastructure.blueprint.quantities import KINDS
from interlock.skills.infrastructure.operation_names import OPERATION_NAMES

_TIERS = {"allowed": "allowed", "requires_approval": "needs approval", "forbidden": "forbidden"}


def format_reference() -> str:
    """A table per section of the format: key, what it expects, its default, what it means."""
    lines: list[str] = []
    for entry in entries():
        if isinstance(entry, Section):
            required = " Required." if entry.required else ""
            lines += ["", f"### `{entry.path}`", f"{entry.schema['description']}{required}"]
            if any(isinstance(other, Leaf) and other.path.rpartition(".")[0] == entry.path for other in entries()):
                lines += ["", "| key | value | default | meaning |", "|---|---|---|---|"]
        elif "." in entry.path:
            lines.append(_row(entry))
    head = ["| key | value |", "|---|---|"]
    head += [f"| `{entry.path}` | {described(entry.schema)} |" for entry in _top()]
    return "\n".join([*head, *lines, "", *_inner()])


def operations_table() -> str:
    """Every name, what it means, its usual tier, what may be done instead."""
    lines = ["| operation | what is done | usual tier | instead |", "|---|---|---|---|"]
    for entry in OPERATION_NAMES:
        instead = f"`{entry.instead}`" if entry.instead else ""
        lines.append(f"| `{entry.name}` | {entry.meaning} | {_TIERS[entry.usual]} | {instead} |")
    return "\n".join(lines)


def units_table() -> str:
    """Every kind of quantity with its units."""
    lines = ["| value | units |", "|---|---|"]
    for kind in KINDS.values():
        units = ", ".join(f"`{unit}`" for unit in kind.units) or "none"
        lines.append(f"| {kind.expected} | {units} |")
    return "\n".join(lines)


def _top() -> list[Leaf]:
    return [entry for entry in entries() if isinstance(entry, Leaf) and "." not in entry.path]


def _row(leaf: Leaf) -> str:
    key = leaf.path.rpartition(".")[2]
    default = leaf.schema.get("default")
    if leaf.required:
        shown = "**required**"
    elif default in (None, "", [], {}):
        shown = ""
    else:
        shown = f"`{default if isinstance(default, str) else _plain(default)}`"
    return f"| `{key}` | {_expected(leaf.schema)} | {shown} | {leaf.schema['description']} |"


def _expected(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array" and "enum" in followed(schema["items"]):
        return "a list of operations (below)"
    return described(schema)


def _inner() -> list[str]:
    """What stands in lists and in mappings that come more than once."""
    metrics = next(entry for entry in entries() if entry.path == "spec.scaling.metrics").schema["items"]
    probe = next(entry for entry in entries() if entry.path == "spec.reliability.readiness_probe").schema
    lines = []
    for title, schema in (("An entry of `spec.scaling.metrics`", metrics), ("A probe", probe)):
        lines += [f"### {title}", "", "| key | value | meaning |", "|---|---|---|"]
        for key, value in schema["properties"].items():
            entry = followed(value)
            lines.append(f"| `{key}` | {described(entry)} | {entry['description']} |")
        lines.append("")
    return lines[:-1]


def _plain(value: Any) -> str:
    return json.dumps(value)
