"""Handing a goal in and waiting for it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import anyio
import msgspec
from msgspec import Struct, field

from interlock.agents.errors import UserError
from interlock.agents.goal.plan import Problem
from interlock.agents.status import AuditStatus, GoalStatus, read_audit, read_status
from interlock.bus.errors import BusError, NobodyListens, Unavailable
from interlock.bus.streams import HOPS
from interlock.bus.tasks import background
from interlock.bus.transport import MESSAGE_ID, Message, Transport
from interlock.envelope.ids import new_id
from interlock.envelope.subjects import workspace_subject

ANSWER_MS = 15_000
AUDIT_S = 15.0
PATIENCE_S = 30.0
HALTED = "halted"
Show = Callable[[GoalStatus | None, int], None]


class _Answer(Struct, rename="camel"):
    goal_id: str = ""
    errors: list[Problem] = field(default_factory=list)


async def publish_goal(transport: Transport, workspace: str, data: bytes, goal_id: str = "") -> str:
    """Publishes to the goal's subject as any NATS client would, and gives the goal id. The message id is the goal's id
    to be (goal_id, else a new one), so that a repeat is the same goal. Raises UserError with every error of the intake.
    """
    goal_id = goal_id or new_id(transport.clock.now_ms())
    subject = workspace_subject(workspace, "goal", "submit")
    try:
        reply = await transport.request(subject, data, timeout_ms=ANSWER_MS, headers={MESSAGE_ID: goal_id})
    except NobodyListens as error:
        raise UserError(
            "no_gateway",
            f"nobody takes goals for workspace {workspace} here, and nothing was kept",
            "Start it with `interlock up`, or check `workspace` in interlock.yaml and --nats",
        ) from error
    except Unavailable as error:
        raise UserError(
            "no_gateway",
            f"no gateway answered; if the broker has it, it is goal {goal_id}, and begins when a gateway runs",
            f"Is `interlock up` running? See `interlock doctor`, then `interlock status {goal_id}`",
        ) from error
    answer = msgspec.json.decode(reply.data, type=_Answer)
    if answer.errors:
        if answer.errors[0].message.startswith(f"{HALTED}: "):
            raise UserError(HALTED, answer.errors[0].message, "`interlock halts` lists what is halted", 2)
        told = "; ".join(f"{problem.path}: {problem.message}" for problem in answer.errors)
        raise UserError("invalid_goal", told, exit_code=2)
    return answer.goal_id


async def wait_for_end(transport: Transport, workspace: str, goal_id: str, show: Show) -> GoalStatus:
    """Until the goal has ended. Raises BusError when the broker is away for PATIENCE_S. show is called with the status and the
    hops counted so far.
    """
    hops, seen = 0, time.monotonic()

    async def count() -> None:
        nonlocal hops
        with suppress(BusError):  # the number is for show
            async with aclosing(goal_hops(transport, workspace, goal_id)) as messages:
                async for _ in messages:
                    hops += 1

    async with background() as group:
        group.start_soon(count)
        while True:
            try:
                status = await read_status(transport, workspace, goal_id)
            except BusError as error:
                # A broker that was killed is started again; the goal goes on where it was.
                if not error.retryable or time.monotonic() - seen > PATIENCE_S:
                    raise
                continue
            seen = time.monotonic()
            show(status, hops)
            if status is not None and status.phase == "ended":
                return status
            await anyio.sleep(0.05)


async def goal_hops(transport: Transport, workspace: str, goal_id: str) -> AsyncGenerator[Message, None]:
    """Every hop of the goal, those to come too."""
    subject = workspace_subject(workspace, "role", "*", goal_id, ">")
    async with aclosing(transport.read(HOPS.name, [subject], follow=True)) as messages:
        async for message in messages:
            yield message


async def wait_for_audit(transport: Transport, workspace: str, goal_id: str) -> AuditStatus | None:
    """The auditor's final word, None if it does not come in time."""
    with anyio.move_on_after(AUDIT_S):
        while True:
            with suppress(Unavailable):
                audited = await read_audit(transport, workspace, goal_id)
                if audited is not None:
                    return audited
            await anyio.sleep(0.02)
    return None
