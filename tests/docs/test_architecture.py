"""The pages of the portions: no module or room is left out, and what runs can end with is what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from interlock.skills.protocol import Outcome

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "architecture"
# What every portion has and no reader looks for.
PLAIN = {"__init__", "__main__", "__pycache__", "py", "version"}


def parts_of(portion: str) -> set[str]:
    return {path.stem for path in (ROOT / portion / "interlock" / portion).iterdir()} - PLAIN


@pytest.mark.parametrize("portion", ["envelope", "bus", "skills"])
def test_every_part_of_a_portion_stands_on_its_page(portion: str) -> None:
    named = set(re.findall(r"[a-z0-9_]+", (PAGES / f"{portion}.md").read_text()))
    assert parts_of(portion) - named == set()


def test_every_room_of_the_agents_stands_on_its_page() -> None:
    place = ROOT / "agents" / "interlock" / "agents"
    rooms = {path.name for path in place.iterdir() if path.is_dir()} - PLAIN
    named = set(re.findall(r"[a-z0-9_]+", (PAGES / "agents.md").read_text()))
    assert rooms - named == set()


def test_how_a_run_can_end_is_told_whole() -> None:
    told = (PAGES / "skills.md").read_text().partition("How a run can end: ")[2]
    assert [outcome for outcome in get_args(Outcome) if outcome not in told] == []
