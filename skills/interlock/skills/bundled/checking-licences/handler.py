"""Licences of the tree and of what it depends on, ruled by config/licences.yaml."""

from __future__ import annotations

from collections import Counter
from typing import Any

from interlock.skills.repository.findings import Finding, told
from interlock.skills.repository.given import context_of
from interlock.skills.repository.licences import (
    LicenceRules,
    Ruling,
    expression_of,
    load_licence_rules,
    rule_on,
    rules_for,
)
from interlock.skills.repository.manifests import is_aside
from interlock.skills.repository.model import Context, Dependency, Package
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    context = context_of(task)
    rules = load_licence_rules(task.config)
    own = [_own(package, context, rules) for package in context.packages]
    findings = [finding for _, found in own for finding in found] + _texts(context, rules)
    shipped = rules_for([plain["licence"] for plain, _ in own], rules)
    rulings: Counter[Ruling] = Counter()
    by_licence: Counter[str] = Counter()
    for entry in context.dependencies:
        expression = expression_of(entry.licence, rules)
        ruling = rule_on(expression, shipped)
        rulings[ruling] += 1
        by_licence[expression or ("not understood" if entry.licence else "not known")] += 1
        findings += _finding(entry, expression, ruling, rules)
    if rulings["unknown"]:
        findings.append(_unknown(context, rulings["unknown"]))
    return {
        "own": [plain for plain, _ in own][:50],
        "checked": len(context.dependencies),
        "allowed": rulings["allowed"],
        "review": rulings["review"],
        "forbidden": rulings["forbidden"],
        "unknown": rulings["unknown"],
        "byLicence": dict(sorted(by_licence.items(), key=lambda item: (-item[1], item[0]))[:60]),
        **told(findings),
    }


def _own(package: Package, context: Context, rules: LicenceRules) -> tuple[dict[str, Any], list[Finding]]:
    """What the tree says of itself: its field, and the texts beside it."""
    folder = package.manifest.rpartition("/")[0]
    beside = [text for text in context.licence_texts if text.path.rpartition("/")[0] in (folder, "") and text.spdx]
    expression = expression_of(package.licence, rules) or (beside[0].spdx if beside else "")
    plain = {"package": package.name or package.manifest, "licence": expression, "ruling": rule_on(expression, rules)}
    name, file = package.name or context.name, package.manifest
    if not expression:
        if package.licence:
            message = f"{name}: the licence `{package.licence}` is not understood; write an SPDX expression"
            return plain, [Finding("licence-not-understood", "medium", message, file)]
        if package.private:
            return plain, []
        message = f"{name} states no licence; add the field and a LICENSE file"
        return plain, [Finding("licence-missing", "medium", message, file)]
    if plain["ruling"] == "forbidden":
        message = f"{name} is itself under {expression}: {rules.forbidden_reason}"
        return plain, [Finding("licence-forbidden-own", "high", message, file, 0, True)]
    differing = [text for text in beside if package.licence and _contradicts(text.spdx, expression)]
    if not differing or len(differing) < len(beside):
        return plain, []
    message = f"{name} states {expression}, but {differing[0].path} holds {differing[0].spdx}"
    return plain, [Finding("licence-contradiction", "medium", message, differing[0].path)]


def _contradicts(text: str, expression: str) -> bool:
    """`GPL-3.0-only` in the text and `GPL-3.0-or-later` in the field go together: texts do not tell them apart."""
    family = text.rsplit("-", 1)[0] if text.endswith(("-only", "-or-later")) else text
    return family not in expression


def _texts(context: Context, rules: LicenceRules) -> list[Finding]:
    """Licence texts that lie in what is shipped, where no manifest speaks for them: vendored code."""
    folders = {package.manifest.rpartition("/")[0] for package in context.packages}
    found = []
    for text in context.licence_texts:
        if rule_on(text.spdx, rules) != "forbidden" or (text.path.rpartition("/")[0] in folders and context.packages):
            continue
        aside = is_aside(text.path) and "vendor" not in text.path.lower() and "third" not in text.path.lower()
        message = f"a text of {text.spdx}: {rules.forbidden_reason}"
        found.append(Finding("licence-forbidden-text", "low" if aside else "high", message, text.path, 0, not aside))
    return found


def _finding(entry: Dependency, expression: str, ruling: Ruling, rules: LicenceRules) -> list[Finding]:
    shipped = entry.scope in ("runtime", "optional")
    named = f"{entry.key}@{entry.version}" if entry.version else entry.key
    if ruling == "forbidden":
        message = f"{named} is under {expression}: {rules.forbidden_reason}"
        if not shipped:
            return [Finding("licence-forbidden-dev", "medium", f"{message}; used in development only", entry.source)]
        return [Finding("licence-forbidden", "critical", message, entry.source, entry.line, True)]
    if ruling == "review" and shipped:
        message = f"{named} is under {expression}, which a person has to look at"
        return [Finding("licence-review", "medium", message, entry.source, entry.line)]
    if entry.licence and not expression:
        message = f"{named}: the licence `{entry.licence}` is not understood"
        return [Finding("licence-not-understood", "medium" if shipped else "low", message, entry.source, entry.line)]
    return []


def _unknown(context: Context, number: int) -> Finding:
    message = (
        f"the licences of {number} of {len(context.dependencies)} dependencies are not known here; "
        "declare them in .interlock-licences.yaml"
    )
    return Finding("licence-unknown", "low", message)
