"""`interlock budget` and `interlock deviations` against a store with a breach in it; every refusal with its mend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from interlock.agents.cli import run
from interlock.agents.cli.budgeting import burn_per_hour
from interlock.agents.cli.deviating import report_determinism
from interlock.agents.cli.session import Session
from interlock.agents.deviations.detect import of_balance
from interlock.agents.deviations.watch import DeviationWatch
from interlock.agents.status import GoalStatus, write_status
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.control.giving import halts_of
from interlock.bus.ledger.balance import Request
from interlock.bus.ledger.client import goal_scope, open_goal
from interlock.bus.ledger.stored import stored_balance
from interlock.bus.ledger.writer import LedgerWriter
from interlock.bus.records import Seals
from interlock.bus.sender import Identity
from interlock.bus.streams import declarations
from interlock.envelope.amounts import Amount, clock_ms
from interlock.envelope.ids import new_id
from interlock.envelope.trust import Trust

pytestmark = pytest.mark.nats


class Trusted(msgspec.Struct, frozen=True):
    trust: Trust


class Cli:
    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> Any:
        """The JSON of a command, or for a refusal its one line."""
        assert run([*arguments, "--dir", str(self.directory), "--json"]) == code
        told = self._capsys.readouterr()
        assert "Traceback" not in told.err
        return json.loads(told.out) if told.out else told.err

    def text(self, *arguments: str) -> str:
        assert run([*arguments, "--dir", str(self.directory)]) == 0
        return self._capsys.readouterr().out


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    assert run(["init", str(tmp_path)]) == 0
    (tmp_path / ".interlock" / "store").mkdir(parents=True, exist_ok=True)
    capsys.readouterr()
    return Cli(tmp_path, capsys)


async def breach(directory: Path) -> str:
    """A goal that was asked for more than its limit, found by an auditor. Gives its id."""
    session = Session(directory, "", True)
    trust = Trusted(load_trust(session.layout))

    def seals(role: str) -> Seals:
        return Seals(Identity(role, load_key(session.layout, role)), trust)

    session.layout.store.mkdir(parents=True, exist_ok=True)
    async with session.connected(offline=True) as transport:
        await transport.declare(declarations((session.workspace,)))
        now_ms, goal_id = clock_ms(), new_id(clock_ms())
        status = GoalStatus(goal_id=goal_id, workspace=session.workspace, goal="g", phase="running")
        await write_status(transport, status)
        day = Amount(10**9, 10**9, 10**9, 10**9)
        ledger = LedgerWriter(transport, session.workspace, day, seals("gateway"))
        async with ledger.running():
            expires_ms = now_ms + 10**6
            await open_goal(ledger, goal_id, Amount(100, 1_000_000, 100, 100), now_ms=now_ms, expires_ms=expires_ms)
            for key, tokens in (("a", 85), ("b", 50)):
                amount = Amount(tokens, 250_000)
                asked = Request(op="reserve", scope=goal_scope(goal_id), key=key, amount=amount, expires_ms=expires_ms)
                await ledger.ask(asked)
        found = await stored_balance(transport, session.workspace, goal_scope(goal_id), seals("gateway"))
        assert found is not None
        watch = DeviationWatch(transport, session.workspace, seals("auditor"))
        await watch.detect(of_balance(found[0], 1, found[1]))
        halts = await halts_of(transport, session.workspace, trust.trust)
        assert [order.scope for order in halts.in_force] == [f"goal:{goal_id}"]
    return goal_id


def test_budget_and_deviations_are_told_and_resolved(cli: Cli) -> None:
    goal_id = anyio.run(breach, cli.directory)
    told = cli("budget", goal_id)
    assert told["scope"] == f"goal.{goal_id}"
    assert (told["percent"], told["alerted"], told["refused"], told["breached"]) == (85, 80, True, False)
    assert (told["limit"]["tokens"], told["reserved"]["tokens"], told["left"]["tokens"]) == (100, 85, 15)
    assert told["left"]["usdMicro"] == 750_000
    assert "alert 80 %, refused what was not left" in cli.text("budget", goal_id)
    day = cli("budget")
    assert day["reserved"]["tokens"] == 100, "the day holds what the goal may spend"
    (kind,) = day["kinds"]
    assert (kind["kind"], kind["limit"], kind["perTask"]) == ("summaries", None, {"costUSD": "0.05"})
    assert "(one: at most 0.05 USD; a day: at most 100 actions)" in cli.text("budget")

    [one] = cli("deviations")
    assert (one["kind"], one["about"], one["halts"]) == ("cost_breach", f"goal:{goal_id}", f"goal:{goal_id}")
    assert 7_000_000 < one["leftMs"] <= 7_200_000
    assert one["openedAt"] and one["actedAt"] and one["alertedAt"] and not one["escalatedAt"]
    assert "min left" in cli.text("deviations")
    assert [entry["id"] for entry in cli("status", goal_id)["deviations"]] == [one["id"]]
    assert f"deviation {one['id']}" in cli.text("status", goal_id)
    assert f"deviation {one['id']}" in cli.text("goals")
    found = {entry["name"]: entry for entry in cli("doctor")}["deviations"]
    assert found["state"] == "warn" and one["id"] in found["detail"]

    assert "bad_usage" in cli("deviations", "resolve", one["id"], "--why", " ", code=2)
    assert "unknown_deviation" in cli("deviations", "resolve", "d-ffff", "--why", "w", code=2)
    assert "not_allowed" in cli("deviations", "resolve", one["id"], "--why", "w", "--as", "auditor", code=2)
    resolved = cli("deviations", "resolve", one["id"], "--why", "the limit was too low")
    assert resolved == {"id": one["id"], "resumed": f"goal:{goal_id}"}
    assert cli("halts") == [] and cli("status", goal_id)["deviations"] == []
    assert cli("deviations") == []
    assert [entry["why"] for entry in cli("deviations", "--all")] == ["the limit was too low"]
    assert "unknown_deviation" in cli("deviations", "resolve", one["id"], "--why", "w", code=2)


def test_a_replays_figure_is_stated_and_judged(cli: Cli) -> None:
    async def stated(per_mille: int) -> list[str]:
        session = Session(cli.directory, "", True)
        trust = Trusted(load_trust(session.layout))
        seals = Seals(Identity("auditor", load_key(session.layout, "auditor")), trust)
        session.layout.store.mkdir(parents=True, exist_ok=True)
        async with session.connected(offline=True) as transport:
            await transport.declare(declarations((session.workspace,)))
            await report_determinism(session, transport, new_id(clock_ms()), per_mille)
            watch = DeviationWatch(transport, session.workspace, seals)
            await watch.tick()
            return [one.kind for one in watch.state.values()]

    assert anyio.run(stated, 950) == []
    assert anyio.run(stated, 949) == ["determinism"]
    [one] = cli("deviations")
    assert "949 of 1000" in one["detail"]
    assert cli("deviations", "resolve", one["id"], "--why", "a clock was read")["resumed"] == ""


def test_a_goal_that_is_none_has_no_budget(cli: Cli) -> None:
    anyio.run(breach, cli.directory)
    assert "unknown_goal" in cli("budget", "ffffffff", code=2)


def test_without_a_store_there_is_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path)]) == 0
    for verb in ("budget", "deviations"):
        assert run([verb, "--dir", str(tmp_path)]) == 1
        assert "no_broker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("used", "span_ms", "per_hour"),
    [(100, 3_600_000, 100), (100, 1_800_000, 200), (1, 0, 3_600), (0, 5_000, 0), (7, -50, 25_200)],
)
def test_the_burn_rate_is_that_of_the_span(used: int, span_ms: int, per_hour: int) -> None:
    assert burn_per_hour(Amount(used, used, used, used), 10**9, 10**9 + span_ms) == Amount(*[per_hour] * 4)
