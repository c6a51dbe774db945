"""Inventory and context map of a source tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from interlock.skills.release.context_map import context_map
from interlock.skills.repository.findings import told
from interlock.skills.repository.given import CONTEXT_FILE, survey_of
from interlock.skills.repository.model import Context
from interlock.skills.repository.names import one_line
from interlock.skills.sdk import Task


def run(task: Task) -> dict[str, Any]:
    context = survey_of(task, Path(task.input["path"]))
    (task.out / CONTEXT_FILE).write_bytes(msgspec.json.encode(context))
    (task.out / "context_map.md").write_text(context_map(context), encoding="utf-8")
    return summary(context)


def summary(context: Context) -> dict[str, Any]:
    plain = msgspec.to_builtins
    return {
        "name": context.name,
        "version": context.version,
        "digest": context.digest,
        "commit": context.commit,
        "files": context.files,
        "bytes": context.bytes,
        "languages": context.languages,
        "manifests": [one_line(path, 200) for path in context.manifests[:50]],
        "manifestCount": len(context.manifests),
        "dependencies": len(context.dependencies),
        "directDependencies": sum(1 for entry in context.dependencies if entry.direct),
        "components": [{**plain(part), "path": one_line(part.path, 200)} for part in context.components[:40]],
        "entryPoints": [
            {"kind": entry.kind, "name": entry.name, "port": entry.port, "file": one_line(entry.file, 200)}
            for entry in context.entry_points[:40]
        ],
        "aiUses": [
            {"name": use.name, "kind": use.kind, "file": one_line(use.file, 200), "line": use.line}
            for use in context.uses
            if use.kind != "framework"
        ][:40],
        **told(context.findings),
    }
