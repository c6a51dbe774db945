"""`interlock run`: what it loads before there is something to see, and which metrics its roles serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interlock.agents.process import parse
from interlock.agents.supervision.house import metrics_ports, without_metrics
from interlock.agents.supervision.supervisor import role_program
from interlock.agents.workspace.settings import MetricsPort, Settings, TelemetrySettings

LATER = (
    "prometheus_client",
    "argparse",
    "interlock.agents.process",
    "interlock.agents.cli.approving",
    "aiohttp",
    "kubernetes",
)
LATER_OF_A_ROLE = ("prometheus_client", "opentelemetry", "yaml", "nats.js", "interlock.bus.telemetry.redaction")


def settings(port: MetricsPort) -> Settings:
    return Settings(telemetry=TelemetrySettings(metrics_port=port))


@pytest.mark.parametrize(("named", "served"), [(0, "off"), ("off", "off"), (9100, 9100)])
def test_a_run_serves_metrics_only_where_a_port_is_named(named: MetricsPort, served: MetricsPort) -> None:
    assert without_metrics(settings(named)).telemetry.metrics_port == served


@pytest.mark.parametrize(
    ("named", "given"), [(0, [0, 0, 0]), ("off", ["off", "off", "off"]), (9100, [9100, 9101, 9102])]
)
def test_what_each_role_is_told_is_what_it_reads(named: MetricsPort, given: list[MetricsPort], tmp_path: Path) -> None:
    ports = metrics_ports(settings(named), 3)
    assert ports == given
    programs = [role_program("auditor", tmp_path, "nats://x", (), (), port) for port in ports]
    assert [parse(program.command[3:]).metrics_port for program in programs] == given
    memory = role_program("auditor", tmp_path, "nats://x", (), (), checkpoint=tmp_path / "c")
    assert [parse(one.command[3:]).checkpoint for one in (memory, programs[0])] == [tmp_path / "c", None]


@pytest.mark.parametrize(
    ("module", "later"), [("interlock.agents.cli.run", LATER), ("interlock.agents.process", LATER_OF_A_ROLE)]
)
def test_what_is_needed_later_is_not_loaded_at_first(module: str, later: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {later!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
