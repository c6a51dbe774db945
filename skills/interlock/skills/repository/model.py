"""What is known of a source tree: plain values that travel between skills as `context.json`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from interlock.skills.repository.findings import Finding

Ecosystem = Literal["pypi", "npm"]
Scope = Literal["runtime", "dev", "optional", "build"]
Origin = Literal["registry", "url", "vcs", "path"]


class Dependency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One package another one needs. version: the resolved one, from a lock file or an exact pin, else empty.

    direct: named in a manifest, not only in a lock file. specifier: as the manifest writes it. source: the file.
    licence: as written there; licence_from: `lock`, `installed` (a package inside the tree) or `declared` (the owner).
    requires: normalised names of what it needs itself, as the lock file tells.
    """

    ecosystem: Ecosystem
    name: str
    version: str = ""
    specifier: str = ""
    scope: Scope = "runtime"
    direct: bool = False
    origin: Origin = "registry"
    locked: bool = False
    licence: str = ""
    licence_from: str = "lock"
    hashes: list[str] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    source: str = ""
    line: int = 0

    @property
    def key(self) -> str:
        """`npm:left-pad`: what licence declarations use."""
        return f"{self.ecosystem}:{self.name}"

    @property
    def purl(self) -> str:
        """The package URL (purl-spec)."""
        from packageurl import PackageURL

        namespace, _, name = self.name.rpartition("/")
        return PackageURL(self.ecosystem, namespace or None, name, self.version or None).to_string()


class EntryPoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A way to start what the tree holds. command: argument vector; port: what it listens on, 0 if none is known."""

    kind: Literal["container", "process", "console", "script", "service"]
    name: str
    command: list[str]
    file: str
    port: int = 0


class Package(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one manifest declares about its own package."""

    ecosystem: Ecosystem
    name: str = ""
    version: str = ""
    description: str = ""
    licence: str = ""
    licence_files: list[str] = field(default_factory=list)
    runtime: str = ""
    homepage: str = ""
    private: bool = False
    manifest: str


class Manifest(Struct, kw_only=True):
    """Everything read from one manifest or lock file."""

    path: str
    kind: str
    package: Package | None = None
    dependencies: list[Dependency] = field(default_factory=list)
    entry_points: list[EntryPoint] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    commands: dict[str, list[str]] = field(default_factory=dict)
    locks: bool = False


class LicenceText(Struct, frozen=True):
    """A licence file and the SPDX id its text was recognised as; empty if not."""

    path: str
    spdx: str


class Component(Struct, frozen=True):
    """A part of the tree: a folder with one job."""

    path: str
    role: str
    language: str
    files: int
    bytes: int


class Use(Struct, frozen=True):
    """A library or model that the sources use, where it was first seen and in how many files."""

    name: str
    kind: str
    file: str
    line: int
    files: int


class Context(Struct, kw_only=True):
    """The whole of it. digest: SHA-256 over paths, sizes and contents; commit: what `.git` says, else empty.

    commands: what manifests name for test, lint, build, typecheck, as argument vectors.
    framework_ports: the ports that the web frameworks among `uses` listen on unless told otherwise.
    """

    format: str = "interlock.context/1"
    name: str
    version: str
    description: str
    digest: str
    commit: str
    files: int
    bytes: int
    languages: dict[str, int]
    manifests: list[str]
    packages: list[Package]
    dependencies: list[Dependency]
    entry_points: list[EntryPoint]
    components: list[Component]
    licence_texts: list[LicenceText]
    uses: list[Use]
    framework_ports: dict[str, int]
    infrastructure: dict[str, list[str]]
    commands: dict[str, list[str]]
    tests: int
    skipped: list[str]
    links: int
    findings: list[Finding]
