"""A release is held against what the others said: what an orchestrator gone wrong releases is found, and no goal begins."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from interlock.agents.audit.hop_graph import HopAudit, audit_hops
from interlock.agents.audit.release import release_problems
from interlock.agents.wiring import ROLES, running
from interlock.bus.control.giving import halts_of
from interlock.envelope.payloads import AuditReport, Completion, PlanVerdict, Verification

pytestmark = pytest.mark.anyio
TASKS = [{"id": "a", "skill": "doing-nothing"}]
Change = Callable[[Any], Any]


async def released(house: Any) -> HopAudit:
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, house.parts(role)))
        status = await house.run(house.goal(TASKS))
        assert status.outcome == "released"
        return audit_hops(await house.messages("HOPS", "role", "*", status.goal_id, ">"), house.keys.trust)


def told(audit: HopAudit, kind: type, change: Change | None) -> HopAudit:
    """The goal with its payloads of a kind changed, or without them."""
    hops = []
    for hop in audit.hops:
        if hop.envelope is None or not isinstance(hop.envelope.payload, kind):
            hops.append(hop)
        elif change is not None:
            hops.append(replace(hop, envelope=replace(hop.envelope, payload=change(hop.envelope.payload))))
    return HopAudit(hops)


def failing(gates: Any) -> Any:
    return [replace(gates[0], passed=False), *gates[1:]]


CHEATS: list[tuple[type, Change | None, str]] = [
    (PlanVerdict, None, "no evaluator reviewed"),
    (PlanVerdict, lambda one: replace(one, decision="deny"), "denied its plan"),
    (PlanVerdict, lambda one: replace(one, decision="needs_approval"), "no human approved"),
    (PlanVerdict, lambda one: replace(one, gates=failing(one.gates)), "gate G1 has failed"),
    (Verification, None, "without an allowed result: a"),
    (Verification, lambda one: replace(one, decision="deny"), "without an allowed result: a"),
    (AuditReport, None, "no audit allowed it"),
    (AuditReport, lambda one: replace(one, decision="deny"), "no audit allowed it"),
    (Completion, lambda one: replace(one, gates=one.gates[1:]), "names were not passed: G0"),
    (Completion, lambda one: replace(one, gates=failing(one.gates)), "gate G0 has failed"),
]


async def test_every_release_that_lacks_something_is_told(quiet_house: Any) -> None:
    audit, chain = await released(quiet_house), quiet_house.keys.chain
    assert release_problems(audit, chain) == []
    for kind, change, found in CHEATS:
        assert found in "; ".join(release_problems(told(audit, kind, change), chain)), (kind, found)
    blocked = told(audit, Completion, lambda one: replace(one, outcome="blocked"))
    assert release_problems(told(blocked, AuditReport, None), chain) == [], "no release is claimed"
    unverified = HopAudit(
        [
            replace(hop, verified=hop.envelope is not None and not isinstance(hop.envelope.payload, AuditReport))
            for hop in audit.hops
        ]
    )
    assert release_problems(unverified, chain) == ["no audit allowed it"], "only what is signed counts"


async def test_a_release_without_the_contracts_gates_closes_the_intake(quiet_house: Any) -> None:
    """An orchestrator that does not look at the contract: all else of it is as it should be."""
    house = quiet_house
    house.keys.change_contract(gates=["G0", "G9"])
    async with AsyncExitStack() as stack:
        for role in ROLES:
            parts = house.parts(role)
            await stack.enter_async_context(
                running(role, replace(parts, contract=None) if role == "orchestrator" else parts)
            )
        goal_id = (await house.submit(house.goal(TASKS)))["goalId"]
        assert (await house.ended(goal_id)).outcome == "released"
        with anyio.fail_after(10):
            while True:
                halts = await halts_of(house.transport, house.workspace, house.keys.trust)
                if "role:gateway" in {order.scope for order in halts.in_force}:
                    break
                await anyio.sleep(0.01)
        records = b"".join(one.data for one in await house.messages("AUDIT", "audit", ">"))
        assert b"gates that the contract names were not passed: G9" in records
