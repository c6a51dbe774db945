"""A deviation's playbook as a goal (ROL-12): what the auditor knew is frozen into its inputs, and it goes through intake,
review, budget and audit like any other goal.

The goal's id follows from the deviation's, so that however often it is handed in there is one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from interlock.agents.audit.hop_graph import HopAudit
from interlock.agents.audit.log.sources import checkpoint_subject
from interlock.agents.deviations.fold import Deviation, Kind, State
from interlock.agents.status import read_status
from interlock.bus.control.giving import halts_of
from interlock.bus.ledger.balance import Balance
from interlock.bus.ledger.stored import stored_balance
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import AUDIT
from interlock.bus.transport import MESSAGE_ID, Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.ids import new_id
from interlock.envelope.subjects import workspace_subject

log = logging.getLogger("interlock.incidents")
PLAYBOOKS: dict[Kind, str] = {"cost_breach": "incident-budget-breach"}
AGAIN_MS = 60_000
MAX_HOPS = 200
BUDGET = {"costUSD": "0.10", "wallMs": 600_000, "actions": 50}
AuditOf = Callable[[str], Awaitable[HopAudit]]


class Incidents:
    """Hands in the goal of every open deviation that has a playbook, again each minute until the goal is there."""

    def __init__(self, transport: Transport, workspace: str, seals: Seals, audit: AuditOf) -> None:
        self._transport = transport
        self._workspace = workspace
        self._trust = seals.trust
        self._ledger = Seals(Identity("gateway", seals.identity.key), seals.trust)
        self._audit = audit
        self._handed_in_ms: dict[str, int] = {}
        self._there: set[str] = set()

    async def respond(self, one: Deviation, state: State) -> None:
        """Nothing for what has no playbook, nor for what an incident's own goal did. Raises BusError."""
        playbook = PLAYBOOKS.get(one.kind)
        if playbook is None or one.id in self._there or _is_of_an_incident(one, state):
            return
        now_ms = self._transport.clock.now_ms()
        if now_ms - self._handed_in_ms.get(one.id, -AGAIN_MS) < AGAIN_MS:
            return
        goal_id = incident_goal(one)
        if await read_status(self._transport, self._workspace, goal_id) is not None:
            self._there.add(one.id)
            self._handed_in_ms.pop(one.id, None)
            return
        data = msgspec.json.encode(goal_of(one, playbook, await self._facts(one)))
        subject = workspace_subject(self._workspace, "goal", "submit")
        await self._transport.send(subject, data, headers={MESSAGE_ID: goal_id})
        self._handed_in_ms[one.id] = now_ms
        log.warning("deviation %s: goal %s runs %s", one.id, goal_id, playbook)

    async def _facts(self, one: Deviation) -> dict[str, Any]:
        halts = await halts_of(self._transport, self._workspace, self._trust.trust)
        note = await self._transport.last(AUDIT.name, checkpoint_subject(self._workspace))
        kind, _, name = one.about.partition(":")
        found = await stored_balance(self._transport, self._workspace, f"{kind}.{name}", self._ledger) if name else None
        hops = (await self._audit(name)).hops if kind == "goal" else []
        return {
            "haltsInForce": [order.scope for order in halts.in_force][:100],
            "checkpoint": "" if note is None else note.data.decode("utf-8", "replace")[:2_000],
            "budget": {} if found is None else _budget(found[0]),
            "hops": [
                {
                    "sequence": hop.sequence,
                    "from": hop.envelope.sender if hop.envelope is not None else "unknown",
                    "digest": hop.digest,
                    "verdict": str(hop.reason),
                }
                for hop in hops[-MAX_HOPS:]
            ],
        }


def incident_goal(one: Deviation) -> str:
    """The id of a deviation's goal."""
    return new_id(one.opened_ms, hashlib.sha256(one.id.encode()).digest()[:10])


def goal_of(one: Deviation, playbook: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The goal as it is handed in."""
    incident = {
        "id": one.id,
        "kind": one.kind,
        "about": one.about,
        "halts": one.halts,
        "detail": one.detail,
        "evidence": one.evidence,
        "openedAt": timestamp(one.opened_ms),
        "deadlineAt": timestamp(one.deadline_ms),
        **facts,
    }
    return {
        "goal": f"Answer incident {one.id}: {one.kind} of {one.about}",
        "constraints": [],
        "stakeholders": ["auditor"],
        "success_metrics": ["the incident is documented and contained"],
        "budget_limits": BUDGET,
        "playbook": playbook,
        "inputs": {"incident": incident},
    }


def _budget(balance: Balance) -> dict[str, dict[str, int]]:
    held = balance.used + balance.reserved
    return {
        name: {
            "usdMicro": amount.usd_micro,
            "tokens": amount.tokens,
            "wallMs": amount.wall_ms,
            "actions": amount.actions,
        }
        for name, amount in (("limit", balance.limit), ("held", held))
    }


def _is_of_an_incident(one: Deviation, state: State) -> bool:
    return one.about in {f"goal:{incident_goal(other)}" for other in state.values()}
