"""A goal is wanted for as long as the blueprint it was decided by stands. Once that has changed, what still waits for a human
in it is withdrawn: nothing may be done by an approval of what nobody wants any more.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from interlock.agents.blueprints.ports import Ended, Goals
from interlock.agents.blueprints.watched import Acting
from interlock.bus.tasks import background

CHANGE_LOOK_S = 1.0
BLUEPRINT_CHANGED = (
    "blueprint_changed: the blueprint or its policies are others since, and what they ask for is decided anew"
)


async def ended_or_withdrawn(goals: Goals, acting: Acting, changed: Callable[[], bool], every_s: float) -> Ended | None:
    """The goal's end. As soon as changed() holds, looked at every so often, its approvals are withdrawn, also those that it
    asks for later; None where it was stopped and does not end by that. What was begun is not cut off. Raises BusError or
    UserError.
    """
    ended: Ended | None = None
    async with background() as group:

        async def run() -> None:
            nonlocal ended
            ended = await goals.run(acting.goal, acting.goal_id)
            over.set()

        over = anyio.Event()
        group.start_soon(run)
        while not over.is_set():
            if changed() and await goals.withdraw(acting.goal_id, BLUEPRINT_CHANGED):
                break
            with anyio.move_on_after(every_s):
                await over.wait()
    return ended
