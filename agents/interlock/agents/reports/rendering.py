"""A report as Markdown: its summary first, then whatever tables it holds. Foreign text stays inert. Pure."""

from __future__ import annotations

import re
from typing import Any

from interlock.skills.release.documents import code, grid, markdown, told

TITLES = {
    "cost": "Cost report",
    "signatures": "Signature report",
    "attestation": "Weekly attestation",
    "brief": "Readiness brief",
    "carbon": "Carbon report",
    "compliance": "Compliance check",
}
_HEADED = ("kind", "version", "workspace", "period")


def report_markdown(report: dict[str, Any]) -> str:
    """The whole report; nested objects become sections, lists of objects tables."""
    lines = [f"# {TITLES[report['kind']]} of {code(report['workspace'])}, {report['period']}", ""]
    for name, value in report.items():
        if name not in _HEADED:
            lines += _section(name, value, 2)
    return markdown(lines)


def heading(name: str) -> str:
    """`sevenDayMeanUSD` → `Seven day mean USD`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).split()
    lowered = [word if (word.isupper() and len(word) > 1) or word == "CO2" else word.lower() for word in words]
    text = " ".join(lowered)
    return text[:1].upper() + text[1:]


def _section(name: str, value: Any, level: int) -> list[str]:
    head = [f"{'#' * level} {heading(name)}", ""]
    if isinstance(value, dict):
        plain = {key: part for key, part in value.items() if not isinstance(part, (dict, list))}
        nested = {key: part for key, part in value.items() if key not in plain}
        lines = grid(["", ""], [[heading(key), cell(part)] for key, part in plain.items()])
        for key, part in nested.items():
            lines += _section(key, part, level + 1)
        return [*head, *lines]
    if isinstance(value, list):
        if not value:
            return [*head, "none", ""]
        if isinstance(value[0], dict):
            columns = list(value[0])
            return [
                *head,
                *grid([heading(key) for key in columns], [[cell(row.get(key)) for key in columns] for row in value]),
            ]
        return [*head, *(f"- {told(item)}" for item in value), ""]
    return [*head, cell(value), ""]


def cell(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(code(item) for item in value) or "—"
    return told(value) if isinstance(value, str) else str(value)
