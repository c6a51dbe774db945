"""A budget breach over both transports: the goal is halted, and the playbook runs as a goal of its own to its report."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.deviations.fold import Deviation, Event
from interlock.agents.deviations.incident import goal_of, incident_goal
from interlock.bus.control.giving import halts_of
from interlock.bus.ledger.balance import Request
from interlock.bus.ledger.client import LedgerClient, goal_scope
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.payloads import TaskResult
from interlock.envelope.verification import decode

pytestmark = pytest.mark.anyio


async def documents(house: Any, goal_id: str) -> dict[str, bytes]:
    """The files of a goal's tasks, by name."""
    found: dict[str, bytes] = {}
    for message in await house.messages("HOPS", "role", "evaluator", goal_id, "observe"):
        envelope = decode(message.data).envelope
        payload = envelope.payload if envelope is not None else None
        for file in payload.files if isinstance(payload, TaskResult) else ():
            found[file.name] = await house.transport.get_object("artifacts", file.digest)
    return found


async def test_a_breach_halts_its_goal_and_its_playbook_runs_to_the_report(house: Any) -> None:
    answer = await house.submit(house.goal([{"id": "t", "skill": "doing-nothing"}]))
    goal_id = answer["goalId"]
    ledger = LedgerClient(house.transport, house.workspace)
    asked = Request(
        op="reserve", scope=goal_scope(goal_id), key="x", amount=Amount(usd_micro=10**9), expires_ms=clock_ms() + 10**5
    )
    refused = await ledger.ask(asked)
    assert refused.reason == "over_budget"

    [first, *_] = await house.until("AUDIT", 1, "audit", "deviation")
    event = msgspec.json.decode(first.data, type=Event)
    assert (event.kind, event.halts) == ("cost_breach", f"goal:{goal_id}")
    with anyio.fail_after(10):
        while not (await halts_of(house.transport, house.workspace, house.keys.trust)).in_force:
            await anyio.sleep(0.01)

    [submitted] = [m for m in await house.until("GOALS", 2, "goal", "submit") if b"incident-budget-breach" in m.data]
    incident = msgspec.json.decode(submitted.data)["inputs"]["incident"]
    assert incident["id"] == event.id
    status = await house.ended(submitted.headers["Nats-Msg-Id"])
    assert status.outcome == "released", status.grounds
    assert (status.tasks_done, status.tasks_total) == (5, 5)
    files = await documents(house, status.goal_id)
    snapshot = msgspec.json.decode(files["audit_snapshot.json"])["incident"]
    assert snapshot["haltsInForce"] == [f"goal:{goal_id}"]
    assert snapshot["budget"]["limit"]["usdMicro"] == 1_000_000
    report = files["incident_report.md"].decode()
    for section in ("Detect", "Respond", "Investigate", "Remediate", "Communicate"):
        assert f"## {section}" in report
    assert f"`goal:{goal_id}` is halted" in report


def test_a_deviation_has_one_goal() -> None:
    one = Deviation(id="d-1", kind="cost_breach", about="goal:g", halts="goal:g", detail="", evidence="", opened_ms=5)
    assert incident_goal(one) == incident_goal(one)
    assert goal_of(one, "incident-budget-breach", {"hops": []})["inputs"]["incident"]["about"] == "goal:g"
