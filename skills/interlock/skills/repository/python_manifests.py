"""pyproject.toml (PEP 621, PEP 735, Poetry), setup.cfg, Pipfile, PKG-INFO and METADATA."""

from __future__ import annotations

import configparser
from collections.abc import Iterable
from typing import Any

from interlock.skills.repository.findings import Finding
from interlock.skills.repository.model import Dependency, EntryPoint, Manifest, Package, Scope
from interlock.skills.repository.names import one_line
from interlock.skills.repository.requirement import (
    exact_version,
    origin_of,
    pypi_name,
    requirement,
    scope_of_name,
    without_credentials,
)
from interlock.skills.repository.structured import items, parse_toml, table, words


def read_pyproject(path: str, text: str) -> Manifest:
    """Raises Unreadable for broken TOML."""
    document = parse_toml(text)
    manifest = Manifest(path=path, kind="pyproject")
    project, poetry = table(document.get("project")), table(table(document.get("tool")).get("poetry"))
    _require(manifest, items(table(document.get("build-system")).get("requires")), "build")
    for name, tool in (("test", "pytest"), ("lint", "ruff"), ("typecheck", "mypy")):
        if tool in table(document.get("tool")):
            manifest.commands[name] = [tool, "check", "."] if tool == "ruff" else ["python", "-m", tool]
    if "build-system" in document:
        manifest.commands["build"] = ["python", "-m", "build"]
    for name, group in table(document.get("dependency-groups")).items():
        _require(manifest, items(group), "dev" if scope_of_name(name) != "runtime" else "runtime")
    if project:
        _read_project(manifest, project)
    if poetry:
        _read_poetry(manifest, poetry, declared=bool(project))
    return manifest


def _read_project(manifest: Manifest, project: dict[str, Any]) -> None:
    licence = project.get("license")
    manifest.package = package_of(
        manifest.path,
        name=project.get("name"),
        version=project.get("version"),
        description=project.get("description"),
        licence=licence if isinstance(licence, str) else table(licence).get("text"),
        classifiers=items(project.get("classifiers")),
        runtime=project.get("requires-python"),
        homepage=_first_address(table(project.get("urls"))),
    )
    if isinstance(licence, dict) and words(licence.get("file")):
        manifest.package = _with_files(manifest.package, [words(licence["file"])])
    _require(manifest, items(project.get("dependencies")), "runtime")
    for name, extra in table(project.get("optional-dependencies")).items():
        _require(manifest, items(extra), "dev" if scope_of_name(name) == "dev" else "optional")
    for dynamic in items(project.get("dynamic")):
        if dynamic in ("dependencies", "optional-dependencies"):
            _dynamic(manifest, str(dynamic))
    add_scripts(manifest, table(project.get("scripts")).items())


def _read_poetry(manifest: Manifest, poetry: dict[str, Any], *, declared: bool) -> None:
    if not declared:
        manifest.package = package_of(
            manifest.path,
            name=poetry.get("name"),
            version=poetry.get("version"),
            description=poetry.get("description"),
            licence=poetry.get("license"),
            classifiers=items(poetry.get("classifiers")),
            runtime=table(poetry.get("dependencies")).get("python"),
            homepage=poetry.get("homepage") or poetry.get("repository"),
        )
    _constraints(manifest, table(poetry.get("dependencies")), "runtime")
    _constraints(manifest, table(poetry.get("dev-dependencies")), "dev")
    for name, group in table(poetry.get("group")).items():
        _constraints(manifest, table(table(group).get("dependencies")), scope_of_name(name))
    add_scripts(manifest, table(poetry.get("scripts")).items())


def read_pipfile(path: str, text: str) -> Manifest:
    """Raises Unreadable for broken TOML."""
    document = parse_toml(text)
    manifest = Manifest(path=path, kind="pipfile")
    _constraints(manifest, table(document.get("packages")), "runtime")
    _constraints(manifest, table(document.get("dev-packages")), "dev")
    return manifest


def read_setup_cfg(path: str, text: str) -> Manifest:
    """A file without `[metadata]` and `[options]` (tool settings only) gives an empty manifest."""
    parser = configparser.RawConfigParser(strict=False)
    manifest = Manifest(path=path, kind="setup.cfg")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        manifest.findings.append(Finding("broken-manifest", "medium", f"not INI: {error}", path))
        return manifest

    def get(section: str, option: str) -> str:
        return parser.get(section, option, fallback="") or ""

    if parser.has_section("metadata"):
        version = get("metadata", "version")
        manifest.package = package_of(
            path,
            name=get("metadata", "name"),
            version="" if version.startswith(("attr:", "file:")) else version,
            description=get("metadata", "description") or get("metadata", "summary"),
            licence=get("metadata", "license"),
            classifiers=get("metadata", "classifiers").splitlines(),
            runtime=get("options", "python_requires"),
            homepage=get("metadata", "url"),
        )
    _require(manifest, get("options", "install_requires").splitlines(), "runtime")
    _require(manifest, get("options", "setup_requires").splitlines(), "build")
    if parser.has_section("options.extras_require"):
        for name, lines in parser.items("options.extras_require"):
            _require(manifest, (lines or "").splitlines(), "dev" if scope_of_name(name) == "dev" else "optional")
    add_scripts(manifest, _assignments(get("options.entry_points", "console_scripts")))
    return manifest


def read_metadata(path: str, text: str) -> Manifest:
    """PKG-INFO or METADATA: RFC 822 headers (core metadata)."""
    from email.parser import HeaderParser

    headers = HeaderParser().parsestr(text)

    def get(name: str) -> str:
        value = str(headers.get(name) or "")
        return "" if value == "UNKNOWN" else value

    manifest = Manifest(path=path, kind="metadata")
    if get("Name"):
        manifest.package = package_of(
            path,
            name=get("Name"),
            version=get("Version"),
            description=get("Summary"),
            licence=get("License-Expression") or get("License"),
            classifiers=[str(value) for value in headers.get_all("Classifier") or []],
            runtime=get("Requires-Python"),
            homepage=get("Home-page"),
        )
        manifest.package = _with_files(
            manifest.package, [str(value) for value in headers.get_all("License-File") or []]
        )
    for value in headers.get_all("Requires-Dist") or []:
        extra = "extra ==" in str(value) or "extra==" in str(value)
        _require(manifest, [str(value)], "optional" if extra else "runtime")
    return manifest


def package_of(
    path: str,
    *,
    name: Any,
    version: Any,
    description: Any = "",
    licence: Any = "",
    classifiers: Iterable[Any] = (),
    runtime: Any = "",
    homepage: Any = "",
) -> Package:
    """A Python package; the licence field, where it holds a whole text or nothing, gives way to the classifiers."""
    stated = one_line(words(licence), 200) if "\n" not in words(licence).strip() and len(words(licence)) < 120 else ""
    classified = [
        value.strip().rpartition(" :: ")[2]
        for value in map(words, classifiers)
        if value.strip().startswith("License :: ") and value.strip() != "License :: OSI Approved"
    ]
    return Package(
        ecosystem="pypi",
        name=pypi_name(words(name).strip()),
        version=one_line(words(version), 64),
        description=one_line(words(description)),
        licence=stated or one_line(" AND ".join(classified) if len(classified) > 1 else "".join(classified), 200),
        runtime=one_line(words(runtime), 80),
        homepage=one_line(without_credentials(words(homepage)), 300),
        manifest=path,
    )


def add_scripts(manifest: Manifest, scripts: Iterable[tuple[Any, Any]]) -> None:
    """Console scripts: installed commands."""
    for name, target in scripts:
        shown = one_line(words(name), 80)
        if shown and not shown.startswith("-"):
            told = target if isinstance(target, str) else words(table(target).get("reference"))
            manifest.entry_points.append(
                EntryPoint(kind="console", name=shown, command=[shown], file=_module_file(told) or manifest.path)
            )


def _module_file(target: str) -> str:
    module = target.partition(":")[0].strip()
    return module.replace(".", "/") + ".py" if module.replace(".", "").replace("_", "").isalnum() else ""


def _with_files(package: Package, files: list[str]) -> Package:
    from msgspec.structs import replace

    return replace(package, licence_files=[one_line(name, 200) for name in files[:20]])


def _first_address(urls: dict[str, Any]) -> str:
    lowered = {name.lower(): words(url) for name, url in urls.items()}
    for name in ("homepage", "repository", "source", "source code"):
        if lowered.get(name):
            return lowered[name]
    return next(iter(lowered.values()), "")


def _require(manifest: Manifest, lines: Iterable[Any], scope: Scope) -> None:
    for line in lines:
        text = words(line).strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("file:"):
            _dynamic(manifest, text)
            continue
        found = requirement(text.split(" #")[0], scope, manifest.path)
        if found is None:
            manifest.findings.append(
                Finding("unreadable-requirement", "low", f"not a requirement: {one_line(text, 80)}", manifest.path)
            )
        else:
            manifest.dependencies.append(found)


def _dynamic(manifest: Manifest, what: str) -> None:
    manifest.findings.append(
        Finding("dynamic-manifest", "info", f"{one_line(what, 80)}: only known when it is built", manifest.path)
    )


def _constraints(manifest: Manifest, dependencies: dict[str, Any], scope: Scope) -> None:
    """Poetry and Pipenv: name = "constraint" or a table with version, git, path, url, optional."""
    for raw, value in dependencies.items():
        name = pypi_name(raw)
        if not name or raw == "python":
            continue
        entries = value if isinstance(value, list) else [value]
        options = table(entries[0]) if entries else {}
        version = words(entries[0]) if entries and isinstance(entries[0], str) else words(options.get("version"))
        address = next((words(options[key]) for key in ("git", "url", "path", "file") if words(options.get(key))), "")
        outside = "vcs" if options.get("git") else origin_of(address) if address else "registry"
        manifest.dependencies.append(
            Dependency(
                ecosystem="pypi",
                name=name,
                version=exact_version(version) or (version if version[:1].isdigit() and "," not in version else ""),
                specifier=one_line(without_credentials(address) or version, 120),
                scope="optional" if options.get("optional") is True and scope == "runtime" else scope,
                direct=True,
                origin=outside,
                source=manifest.path,
            )
        )


def _assignments(text: str) -> list[tuple[str, str]]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return [(left.strip(), right.strip()) for left, _, right in pairs]
