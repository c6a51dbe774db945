"""Giving orders: stored first, so that they outlive everybody, then announced, so that they are heard at once."""

from __future__ import annotations

from contextlib import aclosing

from interlock.bus.control.halts import Halts
from interlock.bus.control.holder import BUCKET
from interlock.bus.control.orders import (
    ALL,
    ControlOrder,
    Verb,
    check_order,
    is_in_place,
    read_order,
    scope_key,
    sign_order,
)
from interlock.bus.errors import Conflict, Unavailable
from interlock.bus.kv import kv_entries, kv_put
from interlock.bus.sender import Identity
from interlock.bus.streams import kv_stream, kv_subject
from interlock.bus.transport import Transport
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust

ATTEMPTS = 8


async def give_order(
    transport: Transport, workspace: str, identity: Identity, verb: Verb, scope: str, why: str
) -> ControlOrder:
    """Signs, stores and announces. Raises ValueError for what is no scope; Unavailable when it could not be stored,
    and then it was announced nevertheless: who hears it obeys it, until it is told otherwise or starts anew.
    """
    key = scope_key(workspace, scope)
    for _ in range(ATTEMPTS):
        last = 0
        try:
            stored = await transport.last(kv_stream(BUCKET), kv_subject(BUCKET, key))
            known = None if stored is None else read_order(stored.data)
            last = 0 if known is None else known.number
            data = _signed(transport, workspace, identity, verb, scope, why, last)
            await kv_put(transport, BUCKET, key, data, revision=0 if stored is None else stored.sequence)
        except Conflict:
            continue  # somebody else gave an order for the scope: ours comes after it
        except Unavailable:
            await _announce(transport, workspace, verb, _signed(transport, workspace, identity, verb, scope, why, last))
            raise
        await _announce(transport, workspace, verb, data)
        return _read(data)
    raise Conflict(f"{ATTEMPTS} others gave orders for {scope} first", "See `interlock halts`, then try again")


async def halts_of(transport: Transport, workspace: str, trust: Trust) -> Halts:
    """The halts in force by what is stored, each order checked as every actor does."""
    halts = Halts()
    for prefix in (workspace, ALL):
        async with aclosing(kv_entries(transport, BUCKET, prefix)) as entries:
            async for entry in entries:
                order = read_order(entry.value)
                if order is None or not is_in_place(order, entry.key):
                    continue
                if check_order(order, trust, entry.stored_ms).ok:
                    halts.take(order, stored=True)
    return halts


def _signed(
    transport: Transport, workspace: str, identity: Identity, verb: Verb, scope: str, why: str, after: int
) -> bytes:
    return sign_order(
        identity.key,
        workspace=workspace,
        scope=scope,
        verb=verb,
        why=why,
        by=identity.agent,
        at_ms=transport.clock.now_ms(),
        after=after,
    )


async def _announce(transport: Transport, workspace: str, verb: Verb, data: bytes) -> None:
    await transport.send(workspace_subject(workspace, "control", verb), data)


def _read(data: bytes) -> ControlOrder:
    order = read_order(data)
    if order is None:
        raise ValueError("an order that cannot be read back")
    return order
