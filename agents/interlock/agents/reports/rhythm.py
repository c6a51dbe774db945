"""The production rhythm, hosted by the auditor: each report that is due is issued once, a missed one made up for
(seed 004, §2). The broker's reminders wake it; what is due, the clock and the log say.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from msgspec import Struct

from interlock.agents.deviations.fold import Deviation
from interlock.agents.reports.cost import Day
from interlock.agents.reports.gathering import Sources, began_ms
from interlock.agents.reports.issuing import earlier_day, is_issued, issue, laid_out, written
from interlock.agents.reports.making import REMEMBERED_DAYS, Kind, make_report
from interlock.agents.reports.periods import DAY_MS, Length, Period, ending, next_end, over
from interlock.bus.control.giving import give_order
from interlock.bus.control.orders import WORKSPACE
from interlock.bus.errors import BusError
from interlock.bus.schedules import remind
from interlock.bus.sender import Identity
from interlock.bus.streams import reports_of
from interlock.bus.tasks import background
from interlock.bus.transport import Incoming

log = logging.getLogger("interlock.reports")
REMINDER = "report"
REGULAR: dict[Length, tuple[Kind, ...]] = {
    "day": ("cost", "signatures", "carbon"),
    "week": ("attestation", "compliance"),
}
MADE_UP = {"day": 31, "week": 5}  # periods back; what is older is not made up for
RETRY_S = 60


class Rhythm(Struct, frozen=True):
    """tree: directory for the files by date; None: in the broker's store alone. deviations: reads them as they stand."""

    sources: Sources
    identity: Identity
    config: Path
    region: str
    deviations: Callable[[], Awaitable[Sequence[Deviation]]]
    tree: Path | None = None

    async def make_up(self) -> int:
        """Issues whatever is due, oldest first; answers how many. Raises BusError."""
        began = await began_ms(self.sources)
        issued = 0
        if began is None:
            return 0
        for length, kinds in REGULAR.items():
            for period in over(length, began, self._now_ms(), MADE_UP[length]):
                for kind in kinds:
                    issued += await self._issued(kind, period)
        return issued

    async def _issued(self, kind: Kind, period: Period) -> bool:
        transport, workspace = self.sources.transport, self.sources.workspace
        if await is_issued(transport, workspace, kind, period):
            return False
        report = await make_report(
            self.sources,
            kind,
            period,
            config=self.config,
            region=self.region,
            deviations=await self.deviations(),
            days=await self._days_before(period) if kind == "cost" else None,
        )
        if kind == "attestation" and report["summary"]["pausesProduction"]:
            # Before it is issued: a crash between the two halts again, never not at all.
            why = f"the attestation of {period.name} is FAIL: {report['alerts'][0]['text']}"[:1000]
            await give_order(transport, workspace, self.identity, "halt", WORKSPACE, why)
        files = await written(report, self.identity.key)
        if not await issue(transport, workspace, kind, period, files):
            return False
        log.info("report %s is issued", files.name)
        if self.tree is not None:
            try:
                await laid_out(files, self.tree, period)
            except OSError as error:  # the store has it; see `interlock report`
                log.warning("report %s could not be written to %s: %s", files.name, self.tree, error)
        return True

    async def _days_before(self, period: Period) -> list[Day]:
        """Earlier reports: days before the first of them cost nothing."""
        found: list[Day] = []
        for number in range(REMEMBERED_DAYS, 0, -1):
            day = ending("day", period.end_ms - number * DAY_MS)
            known = await earlier_day(self.sources.transport, self.sources.workspace, day)
            if known is not None or found:
                found.append(known or Day(day.name, 0, 0))
        return found

    async def set_reminders(self) -> None:
        """One for each length; the same again replaces it."""
        for length in REGULAR:
            due_ms = next_end(length, self._now_ms())
            await remind(self.sources.transport, self.sources.workspace, REMINDER, length, due_ms=due_ms)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Makes up for what was missed, then issues what reminders tell of."""
        turn = anyio.Lock()

        async def once() -> None:
            async with turn:
                await self.set_reminders()  # first: what ends while reports are made has a reminder of its own
                await self.make_up()

        async def at_start() -> None:
            while True:
                try:
                    return await once()
                except BusError as error:
                    log.warning("reports: %s", error)
                    await anyio.sleep(RETRY_S)

        async def on_reminder(incoming: Incoming) -> None:
            try:
                await once()
                await incoming.ack()
            except BusError as error:
                log.warning("reports: %s", error)
                await incoming.retry(RETRY_S * 1000)

        reminders = self.sources.transport.consume(reports_of(self.sources.workspace), on_reminder, concurrency=1)
        async with background() as group, reminders:
            group.start_soon(at_start)
            yield

    def _now_ms(self) -> int:
        return self.sources.transport.clock.now_ms()
