"""`interlock run` and `interlock up`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.agents.blueprints.drive_file import drive_of
from interlock.agents.cli.goal_file import load_goal
from interlock.agents.cli.progress import Progress
from interlock.agents.cli.session import Session
from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.errors import UserError
from interlock.agents.presence import until_signalled
from interlock.agents.supervision.house import house, without_metrics
from interlock.agents.supervision.room import until_full
from interlock.agents.workspace.settings import read_yaml
from interlock.bus.server.cluster import SIZES
from interlock.bus.tasks import background

if TYPE_CHECKING:
    from interlock.agents.cli.approving import Approve


async def run_goal(
    session: Session, path: Path, replaced: Sequence[str], out: Path | None, approve: Approve = "ask"
) -> int:
    """The main job: one command, nothing installed. Exit 0 released, 2 blocked, 1 failed. approve: what to do when the
    goal asks for a human's approval.
    """
    driven = drive_of(path, read_yaml(path)[0])
    if driven is not None:
        from interlock.agents.blueprints.driving import drive

        return await drive(session, driven, out, approve)
    goal = load_goal(path, replaced)
    began = time.monotonic()
    progress = Progress(sys.stderr if session.json else sys.stdout)
    progress.line(f"starting nats-server and six roles in {session.layout.hidden}")
    async with house(
        session.layout, without_metrics(session.settings), nats=session.nats, grants=goal.grants, skills=goal.skills
    ) as place:
        goal_id = await publish_goal(place.transport, session.workspace, goal.data)
        progress.line(f"goal {goal_id} accepted after {time.monotonic() - began:.1f} s")
        # What is for later is loaded when there is something to see: until then every processor has roles to start.
        from interlock.agents.cli.approving import answer_on_the_way
        from interlock.agents.cli.confirming import confirm
        from interlock.agents.cli.report import exit_code, fetch_deliverable, report_text, report_value

        with progress:
            async with background() as group:
                group.start_soon(answer_on_the_way, session, place.transport, goal_id, approve, progress.stream)
                group.start_soon(until_full, session.layout.hidden, lambda: progress.standing)
                status = await wait_for_end(place.transport, session.workspace, goal_id, progress.show)
        await confirm(session, place.transport, status)
        audited = await wait_for_audit(place.transport, session.workspace, goal_id)
        deliverable = await fetch_deliverable(place.transport, status, out or Path("build") / "interlock" / goal_id)
        session.say(report_text(status, audited, deliverable), report_value(status, audited, deliverable))
    return exit_code(status)


async def stay_up(session: Session, cluster: int, console: bool = False) -> int:
    """Until SIGINT or SIGTERM. cluster: how many servers, 0 for a single one without replicas; console: with the web
    console. Raises UserError.
    """
    if cluster and (cluster not in SIZES or session.nats):
        detail = "--cluster starts servers, --nats names those that run" if session.nats else f"--cluster {cluster}"
        raise UserError("bad_usage", detail, "interlock up --cluster 3, or interlock up --nats URL", 2)
    async with house(session.layout, session.settings, nats=session.nats, cluster=cluster) as place:
        session.say(
            f"Interlock is up: {place.url}, workspace {session.workspace}. Ctrl-C stops it.",
            {"url": place.url, "workspace": session.workspace, "pid": os.getpid()},
        )
        async with AsyncExitStack() as stack:
            if console:
                from interlock.agents.cli.consoling import consoling

                await stack.enter_async_context(consoling(session, place.transport, None, "human"))
            await until_signalled()
    return 0
