"""The key a running role holds: exchanged for its successor while the role goes on."""

from __future__ import annotations

import logging

import anyio

from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import Stamps, key_stamps, load_key
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.trust_source import TrustHolder
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.envelope.amounts import clock_ms
from interlock.envelope.keys import HeldKey
from interlock.envelope.trust_changes import good_keys

log = logging.getLogger("interlock.keys")
LOOK_MS = 250


async def keep_current(
    layout: Layout, agent: str, key: HeldKey, trust: TrustHolder, transport: JetStreamTransport
) -> None:
    """Takes the agent's key file over whenever it holds another key that is trusted by now. For ever."""
    looked_at: Stamps | None = None
    while True:
        await anyio.sleep(LOOK_MS / 1000)
        stamps = key_stamps(layout, agent)
        if stamps == looked_at:
            continue
        try:
            found = load_key(layout, agent)
        except UserError as error:
            log.warning("%s", error)
            continue
        if found.key_id == key.key_id:
            looked_at = stamps
            continue
        looked_at = None
        enrolled = trust.trust.find(found.key_id)
        store, now_ms = trust.trust.store, clock_ms()
        if enrolled is None or found.key_id not in {good.key_id for good in good_keys(store, enrolled.agent, now_ms)}:
            continue
        log.info("from now on %s signs with %s", agent, found.key_id)
        key.become(found)
        await transport.log_in_again()
