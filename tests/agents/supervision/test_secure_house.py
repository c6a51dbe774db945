"""The whole house under the secured broker: a goal ends as it does without, and nobody asks for what is forbidden."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.supervision.house import house
from interlock.agents.workspace.broker import secure
from interlock.agents.workspace.keys import ensure_keys
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings
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
