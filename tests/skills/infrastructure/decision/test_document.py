"""docs/blueprints.md names every reason and every column of a trace, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from interlock.skills.infrastructure.decision.reasons import Why
from interlock.skills.infrastructure.trace import COLUMNS

TEXT = (Path(__file__).parents[4] / "docs/blueprints.md").read_text()


def first_cells(section: str) -> set[str]:
    """What stands in backquotes in the first column of the table under a heading."""
    body = TEXT.partition(f"\n### {section}\n")[2].partition("\n##")[0]
    rows = [line.split("|")[1] for line in body.splitlines() if line.startswith("| `")]
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def test_every_reason_is_explained() -> None:
    assert first_cells("Reasons") == {str(why) for why in Why}


def test_every_column_is_explained() -> None:
    assert first_cells("Traces") == set(COLUMNS)
