"""The last step of a release: sixteen checked documents and their manifest."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from interlock.bus.yaml12 import YamlError, load_yaml
from interlock.envelope.canonical import canonical
from interlock.skills.release.placeholders import left_to_fill_in
from interlock.skills.repository.findings import Finding, told
from interlock.skills.schemas import check
from interlock.skills.sdk import SkillError, Task

MEDIA_TYPES = {
    "context_map.md": "text/markdown",
    "flow_matrix.json": "application/json",
    "scoped_prompt.md": "text/markdown",
    "validation_rules.yaml": "application/yaml",
    "model_card.yaml": "application/yaml",
    "risk_assessment.json": "application/json",
    "audit_report.md": "text/markdown",
    "compliance_log.json": "application/json",
    "sbom.spdx.json": "application/spdx+json",
    "sbom.cdx.json": "application/vnd.cyclonedx+json",
    "deployment_manifest.yaml": "application/yaml",
    "monitoring_config.yaml": "application/yaml",
    "runbook.md": "text/markdown",
    "cost_analysis.json": "application/json",
    "knowledge_pack.md": "text/markdown",
    "provenance.intoto.jsonl": "application/vnd.in-toto+jsonl",
}
SCHEMAS = Path(__file__).with_name("schemas")
# Inside of what these lists hold, uniqueness and shape were checked by the formats' own libraries when they were made;
# here a long list is checked by its head.
MAX_CHECKED_ITEMS = 500


def run(task: Task) -> dict[str, Any]:
    provenance = task.out / "provenance.intoto.jsonl"
    provenance.write_bytes(_provenance(task.input["attestations"]))
    files = {name: task.files[name] for name in MEDIA_TYPES if name in task.files} | {provenance.name: provenance}
    problems = _missing(files) + [problem for name, path in files.items() for problem in _problems(name, path)]
    if problems:
        raise SkillError("the deliverable is not whole: " + "; ".join(problems[:5]))
    entries = [_entry(name, files[name]) for name in sorted(files)]
    unfilled = left_to_fill_in(files, *_foreign(task, files))
    failed = [gate["gate"] for gate in task.input["gates"] if not gate["passed"]]
    releasable = not failed and not unfilled
    manifest = canonical(
        {
            "format": "interlock.deliverable/1",
            "specVersion": "3.2",
            "createdAt": task.now,
            "releasable": releasable,
            "failedGates": failed,
            "files": entries,
        }
    )
    (task.out / "manifest.json").write_bytes(manifest)
    return {
        "files": len(entries),
        "bytes": sum(entry["size"] for entry in entries),
        "releasable": releasable,
        "failedGates": failed,
        "attestations": len(task.input["attestations"]),
        "manifestSha256": hashlib.sha256(manifest).hexdigest(),
        **told(unfilled + _failed(task.input["gates"])),
    }


def _entry(name: str, path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    schema = SCHEMAS / f"{name.rpartition('.')[0]}.schema.json"
    entry = {
        "name": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "mediaType": MEDIA_TYPES[name],
    }
    return entry | {"schemaSha256": hashlib.sha256(schema.read_bytes()).hexdigest()} if schema.exists() else entry


def _foreign(task: Task, files: dict[str, Path]) -> tuple[Any, Any]:
    """What others wrote: (text that may stand anywhere: the intake, descriptions, messages that quote; all names of
    the repository).
    """
    quoted = [entry.get("message", "") for entry in json.loads(files["compliance_log.json"].read_bytes())["entries"]]
    given = task.files.get("context.json")
    context = json.loads(given.read_bytes()) if given is not None else {}
    packages = [package.get("description", "") for package in context.get("packages", [])]
    return [task.input["goal"], quoted, packages, context.get("description", "")], context


def _missing(files: dict[str, Path]) -> list[str]:
    return [f"{name} is missing" for name in MEDIA_TYPES if name not in files]


def _failed(gates: list[dict[str, Any]]) -> list[Finding]:
    """The gates that failed, so that the result says why it may not be released; what made them fail blocks already."""
    failed = [gate for gate in gates if not gate["passed"]]
    return [Finding("gate-failed", "info", f"gate {gate['gate']} ({gate['name']}) failed") for gate in failed]


def _problems(name: str, path: Path) -> list[str]:
    """Why a document is not what its name promises; empty if it is."""
    data = path.read_bytes()
    if not data.strip() and name != "provenance.intoto.jsonl":
        return [f"{name} is empty"]
    try:
        text = data.decode()
        if name.endswith(".md"):
            return [] if re.match(r"# \S", text) else [f"{name} does not begin with a title"]
        if name.endswith(".jsonl"):
            values = [json.loads(line) for line in text.splitlines()]
        else:
            values = [json.loads(text) if name.endswith(".json") else _yaml(data, name)]
    except (ValueError, RecursionError) as error:
        return [f"{name} cannot be read: {error}"]
    schema = json.loads((SCHEMAS / f"{name.rpartition('.')[0]}.schema.json").read_bytes())
    return [f"{name}: {where}: {what}" for value in values for where, what in check(_head(value), schema)]


def _yaml(data: bytes, name: str) -> Any:
    try:
        return load_yaml(data, source=name).value
    except YamlError as error:
        raise ValueError(str(error)) from error


def _head(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: entry[:MAX_CHECKED_ITEMS] if isinstance(entry, list) else entry for key, entry in value.items()}
    return value


def _provenance(attestations: list[dict[str, Any]]) -> bytes:
    """One signed statement per line, in the order of their tasks, so that parallel runs give the same order."""
    lines = sorted((_task_of(entry), canonical(entry)) for entry in attestations)
    return b"".join(line + b"\n" for _, line in lines)


def _task_of(attestation: dict[str, Any]) -> str:
    definition = attestation.get("statement", {}).get("predicate", {}).get("buildDefinition", {})
    return str(definition.get("externalParameters", {}).get("taskId", ""))
