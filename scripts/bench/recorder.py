"""The auditor's recorder beside the hops of hops.py, in a process of its own: what it costs, and what it costs them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from interlock.agents.audit.hop_graph import Memo, audit_hops
from interlock.agents.audit.log.recorder import Recorder
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.streams import HOPS
from interlock.bus.transport import Message
from interlock.envelope.keys import SigningKey
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits

TICK_S = 0.02


class Counting(Recorder):
    """Says how far HOPS is recorded."""

    @property
    def hops(self) -> int:
        return self._chain.positions.get(HOPS.name, 0)


async def record(url: str, count: int, options: Any) -> dict[str, float]:
    """Until so many hops are recorded. options: when it is ready, whose keys are believed, None to record and not to judge."""
    ready, trust = options

    async def unseen(_: Message) -> str:
        return "not_judged"

    async with JetStreamTransport.connect(url, name="auditor") as transport:
        observe = unseen if trust is None else judging(trust)
        recorder = Counting(transport, "default", SigningKey(b"auditor".ljust(32, b".")), observe=observe)
        task = asyncio.create_task(recorder.run())
        await asyncio.sleep(0.2)
        ready.set()
        began_cpu = time.process_time()
        async with asyncio.timeout(120):
            while recorder.hops < count:
                await asyncio.sleep(TICK_S)
        cpu = time.process_time() - began_cpu
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return {"cpu": cpu}


def judging(trust: Trust) -> Any:
    """Every hop by itself, as the auditor sees it."""
    memo, limits = Memo(), Limits()

    async def observe(message: Message) -> str:
        return str(audit_hops([message], trust, limits, memo).hops[0].reason)

    return observe
