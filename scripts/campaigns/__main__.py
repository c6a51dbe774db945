"""All campaigns of docs/guarantees.md: prints the seed and a table, writes build/chaos.json. Exit 1 if one failed.

Usage: make chaos [ARGS="--quick --seed 7 --only actors,broker --amount 50"].
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

import anyio
import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interlock.agents.flags.file import load_flags, resolve
from interlock.envelope.amounts import clock_ms
from scripts.campaigns.result import Result, table

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "chaos.json"
# Name → (full amount, quick amount). Each is a module here with `campaign(root, amount, seed)`.
CAMPAIGNS = {
    "actors": (1_000, 8),
    "broker": (100, 2),
    "leases": (16, 2),
    "poison": (1_000, 19),
    "store": (100, 10),
    "bundles": (10_000, 150),
    "cluster": (200, 2),
    "power": (20, 1),
    "partition": (20, 1),
    "clocks": (5_000, 2_000),
    "disk": (5, 1),
}


def allowed_now() -> bool:
    """By the schedule of config/flags.yaml."""
    flag = load_flags(ROOT / "config" / "flags.yaml").get("chaos-engineering")
    return flag is not None and resolve(flag, {}, clock_ms()).value is True


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos ARGS=…")
    parser.add_argument("--quick", action="store_true", help="a little of each, as make test does it")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", default="", help=f"of {', '.join(CAMPAIGNS)}")
    parser.add_argument("--amount", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--scheduled", action="store_true", help="only while the flag chaos-engineering is on")
    options = parser.parse_args()
    if options.scheduled and not allowed_now():
        print("the flag chaos-engineering is off now: nothing is done")
        return 0
    print(f"seed {options.seed}", flush=True)
    results = []
    for name, (full, quick) in CAMPAIGNS.items():
        if options.only and name not in options.only.split(","):
            continue
        one = held(name, options.amount or (quick if options.quick else full), options.seed)
        print(table([one]).partition("\n")[2], flush=True)
        results.append(one)
    print(f"\n{table(results)}\nseed {options.seed}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    told = {"seed": options.seed, "quick": options.quick, "campaigns": msgspec.to_builtins(results)}
    options.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(one.passed for one in results) else 1


def held(name: str, amount: int, seed: int) -> Result:
    """One campaign in a directory of its own. One that ends with an error has failed, and the next go on."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"interlock-{name}-") as root:
        try:
            result: Result = anyio.run(
                importlib.import_module(f"scripts.campaigns.{name}").campaign, Path(root).resolve(), amount, seed
            )
        except Exception as error:
            traceback.print_exc()
            result = Result(campaign=name, failures=[f"{type(error).__name__}: {error}"[:300]])
    return msgspec.structs.replace(result, seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    sys.exit(main())
