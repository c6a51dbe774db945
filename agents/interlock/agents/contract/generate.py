"""The contract of whoever has none yet: made and signed by the system, renewed by it until people take it over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.contract.configuration import ConfigurationDigests, configuration_digests
from interlock.agents.contract.store import load_contract, signers_of, stored_versions, write_version
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import ROOT, load_key
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.policies import policy_directories
from interlock.agents.workspace.settings import Settings
from interlock.envelope.amounts import Budget, clock_ms, timestamp
from interlock.envelope.contract import Contract, ContractAgent, EmergencyFlags, Quotas, sign_contract
from interlock.envelope.contract_chain import Chain, first
from interlock.envelope.keys import SigningKey
from interlock.envelope.kind_quota import KindQuota
from interlock.envelope.trust import Trust

GATES = [f"G{number}" for number in range(9)]


def ensure_contract(layout: Layout, settings: Settings, config: Path) -> Chain:
    """The chain on disk; version 1 where there is none. One that the system made itself follows configuration, settings
    and trust store with a new version; one that people have proposed, frozen or halted is left as it is. Raises UserError.
    """
    signers = signers_of(layout)
    digests = configuration_digests(
        config, playbook_directories(layout, settings), policy_directories(layout, settings)
    )
    limit, issued_at = settings.day_limit.amount.budget, timestamp(clock_ms())
    wanted = generated(signers.trust, digests, limit, issued_at, settings.kind_quotas)
    if not stored_versions(layout):
        chain = first(sign_contract(wanted, [_root(layout)]), signers.trust.workspace, signers)
    else:
        chain = load_contract(layout)
        head = chain.head.contract
        current = replace(head, contract_version=1, previous_contract_ref=None, issued_at=wanted.issued_at)
        if head.origin != "generated" or head.lifecycle != "active" or current == wanted:
            return chain
        if head.emergency_flags != EmergencyFlags() or not (layout.keys / f"{ROOT}.nk").exists():
            return chain
        chain = chain.extended(sign_contract(following(chain, wanted), [_root(layout)]), signers)
    write_version(layout, chain.head)
    return chain


def generated(
    trust: Trust, digests: ConfigurationDigests, limit: Budget, issued_at: str, kinds: Sequence[KindQuota] = ()
) -> Contract:
    """Version 1: every agent of the trust store, the configuration as it is, quotas no narrower than the day's limit, and
    what the settings let work of a kind cost.
    """
    agents = sorted(
        (ContractAgent(agent=record.agent, capabilities=record.capabilities) for record in trust.store.agents),
        key=lambda entry: entry.agent,
    )
    return Contract(
        workspace=trust.workspace,
        contract_version=1,
        previous_contract_ref=None,
        issued_at=issued_at,
        origin="generated",
        policy_bundle_checksum=digests.policy_bundle,
        kms_key_ref=_auditor_key(trust),
        lifecycle="active",
        emergency_flags=EmergencyFlags(),
        quotas=Quotas(per_goal=limit, per_day=limit, kinds=list(kinds) or UNSET),
        agents=agents,
        gates=GATES,
        checksums=digests.checksums,
    )


def following(chain: Chain, contract: Contract) -> Contract:
    """The same content as the next version of the chain, issued no earlier than the one before."""
    head = chain.head
    return replace(
        contract,
        contract_version=head.contract.contract_version + 1,
        previous_contract_ref=head.ref,
        issued_at=max(contract.issued_at, head.contract.issued_at),
    )


def playbook_directories(layout: Layout, settings: Settings) -> Sequence[Path]:
    """As the roles are given them."""
    return tuple((layout.root / name).resolve() for name in settings.playbooks)


def _auditor_key(trust: Trust) -> str:
    record = next((entry for entry in trust.store.agents if entry.agent == "auditor"), None)
    if record is None or not record.keys:
        raise UserError("no_key", "the trust store has no key of an auditor, who signs bundles", "Enrol one")
    return f"ed25519-nkey:{record.keys[-1].key_id}"


def _root(layout: Layout) -> SigningKey:
    return load_key(layout, ROOT)
