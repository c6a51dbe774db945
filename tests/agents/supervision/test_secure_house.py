"""The whole house under the secured broker: a goal ends as it does without, and nobody asks for what is forbidden."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from interlock.agents.audit.log.check import read_log
from interlock.agents.cli import run
from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.supervision.house import house
from interlock.agents.workspace.broker import secure
from interlock.agents.workspace.keys import ensure_keys
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings, load_settings
from interlock.bus.errors import LoginRefused
from interlock.bus.jetstream.login import Login
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.streams import declarations
from interlock.envelope.keys import SigningKey

pytestmark = [pytest.mark.anyio, pytest.mark.process]
SKILLS = Path(__file__).parents[1] / "skills"
GOAL = {
    "goal": "leave one line a task",
    "constraints": [],
    "stakeholders": ["Ada"],
    "success_metrics": ["it ends"],
    "budget_limits": {"costUSD": "1", "wallMs": 10_000_000, "actions": 1000},
}


async def test_a_goal_runs_under_minimal_permissions(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ensure_keys(layout, "default")
    secure(layout)
    tasks = [{"id": "t", "skill": "appending-line", "input": {"place": str(tmp_path), "line": "once", "pause_ms": 0}}]
    settings = Settings(write_roots=[str(tmp_path)])
    (tmp_path / "interlock.yaml").write_text(f"write_roots: ['{tmp_path}']\n")
    async with house(layout, settings, skills=[SKILLS]) as place:
        goal_id = await publish_goal(place.transport, "default", msgspec.json.encode({**GOAL, "tasks": tasks}))
        status = await wait_for_end(place.transport, "default", goal_id, lambda _status, _hops: None)
        audited = await wait_for_audit(place.transport, "default", goal_id)
        await place.transport.declare(declarations(("default",)), bind_only=True)
        with pytest.raises(LoginRefused):
            async with JetStreamTransport.connect(place.url, name="nobody"):
                pass
        with pytest.raises(LoginRefused):
            async with JetStreamTransport.connect(
                place.url, name="executor", login=Login("executor", SigningKey.generate())
            ):
                pass
    assert status.outcome == "released"
    assert audited is not None
    assert (audited.verified, audited.refused) == (audited.hops, [])
    told = (layout.store / "server.log").read_text()
    assert [line for line in told.splitlines() if "Violation" in line] == []


async def test_persons_are_listed_and_forgotten_under_minimal_permissions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "interlock.yaml").write_text("personal_data: pseudonymous\n")
    ensure_keys(layout, "default")
    secure(layout)

    async def interlock(*arguments: str) -> tuple[int, str]:
        code = await anyio.to_thread.run_sync(run, [*arguments, "--dir", str(tmp_path), "--nats", place.url])
        told = capsys.readouterr()
        return code, told.out + told.err

    async with house(layout, load_settings(layout.settings), skills=[SKILLS]) as place:
        goal = GOAL | {"tasks": [{"id": "t", "skill": "doing-nothing"}]}
        goal_id = await publish_goal(place.transport, "default", msgspec.json.encode(goal))
        status = await wait_for_end(place.transport, "default", goal_id, lambda _status, _hops: None)
        assert status.outcome == "released"
        code, told = await interlock("audit", "persons", "--json")
        assert (code, [one["name"] for one in json.loads(told)]) == (0, ["Ada"])
        pseudonym = json.loads(told)[0]["pseudonym"]
        assert (await interlock("audit", "forget", "Bob"))[0] == 2
        assert await interlock("audit", "forget", "Ada") == (0, f"{pseudonym} can be resolved by nobody any more\n")
        assert (await interlock("audit", "forget", pseudonym))[0] == 2
        assert json.loads((await interlock("audit", "persons", "--json"))[1]) == []
        code, told = await interlock("audit", "check")
        assert code == 0, told
        log = await read_log(place.transport, "default")
    assert [record.note["person"] for record in log.records if record.note.get("event") == "forgotten"] == [pseudonym]
    refused = [line for line in (layout.store / "server.log").read_text().splitlines() if "Violation" in line]
    assert refused == []
