"""The trust store now in force: from disk at start, then from KV `trust`, never back to an older version."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import aclosing

import anyio

from interlock.bus.errors import BusError, Conflict
from interlock.bus.kv import kv_entries, kv_get, kv_put
from interlock.bus.transport import Transport
from interlock.envelope.trust import Trust, TrustError, load

log = logging.getLogger("interlock.trust")
BUCKET = "trust"


class TrustHolder:
    """What gates look at (gates.TrustSource)."""

    def __init__(self, trust: Trust, roots: Sequence[str]) -> None:
        self._trust = trust
        self._roots = tuple(roots)

    @property
    def trust(self) -> Trust:
        return self._trust

    def offer(self, data: bytes) -> bool:
        """Takes a store over if the roots signed it and it is not older. Whatever else is offered changes nothing."""
        try:
            offered = load(data, self._roots, oldest_version=self._trust.version)
        except TrustError as error:
            log.warning("%s", error)
            return False
        if offered.workspace != self._trust.workspace:
            log.warning("trust store of workspace %s refused", offered.workspace)
            return False
        self._trust = offered
        return True

    async def follow(self, transport: Transport) -> None:
        """Takes over what is published, for ever."""
        while True:
            try:
                async with aclosing(kv_entries(transport, BUCKET, follow=True)) as entries:
                    async for entry in entries:
                        if entry.key == self._trust.workspace:
                            self.offer(entry.value)
            except BusError as error:
                log.warning("trust updates: %s", error)
            await anyio.sleep(1)


async def publish_trust(transport: Transport, workspace: str, data: bytes, roots: Sequence[str]) -> None:
    """Puts the store on disk into KV unless that or a newer one is there already."""
    entry = await kv_get(transport, BUCKET, workspace)
    if entry is not None and (entry.value == data or _version(entry.value, roots) > _version(data, roots)):
        return
    try:
        await kv_put(transport, BUCKET, workspace, data, revision=0 if entry is None else entry.revision)
    except Conflict:
        return  # another `up` was first with the same file


def _version(data: bytes, roots: Sequence[str]) -> int:
    """0 for what the roots did not sign."""
    try:
        return load(data, roots).version
    except TrustError:
        return 0
