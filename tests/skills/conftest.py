"""A runner of skills with its fork server up, for all that is tried with it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from interlock.skills.runner import RunnerSettings, SkillRunner
from tests.skills.test_runner import request_for


@pytest.fixture
async def runner(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SkillRunner]:
    async with SkillRunner.started(RunnerSettings(concurrency=8, grace_ms=100)) as started:
        place = tmp_path_factory.mktemp("first")
        assert (await started.run(request_for(place, "nothing"))).outcome == "done", "host, guard and zygote are there"
        yield started
