"""Which file is which manifest, and reading one so that whatever is wrong with it becomes a finding."""

from __future__ import annotations

import re
from collections.abc import Callable

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.javascript_locks import read_package_lock, read_pnpm_lock, read_yarn_lock
from interlock.skills.repository.javascript_manifests import read_package_json
from interlock.skills.repository.model import Manifest
from interlock.skills.repository.python_locks import (
    read_pipfile_lock,
    read_poetry_lock,
    read_requirements,
    read_uv_lock,
)
from interlock.skills.repository.python_manifests import (
    read_metadata,
    read_pipfile,
    read_pyproject,
    read_setup_cfg,
)
from interlock.skills.repository.setup_py import read_setup_py
from interlock.skills.repository.structured import Unreadable
from interlock.skills.repository.walk import Entry, Tree

Reader = Callable[[str, str], Manifest]
LOCK_LIMIT = 16 << 20
_READERS: dict[str, Reader] = {
    "pyproject.toml": read_pyproject,
    "setup.cfg": read_setup_cfg,
    "setup.py": read_setup_py,
    "Pipfile": read_pipfile,
    "Pipfile.lock": read_pipfile_lock,
    "poetry.lock": read_poetry_lock,
    "uv.lock": read_uv_lock,
    "package.json": read_package_json,
    "package-lock.json": read_package_lock,
    "npm-shrinkwrap.json": read_package_lock,
    "yarn.lock": read_yarn_lock,
    "pnpm-lock.yaml": read_pnpm_lock,
    "PKG-INFO": read_metadata,
    "METADATA": read_metadata,
}
_REQUIREMENTS = re.compile(r"(.*/)?(requirements[^/]*|[^/]*[-_.]requirements|requirements/[^/]+)\.(txt|lock)")
# Of other languages there is no reader: that they are there is all that is known.
_UNREAD: dict[str, str] = {
    "Cargo.toml": "Rust",
    "go.mod": "Go",
    "pom.xml": "Java",
    "build.gradle": "Java",
    "build.gradle.kts": "Java",
    "Gemfile": "Ruby",
    "composer.json": "PHP",
    "Package.swift": "Swift",
    "pubspec.yaml": "Dart",
    "mix.exs": "Elixir",
}
# What lies below these belongs to tests, examples or others, not to what is released.
ASIDE = re.compile(
    r"(^|/)(tests?|testing|__tests__|__fixtures__|fixtures?|testdata|test[-_]data|examples?|samples?|demos?|docs?"
    r"|templates?|vendor(ed)?|_vendor|third[-_]party|benchmarks?|e2e|spec|[^/]+\.dist-info|[^/]+\.egg-info)/",
    re.IGNORECASE,
)


def reader_for(path: str) -> Reader | None:
    """By the file's name and place."""
    by_name = _READERS.get(path.rpartition("/")[2])
    return by_name or (read_requirements if _REQUIREMENTS.fullmatch(path) else None)


def unread_language(path: str) -> str:
    """The language of a manifest that nobody here reads; empty for all other files, and for code that was copied in."""
    name = path.rpartition("/")[2]
    language = _UNREAD.get(name) or (".NET" if name.endswith((".csproj", ".fsproj")) else "")
    return "" if is_copied(path) else language


# Manifests in build output describe what was bundled in, not what is depended on.
_BUILT = re.compile(r"(^|/)(dist|build|out|compiled|bundled?)/", re.IGNORECASE)


def is_copied(path: str) -> bool:
    """Whether a manifest belongs to code that was copied in: aside, or inside of build output."""
    return is_aside(path) or _BUILT.search(path) is not None


def is_aside(path: str) -> bool:
    """Whether a file belongs to tests, examples, documentation or vendored code."""
    return ASIDE.search(path) is not None


def read_manifest(tree: Tree, entry: Entry) -> Manifest | None:
    """None for a file that is no manifest, or cannot be opened."""
    reader = reader_for(entry.path)
    content = tree.read(entry, LOCK_LIMIT) if reader else None
    if reader is None or content is None:
        return None
    broken = Manifest(path=entry.path, kind="broken")
    if content.truncated or content.text is None:
        why = f"larger than {LOCK_LIMIT} bytes" if content.truncated else "binary"
        broken.findings.append(Finding("broken-manifest", "medium", f"{why}; not read", entry.path))
        return broken
    try:
        return reader(entry.path, content.text)
    except Unreadable as error:
        broken.findings.append(Finding("broken-manifest", "medium", str(error), entry.path))
        return broken
