"""What is halted: the last order of each scope, and whether it stops what somebody is about to do. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from msgspec import Struct

from interlock.bus.control.orders import EVERYTHING, WORKSPACE, ControlOrder, scope_key
from interlock.envelope.ids import role_of
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Task
from interlock.envelope.verdict import ALLOW, Reason, Verdict, deny

NOTHING: Mapping[str, Any] = {}


class Doing(Struct, frozen=True, kw_only=True):
    """What is about to be done. agent: by whom; sender: on whose word; input: of the task, every text in which may name
    a target.
    """

    agent: str
    sender: str = ""
    goal: str = ""
    skill: str = ""
    input: Mapping[str, Any] = NOTHING


def doing_of(agent: str, envelope: Envelope) -> Doing:
    """Handling an envelope. The word of a halted agent stops with it, unless it calls for help."""
    task = envelope.payload if isinstance(envelope.payload, Task) else None
    return Doing(
        agent=agent,
        sender="" if envelope.intent == "escalate" else envelope.sender,
        goal=envelope.goal_id,
        skill=task.skill if task is not None else "",
        input=task.input if task is not None else NOTHING,
    )


class Halts:
    """The orders of one workspace, as far as they were believed. Takes them in any order."""

    def __init__(self) -> None:
        self._orders: dict[str, ControlOrder] = {}
        self._halted: dict[str, ControlOrder] = {}
        self._kinds: frozenset[str] = frozenset()
        self._targets: dict[str, ControlOrder] = {}

    def take(self, order: ControlOrder, *, stored: bool) -> bool:
        """Whether it changed anything. The higher number counts; of equal ones that which is stored, for that is what
        an actor that starts later will see.
        """
        key = scope_key(order.workspace, order.scope)
        known = self._orders.get(key)
        if known is not None and (order.number < known.number or (order.number == known.number and not stored)):
            return False
        if known == order:
            return False
        self._orders[key] = order
        self._halted = {one.scope: one for one in self.in_force}
        self._kinds = frozenset(scope.partition(":")[0] for scope in self._halted)
        self._targets = {
            scope.removeprefix("target:"): one for scope, one in self._halted.items() if scope.startswith("target:")
        }
        return True

    def number(self, workspace: str, scope: str) -> int:
        """That of the scope's last order, 0 if it had none."""
        order = self._orders.get(scope_key(workspace, scope))
        return 0 if order is None else order.number

    @property
    def in_force(self) -> list[ControlOrder]:
        """Oldest first."""
        halts = (one for one in self._orders.values() if one.verb == "halt")
        return sorted(halts, key=lambda order: (order.at, order.scope))

    def judge(self, doing: Doing) -> Verdict:
        """Whether some halt covers it."""
        if not self._halted:
            return ALLOW
        order = self._found(doing)
        if order is None and self._targets and doing.input:
            order = next((one for name, one in self._targets.items() if _names(doing.input, name)), None)
        return (
            ALLOW if order is None else halted(f"{order.scope} is halted by {order.by} since {order.at}: {order.why}")
        )

    def _found(self, doing: Doing) -> ControlOrder | None:
        """Of the halts of scopes that have one name each."""
        in_force = self._halted
        for scope in (EVERYTHING, WORKSPACE, *_scopes(doing, self._kinds)):
            if scope in in_force:
                return in_force[scope]
        return None


def halted(message: str) -> Verdict:
    return deny(Reason.HALTED, message[:2_000], rule="halt", instead="wait until a human resumes it")


def _scopes(doing: Doing, kinds: Container[str]) -> list[str]:
    """What it is known by: the scopes that could cover it, of the kinds that are asked for."""
    scopes = []
    if "role" in kinds or "agent" in kinds:
        for agent in (doing.agent, doing.sender):
            if agent and "role" in kinds:
                scopes.append(f"role:{role_of(agent)}")
            if agent and "agent" in kinds:
                scopes.append(f"agent:{agent}")
    if doing.goal and "goal" in kinds:
        scopes.append(f"goal:{doing.goal}")
    if doing.skill and "skill" in kinds:
        scopes.append(f"skill:{doing.skill}")
    return scopes


def _names(value: Any, target: str) -> bool:
    """Whether a text somewhere in it is the target or lies under it: `/srv/a` covers `/srv/a/b`, not `/srv/ab`."""
    if isinstance(value, str):
        return value == target or value.startswith(target.rstrip("/") + "/")
    if isinstance(value, Mapping):
        return any(_names(one, target) for one in value.values())
    return isinstance(value, list | tuple) and any(_names(one, target) for one in value)
