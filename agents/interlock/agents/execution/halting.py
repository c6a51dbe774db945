"""A run under halts: the last check before it begins, and its end when it is halted on its way (GOV-07)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from interlock.bus.control.halts import Doing
from interlock.bus.control.source import ControlSource, proceed
from interlock.bus.hop import Postpone
from interlock.envelope.verdict import Reason

if TYPE_CHECKING:
    from interlock.skills.runner import BeginBy, RunResult

# How often it is looked whether a run is halted.
LOOK_S = 0.02
Begin = Callable[["BeginBy"], Awaitable["RunResult"]]


class HaltedRun(Postpone):
    """The run was halted. begun: its handler may have been called."""

    def __init__(self, detail: str, *, begun: bool) -> None:
        super().__init__(Reason.HALTED, detail)
        self.begun = begun


def is_free(control: ControlSource, doing: Doing) -> bool:
    """Whether nothing halts it; not if that cannot be told."""
    try:
        return control.verdict(doing).allowed
    except Exception:  # the watcher meets it too, and says so
        return False


async def run_unless_halted(control: ControlSource, doing: Doing, grace_ms: int, begin: Begin) -> RunResult:
    """Begins the run unless it is halted, also if that happens while it waits for its turn; ends it when it has been
    halted for grace_ms. It is looked every LOOK_S, which costs a tenth of a task that waits for it; only a run that is halted
    has one. Raises HaltedRun.
    """
    begun, why = False, ""
    loop, scope = asyncio.get_running_loop(), anyio.CancelScope()
    watchers: list[asyncio.Task[None]] = []
    later: asyncio.TimerHandle

    def begin_by() -> float:
        nonlocal begun
        proceed(control, doing)
        begun = True
        return 0.0 if math.isinf(control.until_s) else control.until_s

    async def watch() -> None:
        nonlocal why
        try:
            verdict = await control.until_halted(doing, grace_ms)
            why = f"stopped {grace_ms} ms after it was halted: {verdict.grounds[0].message}"
        except Exception as error:  # what cannot be told counts as halted
            why = f"stopped, for whether it is halted cannot be told: {type(error).__name__}: {error}"
        scope.cancel()

    def look() -> None:
        nonlocal later
        if is_free(control, doing):
            later = loop.call_later(LOOK_S, look)
        else:
            watchers.append(loop.create_task(watch()))

    later = loop.call_later(LOOK_S, look)
    result: RunResult | None = None
    try:
        with scope:
            result = await begin(begin_by)
    except Postpone as error:
        raise HaltedRun(error.detail, begun=begun) from error
    finally:
        later.cancel()
        for watcher in watchers:
            watcher.cancel()
        if watchers:
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*watchers, return_exceptions=True)
    if result is None:
        raise HaltedRun(why, begun=begun)
    if result.outcome == "not_started":
        raise HaltedRun(result.detail, begun=False)
    return result
