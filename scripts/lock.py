"""Writes requirements/*.lock: every package with its hashes, for every supported Python, with no address of any index."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "hatchling\neditables\n"


def lock(name: str, extras: list[str]) -> None:
    target = ROOT / "requirements" / f"{name}.lock"
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11"]
        + ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
        + [argument for extra in extras for argument in ("--extra", extra)]
        + ["pyproject.toml", "requirements/build.in", "-o", str(target)],
        cwd=ROOT,
        check=True,
    )


if __name__ == "__main__":
    (ROOT / "requirements" / "build.in").write_text(BUILD)
    lock("run", ["kubernetes", "telemetry", "console", "plots"])
    lock("dev", ["dev"])
    lock("bench", ["bench"])
