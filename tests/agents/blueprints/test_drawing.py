"""What became of decisions while services were driven, in the drawing of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.agents.blueprints.drawing import Looks, write_drawings
from interlock.skills.infrastructure.blueprint.directory import Service
from interlock.skills.infrastructure.trace import Trace
from tests.agents.blueprints.places import APPROVED, Place

pytestmark = pytest.mark.anyio


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    return lambda **more: Place(tmp_path, **more)


async def test_what_was_approved_is_drawn_as_done_and_what_was_undone_as_taken_back(make: Callable[..., Place]) -> None:
    place = make(names=("asks", "fails"))
    place.write("asks", APPROVED)
    place.cluster.load |= {"asks": 95, "fails": 95}
    place.cluster.ready["fails"] = 2
    await place.look()
    place.cluster.load["asks"] = 60
    await place.look(5)
    looks = Looks()
    for told in place.told:
        looks.add(told)
    assert {name: looks.ends.get(found[0][1].id) for name, found in looks.of.items()} == {
        "asks": "done",
        "fails": "taken_back",
    }
    services: list[tuple[Service, dict[str, Trace]]] = [(watched.service, {}) for watched in place.watched]
    asks, fails = write_drawings(looks, services, place.root, 15_000)
    texts = {path: path.read_text() for path in (asks, fails)}
    assert all(ET.fromstring(text).tag.endswith("svg") for text in texts.values())
    assert "taken back" in texts[fails] and "taken back" not in texts[asks]
    assert "would ask" not in texts[asks]
