"""Three trials of the campaign that scripts/campaigns/halt.py runs a hundred of, one for each kind of scope."""

from __future__ import annotations

import runpy
from pathlib import Path

import anyio
import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "campaigns" / "halt.py"


@pytest.mark.process
def test_under_load_no_effect_begins_later_than_a_second_after_a_halt_and_nothing_is_lost(tmp_path: Path) -> None:
    halt = runpy.run_path(str(SCRIPT))
    trials = anyio.run(halt["campaign"], tmp_path, 3, 20_251_121, 2)
    told = halt["table"](trials)
    assert all(trial.passed for trial in trials), told
    assert all(trial.began for trial in trials), "nothing was halted in its course"
    assert [trial.done for trial in trials] == [2 * halt["TASKS"]] * 3
