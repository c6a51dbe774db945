"""What the loop needs of the world: something to look at, somebody who acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from interlock.agents.status import GoalStatus
from interlock.envelope.payloads import TaskResult
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.observed import ObservedState


class Cluster(Protocol):
    """Reads only: everything that changes something is done by a skill in a goal."""

    @property
    def access(self) -> Path:
        """The directory with `kubeconfig` that goals' skills are given."""

    def now_ms(self) -> int:
        """The time that decisions are made at, UTC: the cluster's where it is simulated, else the machine's."""

    async def observe(self, blueprint: Blueprint) -> ObservedState:
        """The service as it is now. Raises SkillsError where it cannot be told."""

    async def pass_time(self, ms: int) -> None:
        """Waits so long."""


class Ended(Struct, frozen=True):
    """A goal that has ended. results: of each task, the last attempt whose hop verifies. proposals: files to be committed
    where Git keeps the object, by name.
    """

    goal_id: str
    status: GoalStatus
    results: dict[str, TaskResult]
    approved_by: str = ""
    proposals: dict[str, bytes] = {}


class Goals(Protocol):
    """Hands goals in and waits for their end."""

    async def run(self, goal: dict[str, Any], goal_id: str) -> Ended:
        """The same goal_id is the same goal, however often. Raises BusError or UserError."""

    async def withdraw(self, goal_id: str, why: str) -> bool:
        """Refuses what the goal asks of humans now, if it asks for anything. True where it was stopped in a way that it does
        not end by. Raises BusError or UserError.
        """
