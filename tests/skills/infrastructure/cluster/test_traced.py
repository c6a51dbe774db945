from __future__ import annotations

import pytest

from interlock.bus.clock import ManualClock
from interlock.skills.infrastructure.cluster.traced import Traced
from interlock.skills.infrastructure.observed import MetricName, Sample
from interlock.skills.infrastructure.trace import read_trace
from tests.skills.infrastructure.cluster.services import service

pytestmark = pytest.mark.anyio

CSV = b"time_s,latency_p95_ms,error_rate_percent\n10,200,0.5\n20,300,\n"


@pytest.mark.parametrize(
    ("after_ms", "wanted"),
    [
        (0, []),
        (9_999, []),
        (10_000, [("latency_p95_us", 200_000, 10_000), ("error_rate_ppm", 5_000, 10_000)]),
        (20_000, [("latency_p95_us", 300_000, 20_000)]),
        (900_000, [("latency_p95_us", 300_000, 20_000)]),
    ],
)
async def test_a_trace_tells_its_newest_row_with_its_time(
    after_ms: int, wanted: list[tuple[MetricName, int, int]]
) -> None:
    clock = ManualClock(1_000)
    traced = Traced(read_trace(CSV, source="t.csv"), 1_000, clock)
    clock.advance(after_ms)
    samples = [Sample(name=name, value=value, at_ms=1_000 + at) for name, value, at in wanted]
    assert await traced(service("shop")) == samples
