"""What everybody who may have to stop looks at: ControlSource. NO_CONTROL is for those whom nobody halts."""

from __future__ import annotations

import math
from typing import Protocol

import anyio

from interlock.bus.control.halts import Doing
from interlock.bus.hop import Postpone
from interlock.envelope.verdict import ALLOW, Reason, Verdict


class ControlSource(Protocol):
    """Whatever knows the halts now in force."""

    @property
    def until_s(self) -> float:
        """Until when, on `clock.boot_s`, what it says may be relied upon."""

    def verdict(self, doing: Doing) -> Verdict:
        """Whether this may be done now: allow, or deny with the reason `halted`."""

    async def until_allowed(self, doing: Doing) -> None:
        """Returns when it may be done."""

    async def until_halted(self, doing: Doing, for_ms: int) -> Verdict:
        """Returns when it could not be done for so long without a break."""


class NoControl:
    """Halts nothing."""

    @property
    def until_s(self) -> float:
        return math.inf

    def verdict(self, doing: Doing) -> Verdict:
        return ALLOW

    async def until_allowed(self, doing: Doing) -> None:
        return

    async def until_halted(self, doing: Doing, for_ms: int) -> Verdict:
        await anyio.sleep_forever()
        return ALLOW


NO_CONTROL = NoControl()


def proceed(control: ControlSource, doing: Doing) -> None:
    """The last check before anything that cannot be taken back. Raises Postpone (halted): what was begun is put off,
    and done again from its start once it may be.
    """
    verdict = control.verdict(doing)
    if not verdict.allowed:
        raise Postpone(Reason.HALTED, verdict.grounds[0].message)
