"""Secret scan of a source tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interlock.skills.repository.findings import told
from interlock.skills.repository.secret_rules import load_secret_rules
from interlock.skills.repository.secrets import scan_tree
from interlock.skills.sdk import SkillError, Task


def run(task: Task) -> dict[str, Any]:
    try:
        scan = scan_tree(Path(task.input["path"]), load_secret_rules(task.config))
    except OSError as error:
        raise SkillError(f"the directory cannot be listed: {error.strerror}; check `path` and its rights") from error
    return {
        "filesScanned": scan.files,
        "bytesScanned": scan.bytes,
        "binaryFiles": scan.binary,
        "cutFiles": scan.cut,
        "allowListed": scan.allowed,
        "byType": dict(sorted(scan.by_type.items())),
        "leaked": sum(1 for entry in scan.findings if entry.blocks),
        **told(scan.findings),
    }
