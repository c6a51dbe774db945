"""SC-008: a blueprint's file is changed under the loop's eyes, and the loop decides by the new one. In shadow: nothing is
done, so no goal and no broker are needed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.fleet import Fleet
from interlock.agents.blueprints.loop import Loop
from interlock.agents.blueprints.ports import Ended
from interlock.agents.blueprints.resetting import Resets
from interlock.agents.blueprints.told import Told
from interlock.agents.blueprints.wanting import CHANGE_LOOK_S
from interlock.agents.blueprints.watched import Watched
from interlock.agents.scoring.accuracy import Case, state_of
from interlock.agents.scoring.model import Score, Subject, share
from interlock.bus.clock import SystemClock
from interlock.envelope.trust import Trust
from interlock.skills.infrastructure.blueprint.directory import FILE
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.writing import yaml_text
from interlock.skills.infrastructure.observed import ObservedState

WITHIN_S = 60


class Seen:
    """A ports.Cluster: the service stands still, the clock is the machine's."""

    access = Path()

    def __init__(self) -> None:
        self._clock = SystemClock()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def observe(self, blueprint: Blueprint) -> ObservedState:
        quiet = state_of(Case(blueprint.scaling.min_replicas, 50, 50, 100, 0, ""), blueprint)
        return msgspec.structs.replace(quiet, at_ms=self.now_ms())

    async def pass_time(self, ms: int) -> None:
        await anyio.sleep(ms / 1000)


class NoGoals:
    """A ports.Goals that nobody may ask: a shadow acts never."""

    async def run(self, goal: dict[str, Any], goal_id: str) -> Ended:
        raise ValueError("a shadow handed in a goal")

    async def withdraw(self, goal_id: str, why: str) -> bool:
        raise ValueError("a shadow withdrew a goal")


class Change(Struct, frozen=True, kw_only=True):
    """by_new: the first decision after the change names the new blueprint; before: the one before named the old one."""

    name: str
    by_new: bool
    took_s: float


def responsiveness(subjects: Sequence[Subject]) -> Score:
    """SC-008."""
    with tempfile.TemporaryDirectory(prefix="interlock-score-") as directory:
        found = anyio.run(_changes, [subject.blueprint for subject in subjects], Path(directory))
    good = [change for change in found if change.by_new and CHANGE_LOOK_S + change.took_s <= WITHIN_S]
    slowest_s = max((change.took_s for change in found), default=0.0)
    return Score(
        criterion="SC-008",
        title="Blueprint change responsiveness",
        target="re-evaluated within 60 s of a change",
        met=len(good) == len(found) > 0,
        measured=f"{CHANGE_LOOK_S + slowest_s:.1f} s at most" if found else share(0, 0),
        evidence=(
            f"{len(good)} of {len(found)} changed files decided by at the next look, {slowest_s:.3f} s at most",
            f"and at most {CHANGE_LOOK_S:g} s until a watcher sees that the files changed",
            *(f"{change.name}: the old blueprint was decided by" for change in found if not change.by_new),
        ),
    )


async def _changes(blueprints: Sequence[Blueprint], directory: Path) -> list[Change]:
    told: list[Told] = []
    log = DecisionLog(directory / "logs")
    clock = SystemClock()
    resets = Resets(_no_trust, clock)
    loop = Loop(Seen(), NoGoals(), log, Fleet(directory), clock, resets=resets, tell=told.append, mode="shadow")
    found = []
    for blueprint in blueprints:
        path = directory / "blueprints" / blueprint.name / FILE
        path.parent.mkdir(parents=True)
        path.write_text(yaml_text(blueprint))
        watched = Watched(path, directory / "state")
        await loop.look(watched)
        before = _decided_by(told)
        changed = _changed(blueprint)
        began = time.monotonic()
        path.write_text(yaml_text(changed))
        await loop.look(watched)
        took_s = time.monotonic() - began
        by_new = (before, _decided_by(told)) == (blueprint.digest, changed.digest)
        found.append(Change(name=blueprint.name, by_new=by_new, took_s=took_s))
    return found


def _no_trust() -> Trust:
    raise ValueError("nobody resets the breaker of a shadow")


def _changed(blueprint: Blueprint) -> Blueprint:
    """One replica more at most, under the next version."""
    scaling = msgspec.structs.replace(blueprint.scaling, max_replicas=blueprint.scaling.max_replicas + 1)
    major = int(blueprint.version.partition(".")[0]) + 1
    return msgspec.structs.replace(blueprint, version=f"{major}.0.0", scaling=scaling)


def _decided_by(told: Sequence[Told]) -> str:
    """The digest of the blueprint that the last decision was made by, empty if there was none."""
    records = [entry.record for entry in told if entry.record is not None]
    return records[-1].blueprint.digest if records else ""
