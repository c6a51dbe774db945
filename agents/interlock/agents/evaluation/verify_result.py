"""Verification of a result before anyone may build on it (gate G4). Pure.

The evaluator believes nothing it can check: the output against the skill's own schema, the attestation against the
executor's key, the digests in it against what the result says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct

from interlock.agents.evaluation.injection import Checker
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.envelope.model import Attestation
from interlock.envelope.payloads import Finding, Ground, TaskResult, Verification
from interlock.envelope.signing import is_valid_attestation

if TYPE_CHECKING:
    from interlock.skills.registry import Registry

SchemaCheck = Callable[[Any, Any], list[tuple[str, str]]]
OUTPUT_SUBJECT = "output.json"


class SkillFacts(Struct, frozen=True):
    """What the evaluator knows of a skill by itself."""

    digest: str
    output_schema: Any
    deterministic: bool
    domain: str = "general"


def skill_facts(registry: Registry, name: str) -> SkillFacts | None:
    """Of a skill of these; None for one that is not there."""
    skill = registry.find(name)
    if skill is None:
        return None
    manifest = skill.manifest
    return SkillFacts(skill.digest, manifest.output, manifest.deterministic, manifest.domain)


def verify_result(
    result: TaskResult,
    *,
    result_id: str,
    key_id: str,
    attestations: Sequence[Attestation],
    skill: SkillFacts | None,
    check_schema: SchemaCheck,
    checker: Checker,
) -> Verification:
    """The verdict on one result. key_id: the key that signed the envelope it came in."""
    grounds = _grounds(result, key_id, attestations, skill, check_schema)
    suspicious = _suspicious(result, checker)
    deterministic = skill is not None and skill.deterministic
    confidence = 0 if grounds else (1000 if deterministic else 900) - min(200, 100 * len(suspicious))
    return Verification(
        decision="deny" if grounds else "allow",
        grounds=grounds,
        result=msgspec.structs.replace(result, findings=[*result.findings, *suspicious]),
        result_id=result_id,
        confidence=confidence,
    )


def _grounds(
    result: TaskResult,
    key_id: str,
    attestations: Sequence[Attestation],
    skill: SkillFacts | None,
    check_schema: SchemaCheck,
) -> list[Ground]:
    if result.outcome != "done":
        return [Ground(code=result.outcome, message=result.detail or "the task was not done", rule="G4")]
    if skill is None:
        return [Ground(code="unknown_skill", message=f"the evaluator knows no skill {result.skill}", rule="G4")]
    grounds = []
    if skill.digest != result.skill_digest:
        grounds.append(Ground(code="skill_differs", message=f"{result.skill} ran as {result.skill_digest}", rule="G4"))
    if result.domain not in (UNSET, skill.domain):
        message = f"{result.skill} is of {skill.domain}, its cost was put down to {result.domain}"
        grounds.append(Ground(code="skill_differs", message=message, rule="G4"))
    for path, message in check_schema(result.output, skill.output_schema)[:10]:
        grounds.append(Ground(code="output_invalid", message=f"{path}: {message}"[:2000], rule="G4"))
    problem = attestation_problem(result, key_id, attestations)
    if problem:
        grounds.append(Ground(code="attestation_invalid", message=problem, rule="ENV-08"))
    return grounds


def attestation_problem(result: TaskResult, key_id: str, attestations: Sequence[Attestation]) -> str:
    """Empty if one attestation, signed by the executor's own key, covers the output and every file by digest."""
    own = [entry for entry in attestations if entry.key_id == key_id and is_valid_attestation(entry)]
    if not own:
        return "no attestation signed by the executor's key"
    covered = {digest for entry in own for digest in _subjects(entry)}
    wanted = {OUTPUT_SUBJECT: sha256_hex(canonical(result.output))} | {file.name: file.digest for file in result.files}
    missing = sorted(name for name, digest in wanted.items() if digest not in covered)
    return f"the attestation does not cover {', '.join(missing)}" if missing else ""


def _subjects(attestation: Attestation) -> list[str]:
    subjects = attestation.statement.get("subject")
    if not isinstance(subjects, list):
        return []
    digests = [entry.get("digest") for entry in subjects if isinstance(entry, dict)]
    return [str(digest.get("sha256")) for digest in digests if isinstance(digest, dict)]


def _suspicious(result: TaskResult, checker: Checker) -> list[Finding]:
    """Text in the output that tries to instruct whoever reads it: told, but not blocking, since nothing here obeys."""
    return [
        msgspec.structs.replace(finding, severity="medium", id=f"suspicious-output-{finding.id}")
        for finding in checker.check(result.output, "$.output")
        if finding.severity in ("high", "critical")
    ][:5]
