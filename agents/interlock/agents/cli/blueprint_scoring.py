"""`interlock blueprint score`: the success criteria as a table."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from interlock.agents.cli.blueprint_files import load_services
from interlock.agents.scoring.score import score


def show_scores(path: Path, json: bool) -> int:
    """Exit 0 if every criterion is met, else 1."""
    found = score(load_services(path))
    missed = [entry.criterion for entry in found if not entry.met]
    if json:
        sys.stdout.write(msgspec.json.encode({"met": not missed, "criteria": found}).decode() + "\n")
        return 1 if missed else 0
    for entry in found:
        verdict = "met" if entry.met else "NOT MET"
        sys.stdout.write(f"{entry.criterion}  {verdict:<8}{entry.title:<34}{entry.measured}\n")
        sys.stdout.write(f"{'':<16}target: {entry.target}\n")
        for line in entry.evidence:
            sys.stdout.write(f"{'':<16}{line}\n")
    told = f"{len(found) - len(missed)} of {len(found)} criteria are met"
    sys.stdout.write(told + (f"; not met: {', '.join(missed)}\n" if missed else "\n"))
    return 1 if missed else 0
