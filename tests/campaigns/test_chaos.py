"""A little of every campaign (docs/guarantees.md), with a fixed seed: what `make chaos` does in full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = "20261121"
ONLY = "actors,broker,poison,store,bundles,power,clocks"  # the rest of --quick takes a minute more


@pytest.mark.process
def test_nothing_is_lost_or_done_twice_and_every_change_is_found(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    command = [sys.executable, "scripts/campaigns", "--quick", "--only", ONLY, "--seed", SEED, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
    told = json.loads(out.read_text())
    assert (told["seed"], told["quick"]) == (int(SEED), True)
    assert f"seed {SEED}" in done.stdout
    for campaign in told["campaigns"]:
        assert campaign["failures"] == [], campaign
        assert campaign["skipped"] or campaign["amount"] > 0, campaign
