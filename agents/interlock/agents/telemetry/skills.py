"""Runs of skills as spans and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from interlock.agents.telemetry.telemetry import Telemetry
from interlock.bus.telemetry.spans import span
from interlock.envelope.payloads import Task, TaskResult

if TYPE_CHECKING:
    from interlock.agents.telemetry.metrics import SkillMetrics
    from interlock.skills.manifest import Skill

BeginBy = Callable[[], float]


class Run:
    """One run. It waits for its turn until `begins` is asked."""

    def __init__(self, on_begin: Callable[[], None]) -> None:
        self._on_begin = on_begin
        self.began_s = 0.0
        self.result: TaskResult | None = None

    def begins(self, begin_by: BeginBy) -> BeginBy:
        """What the runner asks when nothing but the start itself is left to do, overheard."""

        def asked() -> float:
            until = begin_by()
            if not self.began_s:
                self.began_s = time.perf_counter()
                self._on_begin()
            return until

        return asked


class SkillsShown:
    """What an executor shows."""

    def __init__(self, telemetry: Telemetry, agent_role: str) -> None:
        self._metrics: SkillMetrics | None = None
        if telemetry.metrics is not None:
            from interlock.agents.telemetry.metrics import SkillMetrics

            self._metrics = SkillMetrics(telemetry.metrics.registry, agent_role)

    @contextmanager
    def running(self, skill: Skill, task: Task) -> Iterator[Run]:
        metrics, domain = self._metrics, skill.manifest.domain
        waits = metrics is not None

        def begun() -> None:
            nonlocal waits
            if metrics is not None and waits:
                metrics.waits_no_more(domain, skill.name)
            waits = False

        run, asked_s = Run(begun), time.perf_counter()
        if metrics is not None:
            metrics.waits(domain, skill.name)
        attributes: dict[str, str | int | float | bool] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": skill.name,
            "interlock.skill": skill.name,
            "interlock.skill.version": skill.manifest.version,
            "interlock.skill.digest": skill.digest,
            "interlock.domain": domain,
            "interlock.task": task.task_id,
            "interlock.task.attempt": task.attempt,
        }
        try:
            with span(f"execute_tool {skill.name}", attributes) as shown:
                yield run
                result = run.result
                if result is not None:
                    shown.set("interlock.skill.waited_ms", round(((run.began_s or asked_s) - asked_s) * 1000, 3))
                    shown.set("interlock.skill.outcome", result.outcome)
                    shown.set("interlock.cost_usd", result.cost_usd)
                    shown.set("interlock.cpu_us", result.usage.cpu_us)
                    if result.usage.tokens:
                        shown.set("gen_ai.usage.output_tokens", result.usage.tokens)
                    if result.outcome != "done":
                        shown.fail(f"{result.outcome}: {result.detail}"[:500])
        finally:
            begun()
        if metrics is not None and run.result is not None:
            metrics.ran(domain, run.result, time.perf_counter() - (run.began_s or asked_s))
