"""Figures of decision records, as people read them."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.agents.console.figures import figure

UNITS = {
    "%": 10_000,
    "µs": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("cpu_utilization_ppm", 850_000, "CPU utilization 85 %"),
        ("cpu_utilization_ppm", 157_143, "CPU utilization 15.7 %"),
        ("cpu_utilization_ppm", 1_010_000, "CPU utilization 101 %"),
        ("memory_utilization_ppm", 562_500, "memory utilization 56.3 %"),
        ("availability_ppm", 1_000_000, "availability 100 %"),
        ("availability_ppm", 999_953, "availability 99.9953 %"),
        ("error_rate_ppm", 20, "error rate 0.002 %"),
        ("error_rate_ppm", 0, "error rate 0 %"),
        ("score_ppm", -20_000, "score -2 %"),
        ("latency_p95_us", 0, "latency p95 0 ms"),
        ("latency_p95_us", 850, "latency p95 850 µs"),
        ("latency_p95_us", 12_000, "latency p95 12 ms"),
        ("latency_p95_us", 24_762, "latency p95 24.8 ms"),
        ("latency_p95_us", 2_500_000, "latency p95 2.5 s"),
        ("wait_ms", 60_000, "wait 60 s"),
        ("wait_ms", 1_500, "wait 1.5 s"),
        ("cpu_limit_m", 1_500, "CPU limit 1.5 cores"),
        ("cpu_limit_m", 1_000, "CPU limit 1 core"),
        ("cpu_request_m", 70, "CPU request 0.07 cores"),
        ("memory_limit_bytes", 536_870_912, "memory limit 512 MiB"),
        ("memory_limit_bytes", 1_610_612_736, "memory limit 1.5 GiB"),
        ("memory_limit_bytes", 1_000_000, "memory limit 977 KiB"),
        ("memory_limit_bytes", 2**50, "memory limit 1024 TiB"),
        ("throughput_mrps", 102_900, "throughput 103 req/s"),
        ("throughput_mrps", 500, "throughput 0.5 req/s"),
        ("ready_replicas", 12_345, "ready replicas 12345"),
        ("_ppm", 3, " ppm 3"),
        ("<b>_us", 3, "<b> 3 µs"),
        ("low_ppm", None, "low missing"),
    ],
)
def test_names_and_units(name: str, value: int | None, told: str) -> None:
    shown = figure(name, value)
    assert f"{shown.name} {shown.text}" == told
    assert shown.raw == f"{name} {'missing' if value is None else value}"


@given(st.sampled_from(["a_ppm", "a_us", "a_bytes"]), st.integers(-(2**53), 2**53))
def test_what_is_shown_is_the_value_to_three_digits(name: str, value: int) -> None:
    text = figure(name, value).text
    found = re.fullmatch(r"(-?[0-9]+(?:\.[0-9]+)?) (.+)", text)
    assert found, text
    meant = Decimal(found[1]) * UNITS[found[2]]
    assert abs(meant - value) <= abs(value) * Decimal("0.005"), text
