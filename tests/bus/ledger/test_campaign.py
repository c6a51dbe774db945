"""A small one of the campaign that scripts/campaigns/ledger.py runs with 32 processes and a million units."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import anyio
import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "campaigns" / "ledger.py"


@pytest.mark.process
def test_processes_that_are_killed_never_overspend_and_their_leases_return_in_time(tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPT))

    async def run() -> Any:
        return await script["campaign"](tmp_path, workers=3, units=20_000, kills=2, hold_ms=800, seed=7)

    result = anyio.run(run)
    assert result.passed, script["table"](result)
    assert len(result.back_ms) == 2
    assert result.limit - script["LEAST_LEASE"] < result.used <= result.limit
