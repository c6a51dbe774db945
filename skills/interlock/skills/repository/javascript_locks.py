"""package-lock.json (versions 1 to 3), npm-shrinkwrap.json, yarn.lock, pnpm-lock.yaml."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from interlock.skills.repository.javascript_manifests import licence_field, npm_name, npm_origin
from interlock.skills.repository.model import Dependency, Manifest, Origin, Scope
from interlock.skills.repository.names import one_line
from interlock.skills.repository.structured import Unreadable, parse_json, parse_yaml, table, words

MAX_NESTING = 64


def read_package_lock(path: str, text: str) -> Manifest:
    """Raises Unreadable."""
    document = parse_json(text)
    if not isinstance(document, dict):
        raise Unreadable("not a JSON object")
    manifest = Manifest(path=path, kind="package-lock", locks=True)
    if isinstance(document.get("packages"), dict):
        _read_packages(manifest, document["packages"])
    else:
        _read_tree(manifest, table(document.get("dependencies")))
    return manifest


def _read_packages(manifest: Manifest, packages: dict[str, Any]) -> None:
    """Versions 2 and 3: every installed place under its path; a link is the project's own workspace."""
    for place, value in packages.items():
        entry = table(value)
        if "node_modules/" not in place or entry.get("link") is True:
            continue
        name = npm_name(words(entry.get("name")) or place.rpartition("node_modules/")[2])
        if name:
            manifest.dependencies.append(
                _locked(
                    name,
                    words(entry.get("version")),
                    manifest.path,
                    scope=_scope(entry),
                    origin=_resolved_origin(words(entry.get("resolved"))),
                    licence=licence_field(entry),
                    integrity=words(entry.get("integrity")),
                    requires=[*table(entry.get("dependencies")), *table(entry.get("optionalDependencies"))],
                )
            )


def _read_tree(manifest: Manifest, dependencies: dict[str, Any]) -> None:
    """Version 1: nested objects, read without recursion."""
    stack = [(dependencies, 0)]
    while stack:
        level, depth = stack.pop()
        for raw, value in level.items():
            entry, name = table(value), npm_name(raw)
            if name:
                version = words(entry.get("version"))
                outside = npm_origin(version)
                manifest.dependencies.append(
                    _locked(
                        name,
                        version if outside == "registry" else "",
                        manifest.path,
                        scope=_scope(entry),
                        origin=outside,
                        integrity=words(entry.get("integrity")),
                        requires=list(table(entry.get("requires"))),
                    )
                )
            if depth < MAX_NESTING:
                stack.append((table(entry.get("dependencies")), depth + 1))


def read_yarn_lock(path: str, text: str) -> Manifest:
    """Version 1, and the entries of later versions, which look alike. Raises Unreadable for anything else."""
    manifest = Manifest(path=path, kind="yarn.lock", locks=True)
    if "yarn lockfile" not in text[:400] and "__metadata:" not in text[:2000]:
        raise Unreadable("not a yarn.lock")
    for header, body in _blocks(text):
        first = header.split(",")[0].strip().strip('"')
        name = npm_name(first[: first.rfind("@")] if "@" in first[1:] else first)
        specifier = first[first.rfind("@") + 1 :].removeprefix("npm:")
        fields = dict(filter(None, (_field(line) for line in body if not line.startswith("    "))))
        if not name or name == "__metadata" or "version" not in fields or specifier.startswith("workspace:"):
            continue
        origin = npm_origin(specifier)
        needs = _needs(body)
        manifest.dependencies.append(
            _locked(
                name,
                fields["version"],
                path,
                origin=origin if origin != "registry" else _resolved_origin(fields.get("resolved", "")),
                integrity=fields.get("integrity", ""),
                requires=needs,
            )
        )
    return manifest


def _blocks(text: str) -> list[tuple[str, list[str]]]:
    blocks: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if not line[0].isspace() and line.rstrip().endswith(":"):
            blocks.append((line.rstrip()[:-1], []))
        elif blocks:
            blocks[-1][1].append(line)
    return blocks


def _field(line: str) -> tuple[str, str] | None:
    match = re.fullmatch(r'\s*"?([\w-]+)"?:?\s+"?([^"]*)"?\s*', line)
    return (match[1], match[2].strip()) if match else None


def _needs(body: list[str]) -> list[str]:
    """Names below `dependencies:` and `optionalDependencies:`."""
    needs: list[str] = []
    inside = False
    for line in body:
        if not line.startswith("    "):
            inside = line.strip() in ("dependencies:", "optionalDependencies:")
        elif inside:
            match = re.match(r'\s+"?(@?[^"@\s:]+)"?', line)
            needs += [match[1]] if match else []
    return needs


def read_pnpm_lock(path: str, text: str) -> Manifest:
    """The `packages` table: `/name/1.0.0`, `/name@1.0.0`, `name@1.0.0(peer@2)`. Raises Unreadable."""
    document = table(parse_yaml(text))
    manifest = Manifest(path=path, kind="pnpm-lock", locks=True)
    snapshots = table(document.get("snapshots"))
    for key, value in table(document.get("packages")).items():
        bare = key.removeprefix("/").partition("(")[0]
        match = re.fullmatch(r"(@[^/@]+/[^/@]+|[^/@]+)[@/](.+)", bare)
        if match is None or not npm_name(match[1]):
            continue
        entry = table(value)
        needed = table(entry.get("dependencies")) or table(table(snapshots.get(key)).get("dependencies"))
        version = match[2].partition("_")[0] if key.startswith("/") else match[2]
        outside = npm_origin(version)
        manifest.dependencies.append(
            _locked(
                match[1],
                version if outside == "registry" else "",
                path,
                scope=_pnpm_scope(entry),
                origin=outside,
                integrity=words(table(entry.get("resolution")).get("integrity")),
                requires=list(needed),
            )
        )
    return manifest


def _pnpm_scope(entry: dict[str, Any]) -> Scope:
    """Scalars are text here (structured.parse_yaml)."""
    if entry.get("dev") == "true":
        return "dev"
    return "optional" if entry.get("optional") == "true" else "runtime"


def _scope(entry: dict[str, Any]) -> Scope:
    if entry.get("dev") is True or entry.get("devOptional") is True:
        return "dev"
    return "optional" if entry.get("optional") is True or entry.get("peer") is True else "runtime"


def _resolved_origin(resolved: str) -> Origin:
    """Registries keep tarballs under `/-/`; anything else with an address is outside of one."""
    if not resolved or "/-/" in resolved or resolved.startswith("https://registry."):
        return "registry"
    return npm_origin(resolved)


def _locked(
    name: str,
    version: str,
    path: str,
    *,
    scope: Scope = "runtime",
    origin: Origin = "registry",
    licence: str = "",
    integrity: str = "",
    requires: list[str],
) -> Dependency:
    return Dependency(
        ecosystem="npm",
        name=name,
        version=one_line(version, 64) if re.match(r"\d", version) else "",
        scope=scope,
        origin=origin,
        locked=True,
        licence=licence,
        hashes=_hashes(integrity),
        requires=sorted({entry for entry in map(npm_name, requires) if entry}),
        source=path,
    )


def _hashes(integrity: str) -> list[str]:
    """Subresource integrity (`sha512-BASE64 …`) as `sha512:hex`."""
    found = []
    for part in integrity.split()[:4]:
        kind, _, encoded = part.partition("-")
        try:
            digest = base64.b64decode(encoded.partition("?")[0], validate=True).hex()
        except (ValueError, binascii.Error):
            continue
        if (kind, len(digest)) in (("sha1", 40), ("sha256", 64), ("sha384", 96), ("sha512", 128)):
            found.append(f"{kind}:{digest}")
    return found
