"""kill -9 of every role at every border between decision, effect, publish, record and ack (AUD-11)."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import anyio
import msgspec
from msgspec.structs import replace

from interlock.agents.supervision.house import AGENTS, connected, house
from interlock.bus.deadletters import DeadLetter
from interlock.bus.failpoints import POINTS, arm
from interlock.bus.permissions import ADMIN
from interlock.bus.streams import DEAD, Declarations, consumers_of
from interlock.bus.transport import Transport
from interlock.envelope.ids import new_id
from scripts.campaigns.crew import crew
from scripts.campaigns.lines import SKILLS
from scripts.campaigns.load import WORKSPACE, Load, all_answer, audited, prepared
from scripts.campaigns.result import Result

_HOPS = ("hop_received", "hop_handled", "hop_answered", "letter_due", "letter_stored", "child_signed", "child_stored")
# The points that each role comes by.
BORDERS: dict[str, tuple[str, ...]] = {
    "gateway": (
        "goal_received", "goal_opened", "goal_published", "ledger_decided", "ledger_stored", "child_signed", "child_stored"
    ),
    "orchestrator": (*_HOPS, "event_decided", "event_recorded", "event_sent", "event_told"),
    "evaluator": _HOPS,
    "executor": (*_HOPS, "intent_due", "intent_stored", "effect_done", "outcome_stored", "amount_reserved", "amount_due"),
    "auditor": (*_HOPS, "batch_judged", "batch_recorded", "checkpoint_stored", "goal_closing"),
    "synthesizer": _HOPS,
}  # fmt: skip
REACH_S = 20.0
ACK_WAIT_MS = 4_000
HOUSES = 2
GOALS_AT_ONCE = 5
MAX_S = 1_500.0  # no point is armed later than this: what was done until then is told
MUST_BE = "0 goals lost, 0 effects twice, every goal ends, the audit log agrees"


class Killer:
    """Arms one point after another of each role; all roles at a time."""

    def __init__(self, transport: Transport, points: Path, seed: int, kills: int) -> None:
        self._transport = transport
        self._points = points
        self._dice = random.Random(seed)
        self._left = kills
        self.killed: Counter[str] = Counter()
        self.unreached: Counter[str] = Counter()
        self.poison: list[str] = []

    async def run(self, agent: str) -> None:
        queue: list[str] = []
        until = anyio.current_time() + MAX_S
        while self._left > 0 and anyio.current_time() < until:
            if not queue:
                queue = list(BORDERS[agent])
                self._dice.shuffle(queue)
            self._left -= 1
            name = queue.pop()
            arm(self._points / agent, name)
            if name.startswith("letter_"):
                await self._poison(agent)
            armed, where = self._points / agent / name, f"{agent}/{name}"
            with anyio.move_on_after(REACH_S):
                while armed.exists():
                    await anyio.sleep(0.01)
            if armed.exists():
                armed.unlink(missing_ok=True)
                self.unreached[where] += 1
                self._left += 1
            else:
                self.killed[where] += 1
            # What it had in hand comes again all at once: were the next point armed by then every time, the same hops would
            # be in every death, and be given up.
            await anyio.sleep(self._dice.uniform(0.5, 1.4 * ACK_WAIT_MS / 1000))

    async def _poison(self, agent: str) -> None:
        subject = f"interlock.{WORKSPACE}.role.{agent}.{new_id(self._transport.clock.now_ms())}.act"
        ack = await self._transport.publish(subject, b"no envelope")
        self.poison.append(f"{agent} {ack.sequence}")


async def campaign(root: Path, kills: int, seed: int) -> Result:
    """In several houses at a time: a killer waits more than it works."""
    shares = (
        [kills // HOUSES + (number < kills % HOUSES) for number in range(HOUSES)] if kills >= 10 * HOUSES else [kills]
    )
    failures: list[str] = []
    figures: Counter[str] = Counter()
    killed: Counter[str] = Counter()

    async def one(number: int, share: int) -> None:
        place = root / f"house-{number}"
        place.mkdir()
        found, counted, where = await under_killers(place, share, seed + number)
        failures.extend(found)
        figures.update(counted)
        killed.update(where)

    async with anyio.create_task_group() as group:
        for number, share in enumerate(shares):
            group.start_soon(one, number, share)
    wanted = {f"{agent}/{name}" for agent, names in BORDERS.items() for name in names}
    missed = wanted - killed.keys()
    if missed and kills >= 2 * HOUSES * len(wanted):
        failures.append(f"never reached: {', '.join(sorted(missed))}")
    borders = {"borders": len(killed), "points": len({name.split("/")[1] for name in killed}), "of": len(POINTS)}
    return Result(
        campaign="actors",
        amount=killed.total(),
        must_be=MUST_BE,
        figures={**figures, **borders},
        failures=failures[:20],
    )


async def under_killers(root: Path, kills: int, seed: int) -> tuple[list[str], Counter[str], Counter[str]]:
    """One house: what should not have been, what was counted, where it was killed."""
    layout, settings = prepared(root)
    stop = anyio.Event()
    async with house(layout, settings, agents=()) as place:
        load = Load(place.transport, root)
        killer = Killer(place.transport, root / "points", seed, kills)
        # Who died is waited for so long: shorter, more deaths fit in; nothing else changes.
        waiting = tuple(replace(inbox, ack_wait_ms=ACK_WAIT_MS) for inbox in consumers_of(WORKSPACE))
        async with connected(layout, place.url, ADMIN) as control:
            await control.declare(Declarations(consumers=waiting))
        with crew(root, place.url, root / "points", SKILLS):
            await all_answer(place.transport)
            async with anyio.create_task_group() as group:
                group.start_soon(load.keep_up, stop, GOALS_AT_ONCE)
                async with anyio.create_task_group() as killers:
                    for agent in AGENTS:
                        killers.start_soon(killer.run, agent)
                stop.set()
            verdict = await audited(place.transport, layout)
            letters: Counter[str] = Counter()
            reasons: dict[str, str] = {}
            async for message in place.transport.read(DEAD.name, [f"interlock.{WORKSPACE}.dead.>"]):
                letter = msgspec.json.decode(message.data, type=DeadLetter)
                letters[f"{letter.role} {letter.sequence}"] += 1
                reasons[f"{letter.role} {letter.subject.split('.', 3)[-1]}"] = f"{letter.reason}: {letter.detail}"
    given_up = [f"{role} {reason}" for role, reason in reasons.items() if "malformed" not in reason]
    failures = load.failures()
    failures += [f"given up: {name}" for name in given_up]
    failures += [f"poison {name} has {letters[name]} dead letters" for name in killer.poison if letters[name] != 1]
    failures += [f"audit: {finding.kind} {finding.stream} {finding.sequence}" for finding in verdict.findings]
    failures += [f"audit: {stream} has {count} unrecorded" for stream, count in verdict.pending.items()]
    counted = Counter({name: int(value) for name, value in load.figures().items()})
    counted["records"] = verdict.records
    return failures, counted, killer.killed
