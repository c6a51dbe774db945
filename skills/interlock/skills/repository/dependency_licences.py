"""Licences of dependencies, from what lies in the tree: installed packages first, then what the owner declares.

Lock files of npm tell them already; those of Python do not. `.interlock-licences.yaml` holds the owner's declarations:
`licences: {"pypi:flask": BSD-3-Clause}`; it speaks only where nothing installed does.
"""

from __future__ import annotations

import os

from msgspec.structs import replace

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.javascript_manifests import read_package_json
from interlock.skills.repository.model import Dependency
from interlock.skills.repository.names import one_line, printable_name
from interlock.skills.repository.python_manifests import read_metadata
from interlock.skills.repository.requirement import pypi_name
from interlock.skills.repository.structured import Unreadable, table, words
from interlock.skills.repository.walk import Tree

DECLARATIONS = ".interlock-licences.yaml"
MAX_INSTALLED = 3_000


def with_licences(tree: Tree, dependencies: list[Dependency]) -> list[Dependency]:
    """The same dependencies, those without a licence completed where the tree tells one."""
    if all(entry.licence for entry in dependencies):
        return dependencies
    installed = _installed_python(tree)
    declared = _declared(tree)
    return [_completed(tree, entry, installed, declared) for entry in dependencies]


def _completed(tree: Tree, entry: Dependency, installed: dict[str, str], declared: dict[str, str]) -> Dependency:
    if entry.licence:
        return entry
    found = installed.get(entry.name, "") if entry.ecosystem == "pypi" else _installed_node(tree, entry.name)
    if found:
        return replace(entry, licence=found, licence_from="installed")
    told = declared.get(f"{entry.key}@{entry.version}") or declared.get(entry.key, "")
    return replace(entry, licence=told, licence_from="declared") if told else entry


def _installed_python(tree: Tree) -> dict[str, str]:
    """Licence fields of the distributions in a virtual environment inside the tree, by normalised name."""
    found: dict[str, str] = {}
    for environment in (b".venv", b"venv"):
        for version in _names(tree, environment + b"/lib")[:5]:
            place = environment + b"/lib/" + version + b"/site-packages"
            for name in _names(tree, place)[: MAX_INSTALLED * 4]:
                if name.endswith(b".dist-info") and len(found) < MAX_INSTALLED:
                    package = _metadata(tree, place + b"/" + name + b"/METADATA")
                    if package is not None and package[1]:
                        found.setdefault(*package)
    return found


def _metadata(tree: Tree, raw: bytes) -> tuple[str, str] | None:
    content = tree.read_raw(raw, printable_name(raw))
    if content is None or content.text is None:
        return None
    package = read_metadata("METADATA", content.text).package
    return (package.name, package.licence) if package is not None and pypi_name(package.name) else None


def _installed_node(tree: Tree, name: str) -> str:
    raw = b"node_modules/" + name.encode() + b"/package.json"
    if not os.path.isfile(os.path.join(tree.root, raw)):  # noqa: PTH113, PTH118 - bytes
        return ""
    content = tree.read_raw(raw, raw.decode())
    try:
        package = read_package_json(raw.decode(), content.text).package if content and content.text else None
    except Unreadable:
        return ""
    return package.licence if package is not None else ""


def _names(tree: Tree, raw: bytes) -> list[bytes]:
    """Names inside a directory that the walk skips; nothing if it is a link, or not there."""
    place = os.path.join(tree.root, raw)  # noqa: PTH118 - bytes
    if os.path.realpath(place) != place:
        return []
    try:
        return sorted(os.listdir(place))  # noqa: PTH208 - bytes
    except OSError:
        return []


def _declared(tree: Tree) -> dict[str, str]:
    raw = DECLARATIONS.encode()
    if not os.path.lexists(os.path.join(tree.root, raw)):  # noqa: PTH118 - bytes
        return {}
    content = tree.read_raw(raw, DECLARATIONS)
    if content is None or content.text is None:
        return {}
    from interlock.bus.yaml12 import YamlError, load_yaml

    try:
        value = load_yaml(content.text, source=DECLARATIONS).value
    except YamlError as error:
        tree.findings.append(Finding("broken-manifest", "medium", str(error), DECLARATIONS))
        return {}
    return {key: one_line(words(entry), 200) for key, entry in table(table(value).get("licences")).items()}
