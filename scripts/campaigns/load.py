"""Goals that leave lines outside: handed in without end, counted at the end. What every campaign holds Interlock to."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import anyio
import msgspec

from interlock.agents.audit.log.check import LogVerdict, check_log
from interlock.agents.presence import ping_subject
from interlock.agents.status import GoalStatus, read_status
from interlock.agents.supervision.house import AGENTS
from interlock.agents.workspace.keys import load_trust
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings, load_settings
from interlock.bus.errors import BusError
from interlock.bus.transport import MESSAGE_ID, Transport
from interlock.envelope.ids import new_id
from scripts.campaigns.lines import SKILLS, goal_of_lines

WORKSPACE = "default"
TASKS = 4
BUDGET = {"costUSD": "0.01", "wallMs": 10_000_000, "actions": 1_000}
TRIES = 200


class Load:
    """The goals of a campaign: `submit` until acknowledged, `settle` until all have ended."""

    def __init__(self, transport: Transport, place: Path) -> None:
        self.transport = transport
        self.place = place
        self.accepted: dict[str, str] = {}  # goal id → name
        self.ended: dict[str, GoalStatus] = {}
        self.refused: list[tuple[str, str]] = []  # told to their submitter: neither lost nor acknowledged
        self.unanswered = 0
        self._number = 0

    async def submit(self, pause_ms: int = 0) -> str:
        """A goal, asked for again under the same id until it is acknowledged, and then its id; empty when refused."""
        name = f"g{self._number}"
        self._number += 1
        goal_id = new_id(self.transport.clock.now_ms())
        data = goal_of_lines(self.place, name, TASKS, pause_ms=pause_ms, budget_limits=BUDGET)
        for _ in range(TRIES):
            try:
                answer = await self.transport.request(
                    f"interlock.{WORKSPACE}.goal.submit", data, timeout_ms=1_000, headers={MESSAGE_ID: goal_id}
                )
            except BusError:
                # The gateway that took it in may have died before it could answer, and then nobody will.
                if await self._is_known(goal_id):
                    self.accepted[goal_id] = name
                    return goal_id
                await anyio.sleep(0.1)
                continue
            told = msgspec.json.decode(answer.data)
            if "goalId" not in told and "errors" not in told:
                # With replicas the broker itself answers a repeat, although the stream is told not to.
                if await self._is_known(goal_id):
                    self.accepted[goal_id] = name
                    return goal_id
                await anyio.sleep(0.1)
                continue
            if "goalId" not in told:
                self.refused.append((name, str(told)[:200]))
                return ""
            self.accepted[told["goalId"]] = name
            return str(told["goalId"])
        self.unanswered += 1
        return ""

    async def offer(self, name: str) -> str:
        """A goal, asked for once: its id if it was taken in."""
        goal_id = new_id(self.transport.clock.now_ms())
        data = goal_of_lines(self.place, name, TASKS, budget_limits=BUDGET)
        try:
            answer = await self.transport.request(
                f"interlock.{WORKSPACE}.goal.submit", data, timeout_ms=3_000, headers={MESSAGE_ID: goal_id}
            )
        except BusError:
            return ""
        if b'"goalId"' not in answer.data:
            return ""
        self.accepted[goal_id] = name
        return goal_id

    async def _is_known(self, goal_id: str) -> bool:
        try:
            return await read_status(self.transport, WORKSPACE, goal_id) is not None
        except BusError:
            return False

    async def wait(self, goal_id: str, within_s: float = 240) -> bool:
        """Whether it ended in time."""
        with anyio.move_on_after(within_s):
            while True:
                try:
                    status = await read_status(self.transport, WORKSPACE, goal_id)
                except BusError:
                    status = None
                if status is not None and status.phase == "ended":
                    self.ended[goal_id] = status
                    return True
                await anyio.sleep(0.05)
        return False

    async def keep_up(self, stop: anyio.Event, at_once: int, pause_ms: int = 0) -> None:
        """So many goals at a time until `stop`, then until the last has ended."""

        async def one_after_another() -> None:
            while not stop.is_set():
                goal_id = await self.submit(pause_ms)
                if goal_id:
                    await self.wait(goal_id)

        async with anyio.create_task_group() as group:
            for _ in range(at_once):
                group.start_soon(one_after_another)

    def failures(self, *, released: bool = True) -> list[str]:
        """What was lost or done twice. released: every goal must also have succeeded."""
        lines = self.lines()
        found = [f"goal {name} never ended" for goal_id, name in self.accepted.items() if goal_id not in self.ended]
        for name, why in self.refused[:3]:
            print(f"goal {name} refused: {why}", file=sys.stderr)
        found += [f"line {line} was left {count} times" for line, count in lines.items() if count > 1]
        found += [
            f"goal {name} was refused, yet left line {line}: {why}"
            for name, why in self.refused
            for line in lines
            if line.startswith(f"{name}-")
        ]
        for goal_id, status in self.ended.items():
            name = self.accepted[goal_id]
            if status.outcome == "released":
                found += [f"line {name}-{n} is lost" for n in range(TASKS) if not lines[f"{name}-{n}"]]
            elif released:
                why = "; ".join(f"{ground.code}: {ground.message[:300]}" for ground in status.grounds[:2])
                found.append(f"goal {name} ended {status.outcome} ({why})")
        return found

    def lines(self) -> Counter[str]:
        path = self.place / "lines.txt"
        return Counter(path.read_text().splitlines() if path.exists() else ())

    def figures(self) -> dict[str, float]:
        lines = self.lines()
        return {
            "goals": len(self.accepted),
            "refused": len(self.refused),
            "unanswered": self.unanswered,
            "ended": len(self.ended),
            "released": sum(one.outcome == "released" for one in self.ended.values()),
            "effects": lines.total(),
            "twice": sum(count - 1 for count in lines.values()),
        }


def prepared(root: Path, durability: str = "safe") -> tuple[Layout, Settings]:
    """A workspace whose day is large enough for any campaign."""
    limit = "{cost_usd: '1000000', tokens: 1000000000000, wall_ms: 1000000000000000, actions: 1000000000}"
    (root / "interlock.yaml").write_text(
        f"write_roots: ['{root}']\ndurability: {durability}\nday_limit: {limit}\nskills: ['{SKILLS}']\n"
    )
    layout = Layout(root)
    return layout, load_settings(layout.settings)


async def all_answer(transport: Transport, within_s: float = 60) -> None:
    with anyio.fail_after(within_s):
        for agent in AGENTS:
            while True:
                try:
                    await transport.request(ping_subject(WORKSPACE, agent), b"", timeout_ms=300)
                    break
                except BusError:
                    await anyio.sleep(0.02)


async def audited(transport: Transport, layout: Layout, within_s: float = 60) -> LogVerdict:
    """The verdict of `audit check` once everything is recorded, or the last one before time ran out."""
    with anyio.move_on_after(within_s):
        while True:
            verdict = await check_log(transport, WORKSPACE, load_trust(layout))
            if not verdict.pending or not verdict.ok:
                return verdict
            await anyio.sleep(0.2)
    return verdict
