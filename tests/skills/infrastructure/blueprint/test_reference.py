"""The page is what the schema says. To write it anew: INTERLOCK_WRITE_DOCS=1 pytest <this file>"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from interlock.bus.yaml12 import load_yaml
from interlock.skills.infrastructure.blueprint.format import SCHEMA_PATH
from interlock.skills.infrastructure.blueprint.policies import read_policies
from interlock.skills.infrastructure.blueprint.reference import format_reference, operations_table, units_table

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs/blueprints.md"
SECTIONS = {"format": format_reference, "units": units_table, "operations": operations_table}


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_page_is_what_the_schema_says(name: str) -> None:
    section = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    page = PAGE.read_text()
    written = section.sub(lambda found: f"{found[1]}{SECTIONS[name]()}\n{found[2]}", page)
    assert section.search(page)
    if os.environ.get("INTERLOCK_WRITE_DOCS"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written, (
        f"look at what changed, then: INTERLOCK_WRITE_DOCS=1 pytest {Path(__file__).name}"
    )


def test_the_example_has_the_schema_that_editors_read() -> None:
    assert (ROOT / "examples/03-blueprint/blueprints/schema.yaml").read_bytes() == SCHEMA_PATH.read_bytes()


def test_the_policies_of_the_page_and_of_the_example_are_right() -> None:
    example = (ROOT / "examples/03-blueprint/blueprints/governance/policies.yaml").read_bytes()
    page = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for text in (example, *page):
        loaded = load_yaml(text, source="policies").value
        reading = read_policies(text, source="policies")
        assert reading.told() == []
        assert reading.policies is not None and reading.policies.name == loaded["metadata"]["name"]
