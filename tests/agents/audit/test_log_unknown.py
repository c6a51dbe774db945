"""What an auditor answers before it knows whether its log is broken: nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.audit.log.sources import origin_of
from interlock.agents.wiring import running
from interlock.bus.clock import SystemClock
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint
from tests.agents.conftest import ROLES, InProcess, Keys

pytestmark = pytest.mark.anyio


class Lagging(MemoryTransport):
    """As of a cluster: what is missing may be behind for so long."""

    @property
    def lag_ms(self) -> int:
        return 1_000


@pytest.mark.parametrize(("signed", "outcome"), [(99, "blocked"), (0, "released")])
async def test_no_goal_passes_while_a_log_that_was_cut_may_yet_come(tmp_path: Path, signed: int, outcome: str) -> None:
    house: Any = InProcess(Lagging(SystemClock()), "w", Keys("w"), tmp_path)
    await house.transport.declare(declarations(("w",)))
    memory, key = tmp_path / "checkpoint", house.keys.agents["auditor"]
    memory.write_text(sign_checkpoint(Checkpoint(origin_of("w"), signed, bytes(32)), key, key.key_id))
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, house.parts(role, log_memory=memory)))
        status = await house.run(house.goal([{"id": "a", "skill": "doing-nothing"}]))
    assert status.outcome == outcome
    assert ("log_broken" in {ground.code for ground in status.grounds}) is (outcome == "blocked")
