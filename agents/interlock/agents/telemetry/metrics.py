"""Metrics of the roles (OPS-02), in a registry of their own. docs/telemetry.md lists them; a test holds both together.

Labels come from closed lists, or are bounded here: what is one too many counts as `other`. No label holds an id of a goal.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.registry import Collector

from interlock.bus.errors import BusError
from interlock.bus.telemetry.metrics import HopMetrics
from interlock.envelope.amounts import micro_usd
from interlock.envelope.payloads import GateOutcome, TaskResult

log = logging.getLogger("interlock.telemetry")
Refresh = Callable[[], Awaitable[None]]
REFRESH_S = 1.0
MAX_SKILLS = 200
MAX_DOMAINS = 20
OTHER = "other"
RATE_OVER = 100
SKILL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
COST_BUCKETS = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1, 10)
GOAL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Bounded:
    """At most so many values of a label, for ever."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value


class Registry(CollectorRegistry):
    """A role may begin again in its process, with a new key or a new connection: what it registers then takes the place of
    what it registered before, and counts from zero as after a restart.
    """

    def __init__(self) -> None:
        super().__init__()
        self._registered: dict[tuple[str, ...], Collector] = {}

    def register(self, collector: Collector) -> None:
        describe = getattr(collector, "describe", None)  # optional in what prometheus_client takes
        names = tuple(metric.name for metric in describe()) if describe is not None else (type(collector).__name__,)
        before = self._registered.get(names)
        if before is not None:
            self.unregister(before)
        super().register(collector)
        self._registered[names] = collector


class RoleMetrics:
    """Of one process. refreshers: what is asked when somebody looks, each for a second at most."""

    def __init__(self, agent: str, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, of which nobody has any use
        self.registry = Registry()
        self.hops = HopMetrics(self.registry)
        self._refreshers: dict[str, tuple[Refresh, Sequence[Gauge]]] = {}
        info = Gauge("interlock_build_info", "Always 1.", ["agent", "version"], registry=self.registry)
        info.labels(agent, version).set(1)
        self._failed = Counter(
            "interlock_refresh_failures",
            "Values that could not be asked for when somebody looked.",
            ["part"],
            registry=self.registry,
        )

    def on_scrape(self, part: str, refresh: Refresh, gauges: Sequence[Gauge] = ()) -> None:
        """refresh sets the gauges; when it fails they are no number, which is not the same as zero. The same part again:
        the role began again.
        """
        self._failed.labels(part)
        self._refreshers[part] = (refresh, gauges)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    async def refresh(self) -> None:
        async with anyio.create_task_group() as group:
            for part, (refresh, gauges) in self._refreshers.items():
                group.start_soon(self._refresh, part, refresh, gauges)

    async def _refresh(self, part: str, refresh: Refresh, gauges: Sequence[Gauge]) -> None:
        try:
            with anyio.fail_after(REFRESH_S):
                await refresh()
        except (BusError, TimeoutError) as error:
            log.debug("%s could not be asked for: %s", part, error)
            self._failed.labels(part).inc()
            for gauge in gauges:
                gauge.set(math.nan)


class SkillMetrics:
    """Runs of skills, under the names their users know."""

    def __init__(self, registry: CollectorRegistry, agent_role: str) -> None:
        labels = ["domain", "agent_role", "skill"]
        self._role = agent_role
        self._skills, self._domains = Bounded(MAX_SKILLS), Bounded(MAX_DOMAINS)
        self._last: dict[tuple[str, str, str], deque[bool]] = {}
        self._duration = Histogram(
            "skill_execution_duration_seconds",
            "How long a run of a skill took, waiting not included.",
            labels,
            buckets=SKILL_BUCKETS,
            registry=registry,
        )
        self._cost = Histogram(
            "skill_execution_cost",
            "What a run of a skill cost, in USD.",
            labels,
            buckets=COST_BUCKETS,
            registry=registry,
        )
        self._rate = Gauge(
            "skill_success_rate",
            f"The share of the last {RATE_OVER} runs of a skill that were done, 0 to 1.",
            labels,
            registry=registry,
        )
        self._depth = Gauge(
            "skill_execution_queue_depth", "Runs of a skill that wait for their turn.", labels, registry=registry
        )
        self._runs = Counter("skill_executions", "Runs of a skill by outcome.", [*labels, "outcome"], registry=registry)
        self._tokens = Counter("skill_execution_tokens", "Tokens that runs used.", labels, registry=registry)
        self._outcomes = Bounded(40)

    def _labels(self, domain: str, skill: str) -> tuple[str, str, str]:
        return self._domains.of(domain), self._role, self._skills.of(skill)

    def waits(self, domain: str, skill: str) -> None:
        self._depth.labels(*self._labels(domain, skill)).inc()

    def waits_no_more(self, domain: str, skill: str) -> None:
        self._depth.labels(*self._labels(domain, skill)).dec()

    def ran(self, domain: str, result: TaskResult, seconds: float) -> None:
        labels = self._labels(domain, result.skill)
        self._duration.labels(*labels).observe(seconds)
        self._cost.labels(*labels).observe(micro_usd(result.cost_usd) / 1e6)
        self._runs.labels(*labels, self._outcomes.of(result.outcome)).inc()
        self._tokens.labels(*labels).inc(result.usage.tokens)
        last = self._last.setdefault(labels, deque(maxlen=RATE_OVER))
        last.append(result.outcome == "done")
        self._rate.labels(*labels).set(sum(last) / len(last))


class GoalMetrics:
    """Goals as the orchestrator sees them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter("interlock_goals_ended", "Goals by outcome.", ["outcome"], registry=registry)
        self._gates = Counter(
            "interlock_gates_decided", "Decisions of the gates G0 to G8.", ["gate", "passed"], registry=registry
        )
        self._duration = Histogram(
            "interlock_goal_duration_seconds",
            "From a goal's intake to its end, waiting for humans included.",
            ["outcome"],
            buckets=GOAL_BUCKETS,
            registry=registry,
        )
        self._cost = Counter("interlock_goals_cost_usd", "What ended goals have cost.", registry=registry)

    def gate(self, outcome: GateOutcome) -> None:
        self._gates.labels(outcome.gate, str(outcome.passed).lower()).inc()

    def ended(self, outcome: str, seconds: float, cost_usd: float) -> None:
        self._ended.labels(outcome).inc()
        self._duration.labels(outcome).observe(max(seconds, 0))
        self._cost.inc(cost_usd)
