"""Disk and broker made to hold the same chain: each is given what only the other has."""

from __future__ import annotations

from interlock.agents.contract.holder import publish_contract, published_after
from interlock.agents.contract.store import signers_of, write_version
from interlock.agents.errors import UserError
from interlock.agents.workspace.layout import Layout
from interlock.bus.transport import Transport
from interlock.envelope.contract_chain import Chain, ContractError

_MEND = "One of the two was tampered with: compare with a bundle, or with another machine's .interlock/contracts"


async def exchange(transport: Transport, layout: Layout, chain: Chain) -> Chain:
    """The chain with what the broker had beyond it, written to disk. Raises UserError if the two disagree."""
    signers = signers_of(layout)
    try:
        await publish_contract(transport, chain)
        for entry in await published_after(transport, chain):
            chain = chain.extended(entry.value, signers, entry.stored_ms)
            write_version(layout, chain.head)
    except ContractError as error:
        raise UserError(error.reason, str(error), _MEND, 2) from error
    return chain
