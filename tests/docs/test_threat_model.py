"""The threat model names every risk of the list, and only tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def test_every_risk_has_what_stops_it_what_shows_it_and_what_is_not_covered() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.M)[1:]
    assert [section.split()[0] for section in sections] == [f"ASI{number:02d}" for number in range(1, 11)]
    for section in sections:
        assert "\n- " in section
        assert "Shown by `tests/" in section
        assert "**Not covered:**" in section


def test_the_tests_it_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 20
    missing = [
        f"{file}::{name}"
        for file, name in named
        if name
        not in {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    ]
    assert missing == []
