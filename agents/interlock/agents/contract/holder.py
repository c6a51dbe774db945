"""The contract now in force: from disk at start, then from KV `contracts`, never another version under a known number."""

from __future__ import annotations

import logging
from contextlib import aclosing

import anyio

from interlock.bus.errors import BusError, Conflict
from interlock.bus.gates import TrustSource
from interlock.bus.kv import Entry, kv_entries, kv_get, kv_put
from interlock.bus.transport import Transport
from interlock.envelope.contract_chain import Chain, ContractError, Signers, Version

log = logging.getLogger("interlock.contract")
BUCKET = "contracts"


class ContractHolder:
    """What gates look at (gates.ContractSource). A version counts from when the broker stored it, so that a revoked
    key cannot sign one dated back.
    """

    def __init__(self, chain: Chain, roots: tuple[str, ...], trust: TrustSource) -> None:
        self._chain = chain
        self._roots = roots
        self._trust = trust

    @property
    def chain(self) -> Chain:
        return self._chain

    def offer(self, data: bytes, seen_ms: int) -> bool:
        """Takes the next version over if it can be believed. Whatever else is offered changes nothing."""
        if any(version.data == data for version in self._chain.versions):
            return False
        try:
            self._chain = self._chain.extended(data, Signers(self._roots, self._trust.trust), seen_ms)
        except ContractError as error:
            log.error("%s", error)
            return False
        log.info("contract version %s is in force", self._chain.head.contract.contract_version)
        return True

    async def follow(self, transport: Transport) -> None:
        """Takes over what is published, for ever."""
        workspace = self._chain.head.contract.workspace
        while True:
            try:
                async with aclosing(kv_entries(transport, BUCKET, workspace, follow=True)) as entries:
                    async for entry in entries:
                        self.offer(entry.value, entry.stored_ms)
            except BusError as error:
                log.warning("contract updates: %s", error)
            await anyio.sleep(1)


def key_of(version: Version) -> str:
    """Where a version is kept: one key each, written once."""
    return f"{version.contract.workspace}.v{version.contract.contract_version:06d}"


async def publish_contract(transport: Transport, chain: Chain) -> None:
    """Puts what is missing of the chain into KV. Raises ContractError `forked` if another version is there under the
    same number.
    """
    for version in chain.versions:
        entry = await kv_get(transport, BUCKET, key_of(version))
        if entry is None:
            try:
                await kv_put(transport, BUCKET, key_of(version), version.data, revision=0)
                continue
            except Conflict:
                entry = await kv_get(transport, BUCKET, key_of(version))
        if entry is None or entry.value != version.data:
            number = version.contract.contract_version
            raise ContractError("forked", f"the broker holds another version {number} than this workspace")


async def published_after(transport: Transport, chain: Chain) -> list[Entry]:
    """What KV holds beyond the chain, oldest first; nothing of it is believed."""
    workspace = chain.head.contract.workspace
    known = {key_of(version) for version in chain.versions}
    found = [entry async for entry in kv_entries(transport, BUCKET, workspace) if entry.key not in known]
    return sorted(found, key=lambda entry: entry.key)
