"""`interlock run` of a goal file with `drive`: services by their blueprints in a simulated cluster, for so long."""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from interlock.agents.blueprints.bus_goals import BusGoals
from interlock.agents.blueprints.decision_log import DecisionLog
from interlock.agents.blueprints.decision_places import note_place
from interlock.agents.blueprints.drawing import Looks, write_drawings
from interlock.agents.blueprints.drive_file import Drive
from interlock.agents.blueprints.eyes import simulated_eyes
from interlock.agents.blueprints.fleet import Fleet
from interlock.agents.blueprints.loop import Loop
from interlock.agents.blueprints.resetting import Resets, sign_reset
from interlock.agents.blueprints.telling import Teller
from interlock.agents.blueprints.told import Told
from interlock.agents.blueprints.watched import Watched
from interlock.agents.blueprints.world import running_world
from interlock.agents.cli.approving import Approve, answer_on_the_way
from interlock.agents.cli.blueprint_files import load_services
from interlock.agents.cli.session import Session
from interlock.agents.cli.withdrawing import withdraw_approvals
from interlock.agents.errors import UserError
from interlock.agents.supervision.house import house
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.clock import SystemClock


async def drive(session: Session, drive: Drive, out: Path | None, approve: Approve) -> int:
    """Exit 0 when the time is over, whatever was decided in it."""
    began = time.monotonic()
    place = out or Path("build") / "interlock" / time.strftime("blueprints-%Y%m%d-%H%M%S", time.gmtime())
    logs = place / "logs" / "agent-decisions"
    if logs.exists():
        raise UserError("out_in_use", f"{place} has a decision log already", "Give another -o", 2)
    place.mkdir(parents=True, exist_ok=True)
    load_services(drive.blueprints)
    looks = Looks()
    teller = Teller(sys.stdout, json=session.json)
    with tempfile.TemporaryDirectory(prefix="interlock-world-") as scratch:
        access, keep = Path(scratch) / "cluster", Path(scratch) / "state"
        access.mkdir()
        teller.line(f"starting a simulated cluster, nats-server and six roles in {session.layout.hidden}")
        with running_world(drive.world, access) as world:
            async with (
                house(session.layout, session.settings, nats=session.nats, grants=[access]) as home,
                simulated_eyes(world, access, teller.event) as eyes,
            ):
                answer = partial(_answer, session, home.transport, approve, teller)
                refuse = partial(withdraw_approvals, session, home.transport)
                goals = BusGoals(home.transport, session.workspace, partial(load_trust, session.layout), refuse, answer)
                log = DecisionLog(logs)
                note_place(session.layout, logs)
                watched = [Watched(service.path, keep) for service in load_services(drive.blueprints)]

                def tell(told: Told) -> None:
                    looks.add(told)
                    teller.told(told)

                resets = Resets(partial(load_trust, session.layout), SystemClock())
                loop = Loop(eyes, goals, log, Fleet(keep), SystemClock(), resets=resets, tell=tell)
                teller.line(f"ready after {time.monotonic() - began:.1f} s; {drive.last_ms // 60_000} minutes begin")
                for _ in range(drive.last_ms // drive.every_ms):
                    await eyes.pass_time(drive.every_ms)
                    for service in watched if eyes.reset_asked() else ():
                        loop.reset(service, _order(session, service.name))
                    for service in watched:
                        await loop.look(service)
                drawings = await anyio.to_thread.run_sync(
                    write_drawings, looks, [(one.service, world.traces) for one in watched], place, drive.every_ms
                )
    teller.summary(log.records(), place, drawings, time.monotonic() - began, log)
    return 0


def _order(session: Session, service: str) -> bytes:
    """What the simulated human signs, with the key of the human of this workspace."""
    return sign_reset(
        load_key(session.layout, "human"),
        workspace=session.workspace,
        service=service,
        why="the simulated world says so",
        by="human",
        at_ms=SystemClock().now_ms(),
    )


async def _answer(session: Session, transport: Any, approve: Approve, teller: Any, goal_id: str) -> None:
    teller.flush()
    await answer_on_the_way(session, transport, goal_id, approve, sys.stderr if session.json else sys.stdout)
