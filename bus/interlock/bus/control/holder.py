"""The halts in force, as one actor knows them, and its control lease (GOV-07).

Every poll_ms the holder asks the leader of KV `control` for orders after the last it has seen; announcements on
`control.*` are heard besides, so that an order takes effect at once. Each answer renews the lease from the moment the
question was asked. Whoever has had no answer for lease_ms cannot know whether he was halted, and behaves as if he were:
so an order is in force everywhere within lease_ms of being stored, also where nothing of it was heard.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable

import anyio
from msgspec import Struct

from interlock.bus.clock import boot_s
from interlock.bus.control.halts import Doing, Halts, halted
from interlock.bus.control.orders import ALL, ControlOrder, check_order, is_in_place, read_order
from interlock.bus.errors import BusError
from interlock.bus.gates import TrustSource
from interlock.bus.streams import kv_stream, kv_subject
from interlock.bus.tasks import background
from interlock.bus.transport import Message, Transport
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verdict import Reason, Verdict

log = logging.getLogger("interlock.control")
BUCKET = "control"
# Announcements looked at per poll: a signature costs 50 µs, and who floods is not to keep an actor from its work. What
# is passed over is found by the next poll, for only those who may give orders may store them.
ANNOUNCED = 32
GLANCE_S = 0.05


class ControlSettings(Struct, frozen=True, kw_only=True):
    """lease_ms: how long an actor goes on without an answer from the broker; it bounds the time within which a halt
    takes effect. poll_ms: how often it asks. grace_ms: how long a running skill may go on after a halt.
    """

    lease_ms: int = 900
    poll_ms: int = 250
    grace_ms: int = 2_000


class ControlHolder:
    """A ControlSource that follows the broker. Until the first answer everything is halted."""

    def __init__(
        self,
        workspace: str,
        trust: TrustSource,
        settings: ControlSettings | None = None,
        *,
        flag: Callable[[], str] = str,
        now_s: Callable[[], float] = boot_s,
    ) -> None:
        """flag: another authority that may halt the workspace (the contract's emergencyFlags.halted): why, or empty.
        now_s: the lease's clock.
        """
        self._workspace = workspace
        self._trust = trust
        self._settings = settings or ControlSettings()
        self._now_s = now_s
        self._heard_s: float | None = None
        self._halts = Halts()
        self._flag = flag
        self._flagged = ""
        self._changed = anyio.Event()
        self._next = dict.fromkeys((f"{workspace}.>", f"{ALL}.>"), 1)
        self._trust_version = 0
        self._announced = 0
        self.refused: Counter[Reason] = Counter()

    @property
    def until_s(self) -> float:
        """When the lease ends, on now_s."""
        return -math.inf if self._heard_s is None else self._heard_s + self._settings.lease_ms / 1000

    @property
    def in_force(self) -> list[ControlOrder]:
        return self._halts.in_force

    def verdict(self, doing: Doing) -> Verdict:
        if self._now_s() > self.until_s:
            return halted(f"no word from the broker for {self._settings.lease_ms} ms: the control lease has run out")
        why = self._flag()
        return halted(why) if why else self._halts.judge(doing)

    def offer(self, data: bytes, seen_ms: int, *, stored: bool) -> Reason:
        """Obeys an order if it is one to be obeyed; whatever else it is changes nothing but a counter."""
        order = read_order(data)
        reason = Reason.MALFORMED if order is None else check_order(order, self._trust.trust, seen_ms).reason
        if order is None or reason is not Reason.OK:
            self.refused[reason] += 1
            if self.refused[reason] in (1, 10, 100) or self.refused[reason] % 1_000 == 0:
                log.warning("control orders refused as %s: %s so far", reason, self.refused[reason])
            return reason
        if self._halts.take(order, stored=stored):
            log.warning("%s %s by %s: %s", order.verb, order.scope, order.by, order.why)
            self._wake()
        return Reason.OK

    async def follow(self, transport: Transport) -> None:
        """Asks and listens for ever."""

        async def announced(message: Message) -> None:
            self._announced += 1
            if self._announced <= ANNOUNCED:
                self.offer(message.data, transport.clock.now_ms(), stored=False)

        subject = workspace_subject(self._workspace, "control", "*")
        async with background() as group:
            group.start_soon(self._poll_for_ever, transport)
            async with transport.subscribe(subject, announced):
                await anyio.sleep_forever()

    async def poll(self, transport: Transport) -> None:
        """Takes every order that was stored up to now, and renews the lease. Raises BusError, TimeoutError."""
        trust = self._trust.trust
        if trust.version != self._trust_version:  # orders by keys that were not enrolled before may be good now
            self._trust_version = trust.version
            self._next = dict.fromkeys(self._next, 1)
        asked_s = self._now_s()
        with anyio.fail_after(self._settings.lease_ms / 1000):
            for keys, place in self._next.items():
                message = await transport.after(kv_stream(BUCKET), kv_subject(BUCKET, keys), place)
                while message is not None:
                    self._take(message)
                    place = self._next[keys] = message.sequence + 1
                    message = await transport.after(kv_stream(BUCKET), kv_subject(BUCKET, keys), place)
        was_over, flagged = self._now_s() > self.until_s, self._flag()
        self._heard_s = asked_s
        if was_over or flagged != self._flagged:
            self._flagged = flagged
            self._wake()

    async def until_allowed(self, doing: Doing) -> None:
        while True:
            changed = self._changed
            if self.verdict(doing).allowed:
                return
            await changed.wait()

    async def until_halted(self, doing: Doing, for_ms: int) -> Verdict:
        since_s: float | None = None
        while True:
            changed, verdict, now_s = self._changed, self.verdict(doing), self._now_s()
            if verdict.allowed:
                since_s = None
            else:
                since_s = now_s if since_s is None else since_s
                if now_s - since_s >= for_ms / 1000:
                    return verdict
            with anyio.move_on_after(GLANCE_S):  # a lease that runs out wakes nobody
                await changed.wait()

    async def _poll_for_ever(self, transport: Transport) -> None:
        while True:
            self._announced = 0
            try:
                await self.poll(transport)
            except (BusError, TimeoutError) as error:
                log.debug("control poll: %s", error)
            await anyio.sleep(self._settings.poll_ms / 1000)

    def _take(self, message: Message) -> None:
        key = message.subject.removeprefix(kv_subject(BUCKET, ""))
        order = read_order(message.data)
        if order is not None and not is_in_place(order, key):
            self.refused[Reason.WRONG_SUBJECT] += 1
            return
        if message.data:  # a key that somebody deleted halts and resumes nothing
            self.offer(message.data, message.stored_ms, stored=True)

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
