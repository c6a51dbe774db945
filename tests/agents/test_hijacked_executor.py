"""An executor taken over entirely, beside the true one, in a secured house of real processes: no unauthorised effect, no
unit overspent, and the auditor names it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import anyio
import msgspec
import pytest

from interlock.agents.audit.auditor import goal_messages
from interlock.agents.cli.deviating import deviations_of, resolve
from interlock.agents.cli.session import Session, statuses
from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.deviations.fold import Deviation
from interlock.agents.deviations.incident import incident_goal
from interlock.agents.supervision.house import House, house
from interlock.agents.workspace.broker import secure
from interlock.agents.workspace.keys import ensure_keys, load_key, load_trust
from interlock.agents.workspace.layout import Layout
from interlock.bus.control.giving import halts_of
from interlock.bus.jetstream.connection import JetStreamSettings
from interlock.bus.jetstream.login import Login
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.ledger.balance import Balance
from interlock.bus.sender import Identity
from interlock.bus.transport import Message
from interlock.envelope.amounts import clock_ms, timestamp
from interlock.envelope.payloads import AuditReport
from interlock.envelope.verification import decode
from scripts.campaigns.lines import SKILLS, goal_of_lines
from tests.agents.hijacker import Hijacker

pytestmark = [pytest.mark.anyio, pytest.mark.process]
IMPATIENT = JetStreamSettings(request_timeout_ms=300, publish_timeout_ms=2_000, no_stream_retry_ms=0)
TASKS = 4
LIFE_MS = 900_000  # so that more time than the goal has is still less than any envelope may have


def goal(place: Path, name: str, pause_ms: int) -> bytes:
    deadline = timestamp(clock_ms() + LIFE_MS)
    return goal_of_lines(place, name, TASKS, behind=1, pause_ms=pause_ms, deadline=deadline)


async def first_task(place: House, goal_id: str) -> Message:
    with anyio.fail_after(20):
        while True:
            for message in await goal_messages(place.transport, "default", goal_id):
                if message.subject.endswith(".act") and ".role.executor." in message.subject:
                    return message
            await anyio.sleep(0.02)


async def mended(place: House, session: Session, goal_id: str) -> list[Deviation]:
    """Waits until the auditor has halted what the hijacker touched; then a human resolves it, so that the goal can end.
    Gives the deviations.
    """
    trust, human = load_trust(session.layout), Identity("human", load_key(session.layout, "human"))
    with anyio.fail_after(20):
        while True:
            halts = await halts_of(place.transport, "default", trust)
            if {"role:orchestrator", f"goal:{goal_id}"} <= {order.scope for order in halts.in_force}:
                break
            await anyio.sleep(0.05)
    found = list((await deviations_of(place.transport, "default", trust, human)).values())
    for one in found:
        assert await resolve(session, one.id, "the executor's key is replaced", "human") == 0
    return found


async def test_zero_effects_zero_overspend_and_named(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text(f"write_roots: ['{tmp_path}']\n")
    layout = Layout(tmp_path)
    ensure_keys(layout, "default")
    secure(layout)
    session = Session(tmp_path, "", False)
    key = load_key(layout, "executor")
    login = Login("executor", key)
    async with (
        house(layout, session.settings, skills=[SKILLS]) as place,
        JetStreamTransport.connect(place.url, name="executor", login=login, settings=IMPATIENT) as transport,
    ):
        goal_id = await publish_goal(place.transport, "default", goal(tmp_path, "asked", 500))
        evaluator = load_key(layout, "evaluator").key_id
        hijacker = Hijacker(transport, key, await first_task(place, goal_id), evaluator)
        places = await hijacker.everything(goal(tmp_path, "stolen", 0))
        opened = await mended(place, session, goal_id)
        status = await wait_for_end(place.transport, "default", goal_id, lambda _status, _hops: None)
        audited = await wait_for_audit(place.transport, "default", goal_id)
        messages = await goal_messages(place.transport, "default", goal_id)
        known = await statuses(place.transport, "default")
        ledger = [one async for one in place.transport.read("LEDGER", ["interlock.default.ledger.>"])]

    assert {one.kind: one.halts for one in opened} == {
        "signature_failure": "role:orchestrator",
        "cost_breach": f"goal:{goal_id}",
    }
    refused_by_broker = {name for name in hijacker.told if name.startswith(("publish", "api", "read"))}
    assert {hijacker.told[name] for name in refused_by_broker} <= {"broker_refused", "bus_unavailable"}
    assert len(refused_by_broker) == 16
    assert {name: told for name, told in hijacker.told.items() if name not in refused_by_broker} == {
        "reserve more than there is": "over_budget",
        "reserve of the day": "unknown_scope",
        "open a scope": "malformed",
        "end the goal's scope": "malformed",
        "reserve what was forged": "over_budget",
        "settle what was never reserved": "unknown_reservation",
    }

    incidents = {incident_goal(one) for one in opened}
    assert {one.goal_id for one in known} - incidents == {goal_id}, "a goal came in that nobody handed in who may"
    lines = Counter((tmp_path / "lines.txt").read_text().splitlines())
    assert set(lines) <= {f"asked-{n}" for n in range(TASKS)}, "an effect nobody asked for"
    assert set(lines.values()) == {1}, "an effect was repeated"

    sealed = [one for one in ledger if "Interlock-Seal" in one.headers]
    assert len(ledger) > len(sealed), "the broker did not repeat the forged balance: is the hole closed?"
    for balance in (msgspec.json.decode(one.data, type=Balance) for one in sealed):
        assert (balance.used + balance.reserved).within(balance.limit)
        assert not balance.breached

    assert status.outcome == "blocked", status.grounds
    assert audited is not None
    named = {entry.sequence: entry for entry in audited.refused}
    for name, sequence in places.items():
        told = named[sequence]
        assert told.reason == name.partition(":")[0] or name == "replayed", (name, told)
        assert told.claimed_from in ("executor", "evaluator")
    report = next(
        payload
        for message in messages
        if (found := decode(message.data).envelope) is not None and isinstance(payload := found.payload, AuditReport)
    )
    assert report.decision == "deny"
    assert {"hop_bad_parent", "hop_key_not_for_agent", "hop_bad_signature"} <= {
        ground.code for ground in report.grounds
    }
