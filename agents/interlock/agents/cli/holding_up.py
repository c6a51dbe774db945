"""What holds a goal up while somebody waits for it: an approval that is asked for, a halt. Told once each, on standard error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from interlock.agents.cli.halting import concerning, line
from interlock.agents.status import GoalStatus
from interlock.bus.control.orders import ControlOrder
from interlock.bus.errors import BusError

EVERY_S = 1.0


class HoldingUp:
    """halts: those in force now; tell: takes a line."""

    def __init__(
        self, goal_id: str, halts: Callable[[], Awaitable[list[ControlOrder]]], tell: Callable[[str], None]
    ) -> None:
        self._goal_id = goal_id
        self._halts = halts
        self._tell = tell
        self._told: set[str] = set()

    def show(self, status: GoalStatus | None, _hops: int) -> None:
        """The approvals of a status."""
        for approval in status.approvals if status is not None else ():
            self._once(f"waits for a decision: `interlock approve {approval}`, or reject")

    async def watch(self) -> None:
        """The halts, for as long as it runs."""
        while True:
            with suppress(BusError):  # whoever waits for the goal is told of a broker that is away
                for order in concerning(await self._halts(), self._goal_id):
                    self._once(f"{line(order)}; `interlock resume {order.scope}`")
            await anyio.sleep(EVERY_S)

    def _once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
