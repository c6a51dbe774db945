"""A source tree as one `Context`: walked once, every manifest read, everything counted."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import msgspec
from msgspec.structs import replace

from interlock.skills.repository.dependencies import inventory
from interlock.skills.repository.dependency_licences import with_licences
from interlock.skills.repository.findings import Finding
from interlock.skills.repository.infrastructure import infrastructure_kind, read_dockerfile, read_procfile
from interlock.skills.repository.licences import LICENCE_FILE, LicenceRules, recognised
from interlock.skills.repository.manifests import is_aside, is_copied, read_manifest, reader_for, unread_language
from interlock.skills.repository.model import Component, Context, EntryPoint, LicenceText, Manifest, Package
from interlock.skills.repository.names import one_line, printable_name
from interlock.skills.repository.revision import commit_of
from interlock.skills.repository.sources import PROGRAMMING, Catalogue, Uses, language_of
from interlock.skills.repository.walk import READ_LIMIT, Entry, Tree, walk

MAX_BYTES_READ = 512 << 20
MAX_MANIFESTS = 400
MAX_LICENCE_FILES = 200
_ROLES = (
    ("tests", ("test", "tests", "spec", "__tests__", "e2e", "testing")),
    ("documentation", ("doc", "docs", "documentation")),
    ("examples", ("example", "examples", "samples", "demo", "demos")),
    (
        "deployment",
        ("deploy", "deployment", "k8s", "kubernetes", "helm", "charts", "terraform", "infrastructure", "ops"),
    ),
    ("automation", ("scripts", "tools", "ci", "bin", "hack", ".github", ".ci", ".circleci")),
    ("configuration", ("config", "conf", "configuration", "settings")),
)


def load_catalogue(config: Path) -> Catalogue:
    """Reads ai-libraries.yaml of a configuration directory. Raises ValueError."""
    from interlock.bus.yaml12 import load_yaml

    path = config / "ai-libraries.yaml"
    return msgspec.convert(load_yaml(path.read_bytes(), source=path.name).value, Catalogue)


def survey(root: Path, *, rules: LicenceRules, catalogue: Catalogue) -> Context:
    """Reads the whole tree. Raises OSError if the root cannot be listed."""
    return _Survey(walk(root), rules, catalogue).context()


class _Survey:
    """One pass over the files; each is opened once for its digest, its uses and its licence text."""

    def __init__(self, tree: Tree, rules: LicenceRules, catalogue: Catalogue) -> None:
        self._tree = tree
        self._rules = rules
        self._uses = Uses(catalogue)
        self._languages: Counter[str] = Counter()
        self._parts: dict[str, Counter[str]] = {}
        self._infrastructure: dict[str, list[str]] = {}
        self._texts: list[LicenceText] = []
        self._entry_points: list[EntryPoint] = []
        self._manifests: list[Manifest] = []
        self._unread: dict[str, list[str]] = {}  # language -> manifests
        self._aside = 0
        self._tests = 0
        self._read = 0

    def context(self) -> Context:
        digest = hashlib.sha256()
        for entry in self._tree.files:
            self._look(entry, digest)
        released = [manifest for manifest in self._manifests if not is_copied(manifest.path)]
        dependencies = with_licences(self._tree, inventory(released))
        shipped = (entry for entry in dependencies if entry.scope in ("runtime", "optional"))
        self._uses.of_dependencies({entry.name: (entry.source, entry.line) for entry in shipped})
        packages = self._packages(released)
        main = _main_package(packages)
        name = main.name if main and main.name else one_line(printable_name(self._tree.root.rpartition(b"/")[2]), 80)
        findings = [*self._tree.findings, *(entry for manifest in released for entry in manifest.findings)]
        if not self._tree.files:
            findings.append(
                Finding("nothing-there", "high", "the directory holds no file: nothing to release", blocks=True)
            )
        findings += [_unread(language, paths) for language, paths in sorted(self._unread.items())]
        if self._aside:
            findings.append(
                Finding(
                    "manifests-aside",
                    "info",
                    f"{_manifests(self._aside)} of tests, examples, build output or vendored code not counted",
                )
            )
        return Context(
            name=name or "tree",
            version=main.version if main else "",
            description=main.description if main else "",
            digest=digest.hexdigest(),
            commit=commit_of(self._tree),
            files=len(self._tree.files),
            bytes=sum(entry.size for entry in self._tree.files),
            languages=dict(sorted(self._languages.items(), key=lambda item: (-item[1], item[0]))),
            manifests=[manifest.path for manifest in self._manifests],
            packages=packages,
            dependencies=dependencies,
            entry_points=self._named_entry_points(released, name),
            components=self._components(),
            licence_texts=self._texts,
            uses=self._uses.found(),
            framework_ports=self._uses.ports(),
            infrastructure={kind: paths[:50] for kind, paths in sorted(self._infrastructure.items())},
            commands=_commands(released),
            tests=self._tests,
            skipped=self._tree.skipped[:200],
            links=len(self._tree.links),
            findings=findings,
        )

    def _look(self, entry: Entry, digest: hashlib._Hash) -> None:
        language = language_of(entry.name)
        self._count(entry, language)
        digest.update(b"%d %b\0%d\0" % (len(entry.raw), entry.raw, entry.size))
        if self._read >= MAX_BYTES_READ:
            if self._read < MAX_BYTES_READ * 2:
                self._tree.findings.append(Finding("too-large", "medium", "contents beyond 512 MiB were not read"))
                self._read = MAX_BYTES_READ * 2
            return
        content = self._tree.read(entry)
        if content is None:
            return
        self._read += len(content.data)
        digest.update(hashlib.sha256(content.data).digest())
        if content.truncated and language in PROGRAMMING:
            message = f"only the first {READ_LIMIT} of {entry.size} bytes were looked at"
            self._tree.findings.append(Finding("large-file", "info", message, entry.path))
        if reader_for(entry.path) is not None:
            self._add_manifest(entry)
        elif unread := unread_language(entry.path):
            self._unread.setdefault(unread, []).append(entry.path)
        if content.text is None:
            return
        aside = is_aside(entry.path)
        if language and not aside:
            self._uses.look(entry.path, language, content.text)
        self._look_at_special(entry, content.text, aside)

    def _look_at_special(self, entry: Entry, text: str, aside: bool) -> None:
        if (
            LICENCE_FILE.match(entry.name)
            and len(self._texts) < MAX_LICENCE_FILES
            and language_of(entry.name) not in PROGRAMMING
        ):
            self._texts.append(LicenceText(entry.path, recognised(text, self._rules)))
        kind = infrastructure_kind(entry.path)
        if not kind or aside:
            return
        self._infrastructure.setdefault(kind, []).append(entry.path)
        if kind == "container":
            self._entry_points += read_dockerfile(entry.path, text, entry.folder.rpartition("/")[2])
        elif kind == "procfile":
            self._entry_points += read_procfile(entry.path, text)

    def _add_manifest(self, entry: Entry) -> None:
        if len(self._manifests) >= MAX_MANIFESTS:
            if len(self._manifests) == MAX_MANIFESTS:
                self._tree.findings.append(
                    Finding("too-many-manifests", "medium", f"only the first {MAX_MANIFESTS} manifests were read")
                )
                self._manifests.append(Manifest(path=entry.path, kind="unread"))
            return
        manifest = read_manifest(self._tree, entry)
        if manifest is not None:
            self._manifests.append(manifest)
            self._aside += is_aside(entry.path)

    def _count(self, entry: Entry, language: str) -> None:
        if language:
            self._languages[language] += entry.size
        first, _, rest = entry.path.partition("/")
        part = self._parts.setdefault(first if rest else ".", Counter())
        part["\0files"] += 1
        part["\0bytes"] += entry.size
        if language in PROGRAMMING:
            part[language] += entry.size
        lowered = entry.name.lower()
        self._tests += language in PROGRAMMING and (
            lowered.startswith("test_")
            or lowered.partition(".")[0].endswith("_test")
            or ".test." in lowered
            or ".spec." in lowered
        )

    def _components(self) -> list[Component]:
        found = []
        for path, counter in sorted(self._parts.items()):
            written = sorted(
                ((size, name) for name, size in counter.items() if not name.startswith("\0")),
                key=lambda e: (-e[0], e[1]),
            )
            found.append(
                Component(
                    path=path,
                    role=_role(path, bool(written)),
                    language=written[0][1] if written else "",
                    files=counter["\0files"],
                    bytes=counter["\0bytes"],
                )
            )
        return found[:200]

    def _packages(self, manifests: list[Manifest]) -> list[Package]:
        """One per package: several manifests of a folder (setup.py beside pyproject.toml) complete one another."""
        merged: dict[tuple[str, str], Package] = {}
        for manifest in sorted(manifests, key=lambda m: (_PRECEDENCE.get(m.kind, 9), m.path)):
            package = manifest.package
            if package is None:
                continue
            place = (package.ecosystem, manifest.path.rpartition("/")[0])
            known = merged.get(place)
            merged[place] = package if known is None else _completed(known, package)
        kept = [package for package in merged.values() if package.name or package.licence]
        return sorted(kept, key=lambda package: (package.manifest.count("/"), package.manifest))

    def _named_entry_points(self, manifests: list[Manifest], name: str) -> list[EntryPoint]:
        every = [*self._entry_points, *(entry for manifest in manifests for entry in manifest.entry_points)]
        named = [entry if entry.name else replace(entry, name=name) for entry in every]
        unique = {(entry.kind, entry.name, tuple(entry.command)): entry for entry in named}
        return list(unique.values())[:100]


_PRECEDENCE = {"pyproject": 0, "package.json": 0, "setup.cfg": 1, "setup.py": 2, "metadata": 3}


def _completed(known: Package, other: Package) -> Package:
    return replace(
        known,
        name=known.name or other.name,
        version=known.version or other.version,
        description=known.description or other.description,
        licence=known.licence or other.licence,
        licence_files=known.licence_files or other.licence_files,
        runtime=known.runtime or other.runtime,
        homepage=known.homepage or other.homepage,
    )


def _commands(manifests: list[Manifest]) -> dict[str, list[str]]:
    """The manifest nearest to the root speaks for the tree; `npm test` of Node is `npm-test` beside Python's `test`."""
    found: dict[str, list[str]] = {}
    for manifest in sorted(manifests, key=lambda m: (m.path.count("/"), m.path)):
        for name, command in manifest.commands.items():
            found.setdefault(name if name not in found or found[name] == command else f"npm-{name}", command)
    return dict(sorted(found.items()))


def _main_package(packages: list[Package]) -> Package | None:
    """The one nearest to the root; of several there, the one with a name and a version."""
    return min(packages, key=lambda p: (p.manifest.count("/"), not p.name, not p.version, p.manifest), default=None)


def _manifests(count: int) -> str:
    return "a manifest" if count == 1 else f"{count} manifests"


def _unread(language: str, paths: list[str]) -> Finding:
    told = f"{_manifests(len(paths))} of {language} not read: its dependencies and their licences are not in what is told here"
    return Finding("unread-manifest", "medium", told, paths[0])


def _role(path: str, code: bool) -> str:
    lowered = path.lower()
    if path == ".":
        return "root files"
    return next((role for role, names in _ROLES if lowered in names), "source" if code else "data")
