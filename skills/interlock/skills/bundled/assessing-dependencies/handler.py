"""Dependency risk, as far as a tree tells it offline. Points and levels: config/dependencies.yaml."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from interlock.bus.yaml12 import load_yaml
from interlock.skills.repository.findings import Finding, Severity, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.model import Context, Dependency
from interlock.skills.sdk import Task

_WILDCARD = re.compile(r"\*|x|latest|next|master|main|>=\s*0(\.0)*", re.IGNORECASE)
_PRERELEASE = re.compile(r"\d(a|b|rc|\.dev|-(alpha|beta|rc|next|canary|dev))", re.IGNORECASE)
NOT_COVERED = [
    "known vulnerabilities: need a vulnerability database",
    "yanked, deprecated or abandoned releases: need the registry",
    "names that imitate well-known packages: need the registry",
]


class Scoring(Struct, frozen=True, forbid_unknown_fields=True):
    points: dict[str, int]
    levels: dict[str, int]


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    scoring = load_scoring(task.config)
    counts: Counter[str] = Counter()
    quarters: Counter[str] = Counter()
    findings: list[Finding] = []
    for entry in context.dependencies:
        for kind, severity, message in _faults(entry):
            shipped = entry.scope in ("runtime", "optional")
            counts[kind] += 1
            quarters[kind] += 4 if shipped else 1
            if severity != "info":
                mild: Severity = severity if shipped else "low"
                findings.append(
                    Finding(kind.replace("_", "-"), mild, f"{entry.key}: {message}", entry.source, entry.line)
                )
    for kind, finding in _of_the_whole(context):
        counts[kind] += 1
        quarters[kind] += 4
        findings.append(finding)
    findings += _summed(counts, len(context.dependencies))
    score = min(1000, sum(scoring.points[kind] * number for kind, number in quarters.items()) // 4)
    return {
        "direct": sum(1 for entry in context.dependencies if entry.direct),
        "transitive": sum(1 for entry in context.dependencies if not entry.direct),
        "development": sum(1 for entry in context.dependencies if entry.scope in ("dev", "build")),
        "locked": sum(1 for entry in context.dependencies if entry.locked),
        "score": score,
        "level": max((bound, name) for name, bound in scoring.levels.items() if score >= bound)[1],
        "counts": dict(sorted(counts.items())),
        "notCovered": NOT_COVERED,
        **told(findings),
    }


def load_scoring(config: Path) -> Scoring:
    """Reads dependencies.yaml of a configuration directory. Raises ValueError."""
    path = config / "dependencies.yaml"
    return msgspec.convert(load_yaml(path.read_bytes(), source=path.name).value, Scoring)


def _faults(entry: Dependency) -> list[tuple[str, Severity, str]]:
    """(kind, severity, message) of each fault of one dependency; `info` is only counted."""
    if entry.origin in ("url", "vcs"):
        outside = f"comes from {entry.specifier or 'an address'} instead of a registry"
        fixed = entry.locked or re.search(r"[0-9a-f]{40}", entry.specifier) is not None
        found: list[tuple[str, Severity, str]] = [("outside_registry", "medium" if fixed else "high", outside)]
        if entry.specifier.startswith(("http://", "git://", "git+http://")):
            found.append(("plain_http", "high", f"is fetched without encryption from {entry.specifier}"))
        return found
    if entry.origin == "path":
        return []
    found = []
    if entry.direct and not entry.locked:
        if not entry.specifier or _WILDCARD.fullmatch(entry.specifier):
            found.append(("wildcard", "medium", f"any version will do (`{entry.specifier or 'no specifier'}`)"))
        elif not entry.version:
            found.append(("unpinned", "info", ""))
    if entry.version and _PRERELEASE.search(entry.version):
        found.append(("prerelease", "low", f"{entry.version} is a pre-release"))
    if entry.locked and not entry.hashes:
        found.append(("without_hash", "info", ""))
    return found


def _of_the_whole(context: Context) -> list[tuple[str, Finding]]:
    found = []
    for ecosystem in ("pypi", "npm"):
        entries = [entry for entry in context.dependencies if entry.ecosystem == ecosystem]
        runtime = [entry for entry in entries if entry.scope == "runtime" and entry.origin == "registry"]
        if runtime and not any(entry.locked for entry in entries) and any(not entry.version for entry in runtime):
            message = f"no lock file for {ecosystem}: what is installed depends on the day"
            found.append(("no_lock_file", Finding("no-lock-file", "medium", message, runtime[0].source)))
        versions = Counter(entry.name for entry in entries)
        found += [
            (
                "duplicate_version",
                Finding("duplicate-version", "info", f"{ecosystem}:{name} is there in {number} versions"),
            )
            for name, number in sorted(versions.items())
            if number > 1
        ]
    for finding in context.findings:
        if finding.id in ("other-index", "install-script"):
            found.append((finding.id.replace("-", "_"), finding))
    return found


def _summed(counts: Counter[str], total: int) -> list[Finding]:
    """One line for what is too common to be told one by one."""
    found = []
    if counts["unpinned"]:
        message = f"{counts['unpinned']} of {total} dependencies leave the version open and no lock file fixes it"
        found.append(Finding("unpinned", "low", message))
    if counts["without_hash"]:
        message = f"{counts['without_hash']} of {total} dependencies are locked without a hash"
        found.append(Finding("without-hash", "low", message))
    return found
