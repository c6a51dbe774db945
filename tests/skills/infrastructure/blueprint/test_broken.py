"""Every broken blueprint of the corpus is refused, with everything that is wrong in it, at its place, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.bus.yaml12 import load_yaml
from interlock.skills.infrastructure.blueprint.reading import read_blueprint

HERE = Path(__file__).parent
EXPECTED = load_yaml((HERE / "broken.yaml").read_bytes(), source="broken.yaml").value
FILES = sorted((HERE / "broken").glob("*.yaml"))


def test_the_corpus_is_whole() -> None:
    assert len(FILES) >= 120
    assert {path.stem for path in FILES} == set(EXPECTED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_blueprint_is_told_whole(path: Path) -> None:
    reading = read_blueprint(path.read_bytes(), source="b")
    assert reading.blueprint is None
    assert [line.removeprefix("b:") for line in reading.told()] == EXPECTED[path.stem]
    assert list(reading.problems) == sorted(reading.problems)
