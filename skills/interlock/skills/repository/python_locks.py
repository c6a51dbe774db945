"""requirements*.txt, Pipfile.lock, poetry.lock, uv.lock."""

from __future__ import annotations

import re
from typing import Any

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.model import Dependency, Manifest, Origin, Scope
from interlock.skills.repository.names import one_line
from interlock.skills.repository.requirement import (
    exact_version,
    origin_of,
    pypi_name,
    requirement,
    scope_of_name,
    without_credentials,
)
from interlock.skills.repository.structured import items, parse_json, parse_toml, table, words

_HASH = re.compile(r"--hash[= ](sha256|sha384|sha512):([0-9a-fA-F]{64,128})")
_OPTION = re.compile(r"\s--(?:hash|config-settings|global-option|no-binary|only-binary)[= ].*$")
MAX_HASHES = 64


def read_requirements(path: str, text: str) -> Manifest:
    """pip's requirements format. A file where every line has a hash counts as a lock."""
    manifest = Manifest(path=path, kind="requirements")
    told = scope_of_name(path.rpartition("/")[2].removesuffix(".txt").replace("requirements", ""))
    scope: Scope = told if told in ("dev", "build") else "runtime"
    for number, line in _logical_lines(text):
        if line.startswith(("-e ", "--editable")):
            _add_editable(manifest, line.split(None, 1)[-1].removeprefix("--editable="), scope, number)
        elif line.startswith("-"):
            _note_option(manifest, line, number)
        else:
            _add_line(manifest, line, scope, number)
    hashed = [entry for entry in manifest.dependencies if entry.hashes]
    manifest.locks = bool(hashed) and len(hashed) == len(manifest.dependencies)
    return manifest


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with continuations joined and comments dropped, with the number of their first line."""
    lines: list[tuple[int, str]] = []
    held, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw)
        start = start or number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = (held + line).strip()
        if whole:
            lines.append((start, whole))
        held, start = "", 0
    if held.strip():
        lines.append((start, held.strip()))
    return lines


def _add_line(manifest: Manifest, line: str, scope: Scope, number: int) -> None:
    from msgspec.structs import replace

    hashes = [f"{kind}:{digest.lower()}" for kind, digest in _HASH.findall(line)]
    bare = _OPTION.sub("", line).strip()
    found = requirement(bare, scope, manifest.path, number)
    if found is not None:
        manifest.dependencies.append(replace(found, hashes=hashes[:MAX_HASHES], locked=bool(hashes)))
    elif re.match(r"[a-z+]+://|git@|\.{0,2}/|\.{1,2}$|[\w./-]+\.(whl|zip|tar\.gz)$", bare):
        _add_editable(manifest, bare, scope, number)
    else:
        message = f"not a requirement: {one_line(bare, 80)}"
        manifest.findings.append(Finding("unreadable-requirement", "low", message, manifest.path, number))


def _add_editable(manifest: Manifest, address: str, scope: Scope, number: int) -> None:
    """A bare address: its name is what follows `egg=`, else the last part of its path."""
    if address.strip() in (".", "./"):
        return
    bare = address.partition("#")[0].rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".git")
    egg = re.search(r"[#&]egg=([\w.-]+)", address)
    name = pypi_name(egg[1] if egg else re.sub(r"\.(whl|zip|tar\.gz)$", "", bare).split("-")[0])
    if name:
        manifest.dependencies.append(
            Dependency(
                ecosystem="pypi",
                name=name,
                specifier=one_line(without_credentials(address), 120),
                scope=scope,
                direct=True,
                origin=origin_of(address),
                source=manifest.path,
                line=number,
            )
        )


def _note_option(manifest: Manifest, line: str, number: int) -> None:
    """Other indexes change what a name means."""
    if re.match(r"(--extra-index-url|--index-url|-i\b|--find-links|-f\b|--trusted-host)", line):
        option = line.split("=")[0].split()[0]
        message = f"{option}: packages come from somewhere else than the default index"
        manifest.findings.append(Finding("other-index", "medium", message, manifest.path, number))


def read_pipfile_lock(path: str, text: str) -> Manifest:
    """Raises Unreadable."""
    document = table(parse_json(text))
    manifest = Manifest(path=path, kind="pipfile.lock", locks=True)
    sections: tuple[tuple[str, Scope], ...] = (("default", "runtime"), ("develop", "dev"))
    for section, scope in sections:
        for raw, value in table(document.get(section)).items():
            entry, name = table(value), pypi_name(raw)
            if name:
                address = words(entry.get("git") or entry.get("file") or entry.get("path"))
                manifest.dependencies.append(
                    _locked(
                        name,
                        exact_version(words(entry.get("version"))),
                        path,
                        scope=scope,
                        origin="vcs" if entry.get("git") else origin_of(address) if address else "registry",
                        hashes=[words(item) for item in items(entry.get("hashes"))],
                    )
                )
    return manifest


def read_poetry_lock(path: str, text: str) -> Manifest:
    """Raises Unreadable."""
    document = parse_toml(text)
    manifest = Manifest(path=path, kind="poetry.lock", locks=True)
    files = table(table(document.get("metadata")).get("files"))
    for value in items(document.get("package")):
        entry = table(value)
        name = pypi_name(words(entry.get("name")))
        if not name:
            continue
        groups = [words(group) for group in items(entry.get("groups"))] or [words(entry.get("category")) or "main"]
        kind = words(table(entry.get("source")).get("type"))
        hashed = items(entry.get("files")) or items(files.get(words(entry.get("name"))))
        manifest.dependencies.append(
            _locked(
                name,
                one_line(words(entry.get("version")), 64),
                path,
                scope="runtime" if "main" in groups else "dev",
                origin=_POETRY_ORIGINS.get(kind, "registry"),
                hashes=[words(table(item).get("hash")) for item in hashed],
                requires=list(table(entry.get("dependencies"))),
            )
        )
    return manifest


_POETRY_ORIGINS: dict[str, Origin] = {"git": "vcs", "url": "url", "directory": "path", "file": "path"}


def read_uv_lock(path: str, text: str) -> Manifest:
    """The project itself (`virtual` or `editable` source) is left out. Raises Unreadable."""
    document = parse_toml(text)
    manifest = Manifest(path=path, kind="uv.lock", locks=True)
    for value in items(document.get("package")):
        entry = table(value)
        name, source = pypi_name(words(entry.get("name"))), table(entry.get("source"))
        if not name or "virtual" in source or words(source.get("editable")) == ".":
            continue
        built = [table(item) for item in items(entry.get("wheels"))] + [table(entry.get("sdist"))]
        manifest.dependencies.append(
            _locked(
                name,
                one_line(words(entry.get("version")), 64),
                path,
                origin=_uv_origin(source),
                hashes=[words(item.get("hash")) for item in built],
                requires=[words(table(item).get("name")) for item in items(entry.get("dependencies"))],
            )
        )
    return manifest


def _uv_origin(source: dict[str, Any]) -> Origin:
    if "git" in source:
        return "vcs"
    if "url" in source:
        return "url"
    return "registry" if "registry" in source else "path"


def _locked(
    name: str,
    version: str,
    path: str,
    *,
    scope: Scope = "runtime",
    origin: Origin = "registry",
    hashes: list[str],
    requires: list[str] | None = None,
) -> Dependency:
    clean = [value.lower() for value in hashes if re.fullmatch(r"(sha256|sha384|sha512):[0-9a-fA-F]{64,128}", value)]
    needed = [pypi_name(item) for item in requires or []]
    return Dependency(
        ecosystem="pypi",
        name=name,
        version=version,
        scope=scope,
        origin=origin,
        locked=True,
        hashes=clean[:MAX_HASHES],
        requires=sorted({item for item in needed if item}),
        source=path,
    )
