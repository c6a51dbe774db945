"""What an auditor answers before it knows whether its log is broken: nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.audit.log.sources import log_subject, origin_of
from interlock.agents.wiring import running
from interlock.bus.clock import SystemClock
from interlock.bus.errors import Unavailable
from interlock.bus.memory.transport import MemoryTransport
from interlock.bus.streams import declarations
from interlock.bus.transport import Message
from interlock.envelope.checkpoint import Checkpoint, sign_checkpoint
from tests.agents.conftest import ROLES, InProcess, Keys

pytestmark = pytest.mark.anyio


class Lagging(MemoryTransport):
    """As of a cluster: what is missing may be behind for so long."""

    @property
    def lag_ms(self) -> int:
        return 1_000


class Away(MemoryTransport):
    """The log cannot be read the first two times."""

    tries = 0

    async def read(self, stream: str, subjects: Sequence[str], **more: Any) -> AsyncGenerator[Message, None]:
        if stream == "AUDIT" and list(subjects) == [log_subject("w")]:
            self.tries += 1
            if self.tries <= 2:
                raise Unavailable("away")
        async with aclosing(super().read(stream, subjects, **more)) as messages:
            async for message in messages:
                yield message


@pytest.mark.parametrize(("signed", "outcome"), [(99, "blocked"), (0, "released")])
async def test_a_log_that_cannot_be_read_yet_is_neither_whole_nor_broken(
    tmp_path: Path, signed: int, outcome: str
) -> None:
    transport = Away(SystemClock())
    house: Any = InProcess(transport, "w", Keys("w"), tmp_path)
    await transport.declare(declarations(("w",)))
    assert await outcome_of(house, tmp_path / "checkpoint", signed) == (outcome, outcome == "blocked")
    assert transport.tries >= 3


@pytest.mark.parametrize(("signed", "outcome"), [(99, "blocked"), (0, "released")])
async def test_no_goal_passes_while_a_log_that_was_cut_may_yet_come(tmp_path: Path, signed: int, outcome: str) -> None:
    house: Any = InProcess(Lagging(SystemClock()), "w", Keys("w"), tmp_path)
    await house.transport.declare(declarations(("w",)))
    assert await outcome_of(house, tmp_path / "checkpoint", signed) == (outcome, outcome == "blocked")


async def outcome_of(house: Any, memory: Path, signed: int) -> tuple[str, bool]:
    """Of a goal under an auditor that remembers a log of so many records; whether the log is called broken."""
    key = house.keys.agents["auditor"]
    memory.write_text(sign_checkpoint(Checkpoint(origin_of("w"), signed, bytes(32)), key, key.key_id))
    async with AsyncExitStack() as stack:
        for role in ROLES:
            await stack.enter_async_context(running(role, house.parts(role, log_memory=memory)))
        status = await house.run(house.goal([{"id": "a", "skill": "doing-nothing"}]))
    return status.outcome, "log_broken" in {ground.code for ground in status.grounds}
