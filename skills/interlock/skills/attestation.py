"""The in-toto Statement (v1) of a run with SLSA provenance (v1): what ran, on what, to what (ENV-08). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.skills.manifest import Skill

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://interlock.dev/skill-run/v1"
OUTPUT_SUBJECT = "output.json"


def run_statement(
    *,
    skill: Skill,
    invocation: str,
    task_id: str,
    input: Mapping[str, Any],
    inputs: Mapping[str, str],
    output: Mapping[str, Any],
    outputs: Mapping[str, str],
    started_at: str,
    resources: Mapping[str, Any],
    cost_usd: str,
    carbon_grams: str,
) -> dict[str, Any]:
    """inputs and outputs: SHA-256 by file name. The subjects are the output object and every file produced; time and
    ids stand only in `runDetails.metadata`, what was used only in `runDetails.byproducts`.
    """
    digests = {OUTPUT_SUBJECT: sha256_hex(canonical(output)), **outputs}
    materials = [{"uri": f"skill:{skill.name}@{skill.manifest.version}", "digest": {"sha256": skill.digest}}]
    materials += [{"uri": f"artifact:{name}", "digest": {"sha256": digest}} for name, digest in sorted(inputs.items())]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"taskId": task_id, "inputDigest": {"sha256": sha256_hex(canonical(input))}},
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {"id": "https://interlock.dev/executor/v1"},
                "metadata": {"invocationId": invocation, "startedOn": started_at},
                "byproducts": [
                    {"name": "resources", "annotations": dict(resources)},
                    {"name": "cost", "annotations": {"usd": cost_usd, "carbonGramsCO2": carbon_grams}},
                ],
            },
        },
    }
