"""Alerts at 80 and 90 percent of a budget (GOV-05): one record each on `audit.alert.<scope>.<percent>`, once for ever.

The auditor writes them from the balances that the ledger sealed: the ledger's own host may not write AUDIT.
"""

from __future__ import annotations

import logging

import msgspec

from interlock.bus.errors import Conflict
from interlock.bus.ledger.balance import ALERTS, Balance, used_percent
from interlock.bus.transport import Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.subjects import workspace_subject

log = logging.getLogger("interlock.alerts")


def alert_subject(workspace: str, scope: str, percent: int) -> str:
    """Each alert has a subject of its own, which takes one message: a second writer is refused by the broker."""
    return workspace_subject(workspace, "audit", "alert", *scope.split("."), str(percent))


async def write_alerts(transport: Transport, workspace: str, balance: Balance, at_ms: int) -> list[int]:
    """Writes what the balance gives cause for and gives the percents that were new. Raises BusError."""
    written = []
    for percent in ALERTS:
        if percent > balance.alerted:
            continue
        data = msgspec.json.encode(
            {
                "scope": balance.scope,
                "percent": percent,
                "reached": used_percent(balance),
                "at": timestamp(at_ms),
                "limit": balance.limit.budget,
                "used": balance.used.budget,
                "reserved": balance.reserved.budget,
            }
        )
        try:
            await transport.publish(alert_subject(workspace, balance.scope, percent), data, expected_sequence=0)
        except Conflict:
            continue  # it was given before
        log.warning("%s has used or reserved %s %% of its limit", balance.scope, percent)
        written.append(percent)
    return written
