"""package.json."""

from __future__ import annotations

import re
import shlex
from typing import Any

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.model import Dependency, EntryPoint, Manifest, Origin, Package, Scope
from interlock.skills.repository.names import one_line
from interlock.skills.repository.requirement import without_credentials
from interlock.skills.repository.structured import Unreadable, items, parse_json, table, words

_NAME = re.compile(r"(@[A-Za-z0-9~][\w.~-]{0,100}/)?[A-Za-z0-9~_][\w.~-]{0,212}", re.ASCII)
_EXACT = re.compile(r"=?v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)")
_SCOPES: tuple[tuple[str, Scope], ...] = (
    ("dependencies", "runtime"),
    ("peerDependencies", "optional"),
    ("optionalDependencies", "optional"),
    ("devDependencies", "dev"),
)
COMMANDS = ("test", "lint", "build", "typecheck")
INSTALL_SCRIPTS = ("preinstall", "install", "postinstall")


def npm_name(name: str) -> str:
    """The name if it can be one of an npm package, else empty."""
    return name if _NAME.fullmatch(name) and len(name) <= 214 else ""


def npm_version(specifier: str) -> str:
    """`1.2.3` → itself; empty for ranges, tags and addresses."""
    match = _EXACT.fullmatch(specifier.strip())
    return match[1] if match else ""


def npm_origin(specifier: str) -> Origin:
    """Where a specifier of package.json leads."""
    if specifier.startswith(("file:", "link:", "portal:", "workspace:", "./", "../", "/", "~/")):
        return "path"
    if specifier.startswith(("git", "ssh:", "github:", "gitlab:", "bitbucket:")):
        return "vcs"
    if specifier.startswith(("http:", "https:")):
        return "vcs" if specifier.partition("#")[0].endswith(".git") else "url"
    return "vcs" if re.fullmatch(r"[\w.-]+/[\w.-]+(#.*)?", specifier) else "registry"


def licence_field(document: dict[str, Any]) -> str:
    """`license` as text, as `{type}`, or the old list `licenses`, as one expression."""
    licence = document.get("license") or document.get("licence")
    if isinstance(licence, str):
        return one_line(licence, 200)
    if isinstance(licence, dict):
        return one_line(words(licence.get("type")), 200)
    every = items(document.get("licenses")) or items(licence)
    names = [words(entry) or words(table(entry).get("type")) for entry in every]
    return one_line(" OR ".join(f"({name})" if " " in name else name for name in names if name), 200)


def read_package_json(path: str, text: str) -> Manifest:
    """Raises Unreadable."""
    document = parse_json(text)
    if not isinstance(document, dict):
        raise Unreadable("not a JSON object")
    manifest = Manifest(path=path, kind="package.json")
    homepage = document.get("homepage")
    manifest.package = Package(
        ecosystem="npm",
        name=npm_name(words(document.get("name"))),
        version=one_line(words(document.get("version")), 64),
        description=one_line(words(document.get("description"))),
        licence=licence_field(document),
        runtime=one_line(words(table(document.get("engines")).get("node")), 80),
        homepage=one_line(without_credentials(words(homepage)), 300),
        private=document.get("private") is True,
        manifest=path,
    )
    for key, scope in _SCOPES:
        for raw, value in table(document.get(key)).items():
            _add(manifest, raw, words(value), scope)
    _add_entry_points(manifest, document)
    return manifest


def _add(manifest: Manifest, raw: str, specifier: str, scope: Scope) -> None:
    name = npm_name(raw)
    if not name:
        message = f"not a package name: {one_line(raw, 80)}"
        manifest.findings.append(Finding("unreadable-requirement", "low", message, manifest.path))
        return
    if any(entry.name == name for entry in manifest.dependencies):
        return
    aliased = re.fullmatch(r"npm:(@?[^@]+)@(.+)", specifier)
    if aliased and npm_name(aliased[1]):
        name, specifier = aliased[1], aliased[2]
    manifest.dependencies.append(
        Dependency(
            ecosystem="npm",
            name=name,
            version=npm_version(specifier),
            specifier=one_line(without_credentials(specifier), 120),
            scope=scope,
            direct=True,
            origin=npm_origin(specifier),
            source=manifest.path,
        )
    )


def _add_entry_points(manifest: Manifest, document: dict[str, Any]) -> None:
    folder = manifest.path.rpartition("/")[0]
    scripts = table(document.get("scripts"))
    for name in COMMANDS:
        if words(scripts.get(name)):
            manifest.commands[name] = ["npm", "test"] if name == "test" else ["npm", "run", name]
    own = words(document.get("name")) or folder or "package"
    if words(scripts.get("start")):
        manifest.entry_points.append(
            EntryPoint(kind="script", name=one_line(own, 80), command=["npm", "start"], file=manifest.path)
        )
    commands = document.get("bin")
    named = {own.rpartition("/")[2]: commands} if isinstance(commands, str) else table(commands)
    for name, target in named.items():
        shown, file = one_line(name, 80), words(target).removeprefix("./")
        if shown and file and not shown.startswith("-"):
            place = one_line(f"{folder}/{file}" if folder else file, 300)
            manifest.entry_points.append(EntryPoint(kind="console", name=shown, command=[shown], file=place))
    for script in INSTALL_SCRIPTS:
        if words(scripts.get(script)):
            message = f"`{script}` runs a command whenever the package is installed: {_first_word(scripts[script])}"
            manifest.findings.append(Finding("install-script", "low", message, manifest.path))


def _first_word(command: str) -> str:
    try:
        return one_line(shlex.split(command)[0], 60)
    except (ValueError, IndexError):
        return one_line(command, 60)
