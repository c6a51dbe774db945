"""What tests of the loop begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.blueprints.places import Place


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Place]:
    return lambda **more: Place(tmp_path, **more)
