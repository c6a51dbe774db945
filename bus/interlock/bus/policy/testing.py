"""Running the Rego unit tests of a bundle on our own engine (GOV-04).

A test module has `cases`: name → {input, decision, codes}. Here each input is set and judged exactly as in production;
`opa test` gets at the same cases by the modules' `test_…` rules. Those need `with`, which makes this engine abort as
soon as a replaced rule depends on another, so rules with a `with` are cut out before it sees the module.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from interlock.bus.policy.bundle import PolicyBundle, load_bundle, read_tests
from interlock.bus.policy.engine import Engine
from interlock.bus.policy.errors import PolicyError
from interlock.bus.policy.rego_source import Module, Source
from interlock.envelope.verdict import Verdict

CASES = "cases"


class RegoTest(Struct, frozen=True):
    """One case. problem: why it failed, empty if it passed."""

    module: str
    name: str
    problem: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem


class Report(Struct, frozen=True):
    """What the child found. reason, detail, mend: of the PolicyError that ended it, if one did."""

    tests: list[RegoTest] = field(default_factory=list)
    reason: str = ""
    detail: str = ""
    mend: str = ""


def tested(policies: Path, workspace: Sequence[Path] = (), *, within_s: float = 60) -> list[RegoTest]:
    """All cases of a bundle, run in a child: the engine aborts its process on what it cannot compile. Raises PolicyError."""
    command = [sys.executable, "-I", "-m", "interlock.bus.policy.testing", str(policies), *map(str, workspace)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise PolicyError("policy_timeout", f"the tests did not end within {within_s:.0f} s") from error
    try:
        report = msgspec.json.decode(done.stdout, type=Report)
    except msgspec.MsgspecError as error:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        detail = f"the engine aborted: {said[-1] if said else done.returncode}"
        raise PolicyError(
            "policy_failed", detail[:500], "Write it simpler; docs/policies.md names its limits"
        ) from error
    if report.reason:
        raise PolicyError(report.reason, report.detail, report.mend)
    return report.tests


def run_tests(bundle: PolicyBundle) -> list[RegoTest]:
    """All cases of the bundle, in the order of files and names. Raises PolicyError if policies or tests are unusable."""
    sources = read_tests(bundle)
    entries = {source.name: "/".join((*source.package, CASES)) for source in sources if CASES in source.heads}
    texts = {module.name: module.text for module in bundle.tests}
    tests = [Module(source.name, without_tests(texts[source.name], source)) for source in sources]
    engine = Engine([*bundle.modules, *tests], list(entries.values()))
    outcomes = []
    for name, entry in entries.items():
        for case, told in _cases(engine, name, entry).items():
            outcomes.append(RegoTest(name, case, problem_of(engine.judge(told.get("input")), told)))
    return outcomes


def without_tests(text: str, source: Source) -> str:
    """The module with the rules that only OPA can run blanked: line numbers stay."""
    lines = text.split("\n")
    for first, last in source.tests:
        lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(lines)


def problem_of(verdict: Verdict, case: dict[str, Any]) -> str:
    """What differs between a verdict and what a case expects of it; empty if nothing does."""
    codes = sorted({ground.code for ground in verdict.grounds})
    wanted = case.get("decision"), sorted(case.get("codes", []))
    if (str(verdict.decision), codes) == wanted:
        return ""
    return f"{verdict.decision} with {', '.join(codes) or 'no codes'}; wanted {wanted[0]} with {', '.join(wanted[1])}"


def _cases(engine: Engine, name: str, entry: str) -> dict[str, dict[str, Any]]:
    answer = engine.value({}, entry)
    if isinstance(answer, Verdict) or not isinstance(answer, dict):
        why = answer.grounds[0].message if isinstance(answer, Verdict) else "it is no object"
        raise PolicyError("policy_failed", f"{name}: `{CASES}` cannot be evaluated: {why}")
    return {case: told if isinstance(told, dict) else {} for case, told in sorted(answer.items())}


def main(arguments: Sequence[str]) -> int:
    """The child: directories in, a report in JSON out."""
    try:
        report = Report(run_tests(load_bundle(Path(arguments[0]), [Path(name) for name in arguments[1:]])))
    except PolicyError as error:
        report = Report(reason=error.reason, detail=error.detail, mend=error.mend)
    sys.stdout.write(msgspec.json.encode(report).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
