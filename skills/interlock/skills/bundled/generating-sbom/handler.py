"""SBOM of a source tree, CycloneDX 1.6 and SPDX 2.3, each checked by its own library before it leaves."""

from __future__ import annotations

import hashlib
from typing import Any

from interlock.skills.release.cyclonedx_sbom import cyclonedx_json
from interlock.skills.release.spdx_sbom import spdx_json
from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.licences import load_licence_rules
from interlock.skills.repository.model import Context
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    rules = load_licence_rules(task.config)
    cyclonedx = cyclonedx_json(context, rules, task.now)
    spdx = spdx_json(context, rules, task.now)
    (task.out / "sbom.cdx.json").write_text(cyclonedx, encoding="utf-8")
    (task.out / "sbom.spdx.json").write_text(spdx, encoding="utf-8")
    entries = context.dependencies
    return {
        "name": context.name,
        "components": len(entries),
        "withLicence": sum(1 for entry in entries if entry.licence),
        "withVersion": sum(1 for entry in entries if entry.version),
        "withHash": sum(1 for entry in entries if entry.hashes),
        "cyclonedx": "1.6",
        "spdx": "SPDX-2.3",
        "sbomSha256": hashlib.sha256(cyclonedx.encode()).hexdigest(),
        **told(_gaps(context)),
    }


def _gaps(context: Context) -> list[Finding]:
    """What the bill of materials cannot say."""
    if not context.dependencies:
        return [
            Finding(
                "no-dependencies",
                "info",
                "no manifest that was read names a dependency; the SBOM holds the tree itself only",
            )
        ]
    unknown = sum(1 for entry in context.dependencies if not entry.version)
    if not unknown:
        return []
    message = f"{unknown} of {len(context.dependencies)} components have no resolved version; a lock file would tell it"
    return [Finding("sbom-without-versions", "low", message)]
