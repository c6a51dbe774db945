"""context_map.md: what a source tree is made of, for a reader who sees it for the first time."""

from __future__ import annotations

from interlock.skills.release.documents import code, counted, grid, markdown, size_text
from interlock.skills.release.documents import told as prose
from interlock.skills.repository.findings import told
from interlock.skills.repository.model import Context

MAX_ROWS = 60


def context_map(context: Context) -> str:
    """Only sections that have something to say are there."""
    lines = [f"# Context map of {code(context.name)}", ""]
    if context.description:
        lines += [f"> {prose(context.description)}", ""]
    lines += _identity(context)
    lines += _section("Components", _components(context))
    lines += _section("Entry points", _entry_points(context))
    lines += _section("Packages and manifests", _packages(context))
    lines += _section("Dependencies", _dependencies(context))
    lines += _section("AI libraries and models", _uses(context))
    lines += _section("How it is built and run", _infrastructure(context))
    lines += _section("What was left out", _left_out(context))
    lines += _section("What was noticed", _noticed(context))
    return markdown(lines)


def _section(title: str, body: list[str]) -> list[str]:
    return [f"## {title}", "", *body, ""] if body else []


def _identity(context: Context) -> list[str]:
    facts = [
        ("Version", code(context.version) if context.version else ""),
        ("Commit", code(context.commit) if context.commit else ""),
        ("Content digest (SHA-256)", code(context.digest)),
        ("Size", f"{counted(context.files, 'file')}, {size_text(context.bytes)}"),
        ("Languages", ", ".join(f"{name} {size_text(size)}" for name, size in list(context.languages.items())[:12])),
        ("Test files", str(context.tests) if context.tests else ""),
    ]
    return [*(f"- {name}: {value}" for name, value in facts if value), ""]


def _components(context: Context) -> list[str]:
    rows = [
        (code(part.path), part.role, part.language or "—", part.files, size_text(part.bytes))
        for part in context.components[:MAX_ROWS]
    ]
    return grid(("Path", "Role", "Language", "Files", "Size"), rows) + _more(len(context.components), "component")


def _entry_points(context: Context) -> list[str]:
    rows = [
        (code(entry.name), entry.kind, code(" ".join(entry.command)), entry.port or "—", code(entry.file))
        for entry in context.entry_points[:MAX_ROWS]
    ]
    return grid(("Name", "Kind", "Command", "Port", "Told by"), rows) + _more(len(context.entry_points), "entry point")


def _packages(context: Context) -> list[str]:
    rows = [
        (code(entry.name), entry.ecosystem, code(entry.version), code(entry.licence), code(entry.manifest))
        for entry in context.packages[:MAX_ROWS]
    ]
    lines = grid(("Package", "Ecosystem", "Version", "Licence", "Manifest"), rows)
    others = [path for path in context.manifests if path not in {entry.manifest for entry in context.packages}]
    lines += [f"- {code(path)}" for path in others[:MAX_ROWS]] + _more(len(others), "manifest")
    lines += [
        f"- licence text {code(text.path)}: {text.spdx or 'not recognised'}" for text in context.licence_texts[:20]
    ]
    return lines


def _dependencies(context: Context) -> list[str]:
    if not context.dependencies:
        return []
    direct = [entry for entry in context.dependencies if entry.direct]
    rows = [
        (code(entry.name), entry.ecosystem, code(entry.version or entry.specifier), entry.scope, code(entry.source))
        for entry in direct[:MAX_ROWS]
    ]
    heads = ("Direct dependency", "Ecosystem", "Version", "Scope", "Told by")
    return [
        f"{len(direct)} direct, {len(context.dependencies) - len(direct)} only through others. All are in the SBOM.",
        "",
        *grid(heads, rows),
        *_more(len(direct), "direct dependency"),
    ]


def _uses(context: Context) -> list[str]:
    rows = [
        (code(use.name), use.kind, code(f"{use.file}:{use.line}" if use.line else use.file), use.files)
        for use in context.uses[:MAX_ROWS]
        if use.kind != "framework"
    ]
    return grid(("Name", "Kind", "First seen", "Files"), rows)


def _infrastructure(context: Context) -> list[str]:
    lines = [
        f"- {kind}: {', '.join(code(path) for path in paths[:8])}" for kind, paths in context.infrastructure.items()
    ]
    frameworks = [use.name for use in context.uses if use.kind == "framework" and use.files]
    return lines + ([f"- web frameworks: {', '.join(code(name) for name in frameworks)}"] if frameworks else [])


def _left_out(context: Context) -> list[str]:
    lines = [f"- {code(path)}: made by others or by tools; not looked at" for path in context.skipped[:20]]
    lines += _more(len(context.skipped), "directory", 20)
    return lines + ([f"- {counted(context.links, 'symbolic link')}: not followed"] if context.links else [])


def _noticed(context: Context) -> list[str]:
    findings = told(context.findings, 40)
    rows = [(entry["severity"], code(entry.get("file", "")), prose(entry["message"])) for entry in findings["findings"]]
    return grid(("Severity", "File", "What"), rows) + _more(findings["findingCounts"]["total"], "finding", 40)


def _more(total: int, noun: str, shown: int = MAX_ROWS) -> list[str]:
    return [f"… and {counted(total - shown, noun)} more.", ""] if total > shown else []
