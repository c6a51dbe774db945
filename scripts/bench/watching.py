"""Two hundred services in one real watcher: `interlock blueprint watch --shadow` as a process of its own against the fake API
server, also a process of its own. What a decision costs of the watcher's processor time, all of it counted (requests, TLS,
log, memory on disk), and what the watcher keeps in memory. Every service has a load of its own, so that a decision made from
another's figures is seen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import yaml

from interlock.skills.infrastructure.decision.record import DecisionRecord, read_records
from interlock.skills.infrastructure.fake_cluster.launching import FakeCluster
from interlock.skills.infrastructure.fake_cluster.world.settings import LoadPoint, Service, WorldSettings

SERVICES = 200
ROUNDS = 5
EVERY_S = 15
WITHIN_S = 240
CPU_REQUEST_M = 1_000
IDLE_M = 5
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_m(number: int) -> int:
    """What each pod of a service uses: no two services the same, a quarter of them beyond the threshold of 80 %."""
    return 300 + number if number % 4 else 850 + number // 4


def name(number: int) -> str:
    return f"service-{number:03}"


def deployment(number: int) -> dict[str, object]:
    labels = {"app": name(number)}
    amounts = {"cpu": f"{CPU_REQUEST_M}m", "memory": "128Mi"}
    limits = {"cpu": "4", "memory": "512Mi"}
    container = {
        "name": "main",
        "image": "registry.example/bench:1",
        "resources": {"requests": amounts, "limits": limits},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name(number), "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def blueprint(number: int) -> str:
    return f"""apiVersion: infra.spec-driven.io/v1
kind: InfrastructureBlueprint
metadata: {{name: {name(number)}, version: 1.0.0}}
spec:
  target: {{kind: Deployment, name: {name(number)}, namespace: default, container: main}}
  resources: {{cpu: {{request: {CPU_REQUEST_M}m, limit: "4"}}, memory: {{request: 128Mi, limit: 512Mi}}}}
  scaling: {{min_replicas: 1, max_replicas: 9, scale_up_threshold: 80%, scale_down_threshold: 10%}}
  governance: {{agent_authority: {{allowed_operations: [scale_within_limits]}}}}
"""


def prepared(place: Path) -> Path:
    """The objects' file; blueprints and a workspace are put beside it."""
    objects = place / "objects.yaml"
    objects.write_text(yaml.safe_dump_all([deployment(number) for number in range(SERVICES)]))
    for number in range(SERVICES):
        file = place / "blueprints" / name(number) / "blueprint.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(blueprint(number))
    (place / "workspace").mkdir()
    return objects


def world() -> WorldSettings:
    """Requests cost a thousandth of a core each, so that mrps are millicores."""
    services = [
        Service(
            namespace="default",
            name=name(number),
            load=[LoadPoint(at_ms=0, mrps=(cpu_m(number) - IDLE_M) * 1_000)],
            cpu_um_per_request=1_000,
            idle_cpu_m=IDLE_M,
        )
        for number in range(SERVICES)
    ]
    return WorldSettings(services=services, scrape_ms=5_000)


def measure() -> dict[str, float]:
    """Raises SystemExit where a service is mixed up with another, or the watcher does not get round."""
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as scratch:
        place = Path(scratch)
        objects = prepared(place)
        with FakeCluster(place / "cluster", stepped=False, objects=[objects], bookmark_ms=60_000) as fake:
            fake.configure(world())
            time.sleep(8)  # pods become ready and their usage is measured
            command = [sys.executable, "-m", "interlock.agents", "blueprint", "watch", str(place / "blueprints")]
            command += ["--shadow", "--every", str(EVERY_S), "--json", "--dir", str(place / "workspace")]
            command += ["--kubeconfig", str(fake.kubeconfig)]
            with (place / "watch.out").open("w") as out:
                watcher = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
                try:
                    found = watched(watcher.pid, place / "workspace/logs/agent-decisions")
                finally:
                    watcher.send_signal(signal.SIGTERM)
                    ended = watcher.wait(20)
            if ended != 0:
                raise SystemExit(f"the watcher ended with {ended}: {(place / 'watch.out').read_text()[-500:]}")
    return found


def watched(pid: int, logs: Path) -> dict[str, float]:
    """Samples the process from round to round. A round is one more decision of every service."""
    deadline = time.monotonic() + WITHIN_S
    began_s, costs_ms, counted = 0.0, list[float](), 0
    for round_ in range(ROUNDS + 1):
        while min(counts := lines(logs), default=0) <= round_ or len(counts) < SERVICES:
            if time.monotonic() > deadline:
                raise SystemExit(f"round {round_} of the watcher did not end: {len(counts)} services in {logs}")
            time.sleep(0.2)
        now_s = cpu_s(pid)
        if round_:  # the first has the start of the interpreter in it
            costs_ms.append((now_s - began_s) * 1_000 / max(1, sum(counts) - counted))
        began_s, counted = now_s, sum(counts)
    by_service = records(logs)
    for number in range(SERVICES):
        check(number, by_service[name(number)])
    costs_ms.sort()
    return {
        "watch_200_decision_cpu_p50_ms": costs_ms[len(costs_ms) // 2],
        "watch_200_decision_cpu_worst_round_ms": costs_ms[-1],
        "watch_200_rss_mb": peak_mb(pid),
        "watch_200_decisions": float(sum(len(found) for found in by_service.values())),
    }


def check(number: int, found: list[DecisionRecord]) -> None:
    """Its own object, its own figures, its own decision."""
    target = f"Deployment default/{name(number)}"
    for record in found:
        seen = record.decision.current_state.get("cpu_utilization_ppm", 0)
        ought = cpu_m(number) * 1_000_000 // CPU_REQUEST_M
        kind = "scale_up" if number % 4 == 0 else "hold"
        if record.target != target or (seen and abs(seen - ought) > 500):
            raise SystemExit(f"{name(number)}: {record.target}, cpu {seen} ppm instead of {ought}")
        if record.decision.type not in ("hold", kind):
            raise SystemExit(f"{name(number)}: {record.decision.type}: {record.decision.rationale}")
    if not any("cpu_utilization_ppm" in record.decision.current_state for record in found):
        raise SystemExit(f"{name(number)}: its usage was never seen")
    if number % 4 == 0 and not any(record.decision.type == "scale_up" for record in found):
        raise SystemExit(f"{name(number)}: never scaled up: {found[-1].decision.rationale}")


def records(logs: Path) -> dict[str, list[DecisionRecord]]:
    found = defaultdict(list)
    for path in logs.glob("*.jsonl"):
        for record in read_records(path):
            found[record.blueprint.name].append(record)
    return found


def lines(logs: Path) -> list[int]:
    return [path.read_bytes().count(b"\n") for path in logs.glob("*.jsonl")]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    print(json.dumps(measure()))
