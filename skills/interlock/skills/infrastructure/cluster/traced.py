"""Service metrics from a CSV trace: what was recorded is told as if it were measured now, with the time of its row."""

from __future__ import annotations

from typing import get_args

from interlock.bus.clock import Clock
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.observed import MetricName, Sample
from interlock.skills.infrastructure.trace import Trace

_NAMES: tuple[MetricName, ...] = get_args(MetricName)


class Traced:
    """A trace that began at began_ms. After its last row nothing is measured any more: the samples grow old."""

    def __init__(self, trace: Trace, began_ms: int, clock: Clock) -> None:
        self._trace = trace
        self._began_ms = began_ms
        self._clock = clock

    async def __call__(self, blueprint: Blueprint) -> list[Sample]:
        """The newest row's metrics; a field that is empty there is missing."""
        age_ms = self._clock.now_ms() - self._began_ms
        past = [row for row in self._trace.rows if row.at_ms <= age_ms]
        if not past:
            return []
        values = ((name, getattr(past[-1], name)) for name in _NAMES)
        at_ms = self._began_ms + past[-1].at_ms
        return [Sample(name=name, value=value, at_ms=at_ms) for name, value in values if value is not None]
