"""The next version of a trust store (GOV-01). Pure: a store in, a store out, one version higher.

A key is never removed: what it signed while it was good stays verifiable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from interlock.envelope.amounts import time_ms, timestamp
from interlock.envelope.trust import AgentRecord, KeyRecord, TrustStore


class UnknownKey(ValueError):
    """No agent has such a key."""


def enrolled(
    store: TrustStore, record: AgentRecord, key_id: str, *, now_ms: int, from_ms: int, until_ms: int
) -> TrustStore:
    """One key more for an agent. record: the agent as it is to be if it is not in the store yet."""
    key = KeyRecord(key_id=key_id, not_before=timestamp(from_ms), not_after=timestamp(until_ms))
    known = any(entry.agent == record.agent for entry in store.agents)
    agents = store.agents if known else [*store.agents, replace(record, keys=[])]
    changed = [replace(entry, keys=[*entry.keys, key]) if entry.agent == record.agent else entry for entry in agents]
    return _next(store, changed, now_ms)


def ended(store: TrustStore, key_id: str, *, now_ms: int, at_ms: int) -> TrustStore:
    """The key's time ends at at_ms, or earlier if it was to end earlier. Raises UnknownKey."""
    return _with_key(
        store, key_id, now_ms, lambda key: replace(key, not_after=timestamp(min(at_ms, time_ms(key.not_after))))
    )


def revoked(store: TrustStore, key_id: str, why: str, *, now_ms: int) -> TrustStore:
    """What is received or stored from now on counts no more, whatever time it claims. A key revoked before stays revoked
    as it was. Raises UnknownKey.
    """
    return _with_key(
        store,
        key_id,
        now_ms,
        lambda key: key if key.revoked_at else replace(key, revoked_at=timestamp(now_ms), revoked_why=why),
    )


def good_keys(store: TrustStore, agent: str, now_ms: int) -> list[KeyRecord]:
    """The keys that may sign as the agent now, the newest last."""
    keys = [key for record in store.agents if record.agent == agent for key in record.keys]
    good = [
        key for key in keys if key.revoked_at is None and time_ms(key.not_before) <= now_ms < time_ms(key.not_after)
    ]
    return sorted(good, key=lambda key: key.not_before)


def _with_key(store: TrustStore, key_id: str, now_ms: int, change: Callable[[KeyRecord], KeyRecord]) -> TrustStore:
    if all(key.key_id != key_id for record in store.agents for key in record.keys):
        raise UnknownKey(key_id)
    agents = [
        replace(record, keys=[change(key) if key.key_id == key_id else key for key in record.keys])
        for record in store.agents
    ]
    return _next(store, agents, now_ms)


def _next(store: TrustStore, agents: Sequence[AgentRecord], now_ms: int) -> TrustStore:
    return replace(store, version=store.version + 1, issued_at=timestamp(now_ms), agents=list(agents))
