"""Which limits on a kind of work hold: of a task those that its goal began under, of a day the newest ones (GOV-05)."""

from __future__ import annotations

from interlock.bus.gates import ContractSource
from interlock.bus.hop import Hop
from interlock.envelope.contract_chain import Chain
from interlock.envelope.kind_quota import KindQuota, kind_of
from interlock.envelope.payloads import Task


def kinds_of(chain: Chain, contract_ref: str) -> list[KindQuota]:
    """Those of the version that is named; of the newest where it is not known."""
    return (chain.find(contract_ref) or chain.head).contract.quotas.kinds_of_work


def kind_of_task(contract: ContractSource | None, hop: Hop) -> KindQuota | None:
    """The kind of work that a task is; None for what is no task, or not limited."""
    payload = hop.envelope.payload
    if contract is None or not isinstance(payload, Task):
        return None
    return kind_of(kinds_of(contract.chain, hop.envelope.policy_context.contract_ref), payload.skill)


def kind_named(chain: Chain, name: str) -> KindQuota | None:
    """As the newest version has it that knows it: goals go on under versions that later ones have left behind."""
    for version in reversed(chain.versions):
        for one in version.contract.quotas.kinds_of_work:
            if one.kind == name:
                return one
    return None
