"""The gateway's process put together: intake, the ledger writer, and the closing of goals that have ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from interlock.agents.contract.admission import Admission, Unbound, UnderContract
from interlock.agents.contract.configuration import configuration_digests
from interlock.agents.contract.kinds import kind_named
from interlock.agents.intake.closing import Closing
from interlock.agents.intake.gateway import GatewayRole
from interlock.agents.intake.persons import Persons
from interlock.agents.planning.catalogue import load_catalogue
from interlock.bus.ledger.client import day_scope
from interlock.bus.ledger.writer import LedgerWriter
from interlock.envelope.amounts import Amount
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.model import PolicyContext

if TYPE_CHECKING:
    from interlock.agents.parts import Parts

# A goal's scope is opened and closed in this process: whoever asks over the bus may only use what is open.
ASKED_OF_THE_LEDGER = frozenset({"reserve", "settle", "renew", "balance"})


def admission_of(parts: Parts) -> Admission:
    """Under the contract, where there is one; never under none that should be there: process.py always loads it."""
    digests = configuration_digests(parts.config, parts.playbooks, parts.policies)
    if parts.contract is not None:
        return UnderContract(parts.contract, digests)
    context = PolicyContext(policy_bundle=digests.policy_bundle, contract_ref="", capabilities=["skill:*"])
    return Unbound(context, parts.day_limit)


@asynccontextmanager
async def gateway_running(parts: Parts) -> AsyncIterator[None]:
    """The gateway with the ledger writer in its process."""
    admission = admission_of(parts)

    def day_limit() -> Amount:
        return parts.day_limit.at_most(admission.day_cap())

    def kinds(name: str) -> KindQuota | None:
        return None if parts.contract is None else kind_named(parts.contract.chain, name)

    writer = LedgerWriter(
        parts.transport, parts.workspace, day_limit, parts.seals, asked=ASKED_OF_THE_LEDGER, kinds=kinds
    )
    role = GatewayRole(
        parts.transport,
        parts.workspace,
        parts.sender,
        catalogue=load_catalogue(parts.config, parts.skills, parts.playbooks),
        ledger=writer,
        admission=admission,
        limits=parts.limits,
        named_only=parts.secured,
        control=parts.control,
        telemetry=parts.telemetry,
        token_key=parts.token_key,
        persons=Persons(parts.transport, parts.workspace) if parts.pseudonyms else None,
    )
    if parts.telemetry.metrics is not None:
        from interlock.agents.telemetry.gauges import show_day

        show_day(parts.telemetry.metrics, lambda: writer.known(day_scope(parts.transport.clock.now_ms())))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(writer.running())
        closing = Closing(parts.transport, parts.workspace, writer, parts.trust, parts.limits)
        await stack.enter_async_context(closing.running())
        await stack.enter_async_context(role.running())
        yield
