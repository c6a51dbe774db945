"""What a skill's handler sees. A handler is one function, `run(task: Task) -> dict`, in `handler.py` beside `SKILL.md`.

The handler runs in a child process of its own: its working directory is an empty scratch directory, nothing else can
be written, there is no network, no secret in the environment, and the limits of its manifest are enforced.
It answers with a JSON object (no floats: money is integer micro-USD, ratios are decimal strings or parts per
thousand), and leaves the files it produces in `task.out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Task:
    """One run of a skill.

    input: the validated input object.
    files: artefacts handed in from earlier tasks, by file name, read-only.
    out: directory for the files this run produces; each becomes an artefact under its own name.
    config: the read-only configuration directory (prices, licences, gates, …).
    now: the recorded time of the run, RFC 3339 UTC; use it, never the machine's clock, so that a replay agrees.
    seed: the goal's seed for whatever is random.
    """

    input: Mapping[str, Any]
    out: Path
    config: Path
    now: str
    seed: int = 0
    files: Mapping[str, Path] = field(default_factory=dict)


class SkillError(Exception):
    """The input cannot be worked on; `str(error)` is the one line its user reads. Not retried."""
