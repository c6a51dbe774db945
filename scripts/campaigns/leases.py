"""Processes that spend from one budget by leases while some are killed (ledger.py), as one of `make chaos`."""

from __future__ import annotations

from pathlib import Path

from scripts.campaigns import ledger
from scripts.campaigns.result import Result

MUST_BE = "never more spent than the budget, none uncounted, what the dead held is back in time"
# Below so many kills a little of it: fewer workers, less to spend.
FULL = 16


async def campaign(root: Path, kills: int, seed: int) -> Result:
    workers, units, hold_ms = (32, 1_000_000, 3_000) if kills >= FULL else (3, 20_000, 800)
    found = await ledger.campaign(root, workers=workers, units=units, kills=kills, hold_ms=hold_ms, seed=seed)
    back_ms = sorted(found.back_ms) or [0]
    figures: dict[str, float] = {
        "workers": workers,
        "budget": found.limit,
        "spent": found.spent,
        "used": found.used,
        "back ms median": back_ms[len(back_ms) // 2],
        "back ms last": back_ms[-1],
    }
    failures = (
        [] if found.passed else [f"see the figures: {found.still_open} leases are open, the hold was {hold_ms} ms"]
    )
    return Result(campaign="leases", amount=len(found.back_ms), must_be=MUST_BE, figures=figures, failures=failures)
