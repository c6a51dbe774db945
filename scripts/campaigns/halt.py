"""Halts under load, again and again: when does the last effect begin after a halt, and is anything lost or done twice?

Usage: python scripts/campaigns/halt.py [--trials 100] [--seed N] [--goals 4]. Each trial loads a house of real processes with
goals whose tasks leave a line outside as soon as they begin, halts a scope at a random moment, waits, resumes, and lets
all goals end. Prints a table and the seed; exit 1 if an effect began later than LIMIT_MS after the halt was stored, or
if a goal did not end released with each line exactly once.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct

from interlock.agents.cli.submission import publish_goal
from interlock.agents.status import read_status
from interlock.agents.supervision.house import House, house
from interlock.agents.workspace.keys import load_key
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import load_settings
from interlock.bus.control.giving import give_order
from interlock.bus.sender import Identity

LIMIT_MS = 1_000
WATCH_MS = 1_500
SKILLS = Path(__file__).resolve().parents[2] / "tests" / "agents" / "skills"
SCOPES = ("everything", "workspace", "role:executor", "role:orchestrator", "skill:stamping-time", "target", "goal")


class Trial(Struct, frozen=True, kw_only=True):
    """began: effects that began before the halt was stored; after_ms: how long after it each of the others did; done:
    all lines at the end; lost, twice: lines that are not there, or more than once.
    """

    number: int
    scope: str
    began: int
    after_ms: list[float]
    done: int
    lost: int
    twice: int
    unreleased: int

    @property
    def latest_ms(self) -> float:
        return max(self.after_ms, default=0.0)

    @property
    def passed(self) -> bool:
        return self.latest_ms <= LIMIT_MS and not (self.lost or self.twice or self.unreleased)


async def campaign(root: Path, trials: int, seed: int, goals: int = 4) -> list[Trial]:
    """Runs the trials on one house in root."""
    dice = random.Random(seed)
    (root / "interlock.yaml").write_text(f"write_roots: ['{root}']\n")
    layout = Layout(root)
    settings = load_settings(layout.settings)
    async with house(layout, settings, skills=[SKILLS]) as place:
        human = Identity("human", load_key(layout, "human"))
        return [await trial(place, human, root, number, dice, goals) for number in range(trials)]


async def trial(place: House, human: Identity, root: Path, number: int, dice: random.Random, goals: int) -> Trial:
    directory = root / f"trial-{number}"
    directory.mkdir()
    names = [f"g{goal}" for goal in range(goals)]
    ids = {name: await publish_goal(place.transport, "default", load(directory, name)) for name in names}
    scope = SCOPES[number % len(SCOPES)]
    halted = [name for name in names if scope != "goal" or name == names[0]]
    told = {"goal": f"goal:{ids[names[0]]}", "target": f"target:{directory}"}.get(scope, scope)
    await begun(directory, 1)
    await anyio.sleep(dice.uniform(0, 0.5))
    await give_order(place.transport, "default", human, "halt", told, f"trial {number}")
    stored = time.time()
    await anyio.sleep(WATCH_MS / 1000)
    seen = [at for line, at in stamps(directory) if line.split("-")[0] in halted]
    await give_order(place.transport, "default", human, "resume", told, "")
    unreleased = 0
    for goal_id in ids.values():
        unreleased += await outcome(place, goal_id) != "released"
    counted = Counter(line for line, _ in stamps(directory))
    wanted = {f"{name}-{task}" for name in names for task in range(TASKS)}
    return Trial(
        number=number,
        scope=scope,
        began=sum(at <= stored for at in seen),
        after_ms=[round((at - stored) * 1000, 1) for at in seen if at > stored],
        done=counted.total(),
        lost=len(wanted - counted.keys()),
        twice=sum(count - 1 for count in counted.values()),
        unreleased=unreleased,
    )


TASKS = 24


def load(directory: Path, name: str) -> bytes:
    """A goal of TASKS tasks, a few at a time, that takes about as long as a trial looks on."""
    tasks = [
        {
            "id": f"t{number}",
            "skill": "stamping-time",
            "after": [f"t{number - 4}"] if number >= 4 else [],
            "input": {"place": str(directory), "line": f"{name}-{number}", "pause_ms": 60},
        }
        for number in range(TASKS)
    ]
    return msgspec.json.encode(
        {
            "goal": "leave the time at which each task began",
            "constraints": [],
            "stakeholders": ["nobody"],
            "success_metrics": ["no time after the halt"],
            "budget_limits": {"costUSD": "1", "wallMs": 10**8, "actions": 5_000},
            "tasks": tasks,
        }
    )


def stamps(directory: Path) -> list[tuple[str, float]]:
    """(line, when its effect began) of all tasks so far."""
    path = directory / "stamps.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, float(at)) for name, at in (line.split() for line in lines)]


async def begun(directory: Path, count: int) -> None:
    with anyio.fail_after(60):
        while len(stamps(directory)) < count:
            await anyio.sleep(0.005)


async def outcome(place: House, goal_id: str) -> str:
    with anyio.fail_after(180):
        while True:
            status = await read_status(place.transport, "default", goal_id)
            if status is not None and status.phase == "ended":
                return status.outcome
            await anyio.sleep(0.02)


def table(trials: list[Trial]) -> str:
    """One line for each scope."""
    lines = [
        f"{'scope':<20} {'trials':>6} {'before':>7} {'after':>6} {'median ms':>10} {'latest ms':>10} {'lost':>5} {'twice':>6}"
    ]
    for scope in (*SCOPES, "all"):
        of_scope = [one for one in trials if scope in (one.scope, "all")]
        if of_scope:
            after = [ms for one in of_scope for ms in one.after_ms]
            middle = statistics.median(after) if after else 0.0
            lines.append(
                f"{scope:<20} {len(of_scope):>6} {sum(one.began for one in of_scope):>7} {len(after):>6} {middle:>10.1f} "
                f"{max(after, default=0.0):>10.1f} {sum(one.lost for one in of_scope):>5} "
                f"{sum(one.twice for one in of_scope):>6}"
            )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python scripts/campaigns/halt.py")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--goals", type=int, default=4, help="goals at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interlock-halts-") as root:
        trials = anyio.run(campaign, Path(root), options.trials, options.seed, options.goals)
    print(table(trials))
    late = sum(ms > LIMIT_MS for one in trials for ms in one.after_ms)
    failed = [one.number for one in trials if not one.passed]
    print(f"effects that began later than {LIMIT_MS} ms after the halt: {late}; trials failed: {failed or 'none'}")
    print(f"seed {options.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
