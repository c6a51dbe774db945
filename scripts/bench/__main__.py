"""Figures of this machine, as ratios against a baseline in the same run: prints a table, writes build/bench.json.

Usage: make bench [ARGS="--peers --rounds 3"]. Every figure has min, median and max over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench import decisions, goals, grants, hops, peers, policies, replays, telemetry, watching

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {
    "governed_hop_per_core_per_s": ">= 5000",
    "audit_adds_to_hop_percent": "<= 10",
    "added_latency_ms": "<= 0.4",
    "goal5_p50_ms": "<= 100",
    "goals_per_s": ">= 40",
    "cold_start_s": "<= 1.5",
    "role_rss_mb": "<= 60",
    "policy_p99_ms": "<= 1",
    "policy_p99_ms_50_rules": "<= 1",
    "telemetry_off_percent": "< 2",
    "telemetry_on_percent": "< 10",
    "bundle_1000_made_s": "<= 2",
    "bundle_1000_verified_s": "<= 2",
    "replay_read_hops_per_s": ">= 20000",
    "replay_decide_hops_per_s": ">= 3000",
    "decision_cpu_p95_ms": "<= 50",
    "decisions_200_rss_mb": "<= 300",
    "watch_200_decision_cpu_worst_round_ms": "<= 50",
    "watch_200_rss_mb": "<= 300",
    "peers.governed_to_faststream": ">= 1",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…")
    parser.add_argument("--peers", action="store_true", help="the same work on other libraries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hops", type=int, default=10_000)
    only = ["hops", "goals", "peers", "policies", "replays", "decisions", "watch", "telemetry"]
    parser.add_argument("--only", choices=only, default="")
    options = parser.parse_args()
    figures: dict[str, list[float]] = {}
    for round_number in range(options.rounds):
        print(f"round {round_number + 1} of {options.rounds}", flush=True)
        if options.only in ("", "hops"):
            collect(figures, hops.measure(options.hops) | grants.measure())
        if options.only in ("", "goals"):
            collect(figures, goals.measure())
        if options.only in ("", "policies"):
            collect(figures, policies.measure())
        if options.only in ("", "telemetry"):
            collect(figures, telemetry.measure(options.hops))
        if options.only in ("", "replays"):
            collect(figures, replays.measure())
        if options.only in ("", "decisions"):
            collect(figures, decisions.alone())
        if options.only in ("", "watch"):
            collect(figures, watching.measure())
        if options.peers or options.only == "peers":
            collect(figures, peers.measure(3 * options.hops))
    report = {
        name: {"min": min(values), "median": statistics.median(values), "max": max(values)}
        for name, values in sorted(figures.items())
    }
    out = ROOT / "build" / "bench.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{'figure':<40}{'min':>12}{'median':>12}{'max':>12}  target")
    for name, row in report.items():
        numbers = "".join(f"{row[key]:>12.2f}" for key in ("min", "median", "max"))
        print(f"{name:<40}{numbers}  {TARGETS.get(name, '')}")
    print(f"written: {out.relative_to(ROOT)}")
    return 0


def collect(figures: dict[str, list[float]], measured: dict[str, float]) -> None:
    for name, value in measured.items():
        figures.setdefault(name, []).append(value)


if __name__ == "__main__":
    sys.exit(main())
