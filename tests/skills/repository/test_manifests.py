"""Every kind of manifest and lock file, well-formed, broken and hostile."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.skills.repository.manifests import _READERS, is_aside, is_copied, read_manifest, reader_for
from interlock.skills.repository.model import Dependency, Manifest
from interlock.skills.repository.python_locks import read_requirements
from interlock.skills.repository.requirement import requirement
from interlock.skills.repository.structured import Unreadable, parse_yaml
from interlock.skills.repository.walk import walk

HASH = "a" * 64
SRI = "sha512-" + "A" * 86 + "=="


def read(path: str, text: str) -> Manifest:
    reader = reader_for(path)
    assert reader is not None
    return reader(path, text)


def short(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    return [(entry.name, entry.version, entry.scope, entry.origin) for entry in manifest.dependencies]


PYPROJECT = """
[build-system]
requires = ["hatchling"]
[project]
name = "My_Package"
version = "1.2.3"
license = {text = "MIT License"}
dependencies = ["Requests[socks]>=2; python_version>'3'", "local @ file:///tmp/x", "pinned==4.5", "!!"]
scripts = {run-it = "my.package:main"}
dynamic = ["optional-dependencies"]
[project.optional-dependencies]
fast = ["uvloop"]
test = ["pytest"]
[dependency-groups]
dev = ["ruff", {include-group = "x"}]
[tool.pytest.ini_options]
"""


def test_pyproject() -> None:
    manifest = read("pyproject.toml", PYPROJECT)
    assert manifest.package is not None
    assert (manifest.package.name, manifest.package.version, manifest.package.licence) == (
        "my-package",
        "1.2.3",
        "MIT License",
    )
    assert short(manifest) == [
        ("hatchling", "", "build", "registry"),
        ("ruff", "", "dev", "registry"),
        ("requests", "", "runtime", "registry"),
        ("local", "", "runtime", "path"),
        ("pinned", "4.5", "runtime", "registry"),
        ("uvloop", "", "optional", "registry"),
        ("pytest", "", "dev", "registry"),
    ]
    assert [(entry.name, entry.file) for entry in manifest.entry_points] == [("run-it", "my/package.py")]
    assert [finding.id for finding in manifest.findings] == ["unreadable-requirement", "dynamic-manifest"]
    assert manifest.commands["test"] == ["python", "-m", "pytest"]


def test_poetry() -> None:
    text = """
[tool.poetry]
name = "p"
version = "0.1"
license = "BSD-3-Clause"
[tool.poetry.dependencies]
python = "^3.11"
a = "^1.0"
b = {version = "2.0", optional = true}
c = {git = "https://user:hunter2@example.com/c.git"}
[tool.poetry.group.dev.dependencies]
d = "*"
"""
    manifest = read("pyproject.toml", text)
    assert short(manifest) == [
        ("a", "", "runtime", "registry"),
        ("b", "2.0", "optional", "registry"),
        ("c", "", "runtime", "vcs"),
        ("d", "", "dev", "registry"),
    ]
    assert "hunter2" not in repr(manifest)


def test_setup_cfg() -> None:
    text = """
[metadata]
name = cfg
version = attr: cfg.__version__
license = Apache 2.0
[options]
install_requires =
    a>=1
    b==2
[options.extras_require]
docs = sphinx
[options.entry_points]
console_scripts =
    tool = cfg.cli:main
"""
    manifest = read("setup.cfg", text)
    assert manifest.package is not None
    assert (manifest.package.name, manifest.package.version) == ("cfg", "")
    assert [entry[0] for entry in short(manifest)] == ["a", "b", "sphinx"]
    assert manifest.entry_points[0].name == "tool"


def test_setup_cfg_of_tools_only_is_empty() -> None:
    manifest = read("setup.cfg", "[flake8]\nmax-line-length = 100\n")
    assert manifest.package is None
    assert manifest.dependencies == []


def test_setup_py_is_read_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    text = f"""
import os
open({str(marker)!r}, "w")
NEEDS = ["a>=1", "b"]
version = compute()
from setuptools import setup
setup(
    name="legacy", version=version, license="MIT", install_requires=NEEDS + ["c"],
    extras_require={{"test": ["pytest"]}}, entry_points={{"console_scripts": ["go = legacy:main"]}}, **extra,
)
"""
    manifest = read("setup.py", text)
    assert not marker.exists()
    assert [entry[0] for entry in short(manifest)] == ["a", "b", "c", "pytest"]
    assert manifest.package is not None
    assert manifest.package.name == "legacy"
    assert {finding.message for finding in manifest.findings} == {
        "version is computed; only known when run",
        "setup(**…): only known when run",
    }


@pytest.mark.parametrize("text", ["setup(", "(" * 5000, "\x00", "x = '\\d'\nsetup(name='w')"])
def test_hostile_setup_py_ends_in_a_refusal_or_a_value(text: str) -> None:
    try:
        read("setup.py", text)
    except Unreadable as error:
        assert "\n" not in str(error)


def test_requirements() -> None:
    text = f"""
# comment
a==1.0 \\
    --hash=sha256:{HASH}
b>=2 ; python_version > "3"   # why
-r other.txt
--extra-index-url https://example.com/simple
-e git+https://token@example.com/c.git#egg=c
./local/d
https://example.com/e-1.0-py3-none-any.whl
.
???
"""
    manifest = read("requirements-dev.txt", text)
    assert short(manifest) == [
        ("a", "1.0", "dev", "registry"),
        ("b", "", "dev", "registry"),
        ("c", "", "dev", "vcs"),
        ("d", "", "dev", "path"),
        ("e", "", "dev", "url"),
    ]
    assert [(finding.id, finding.line) for finding in manifest.findings] == [
        ("other-index", 7),
        ("unreadable-requirement", 12),
    ]
    assert not manifest.locks
    assert "token" not in repr(manifest)


def test_a_requirements_file_with_a_hash_on_every_line_is_a_lock() -> None:
    manifest = read_requirements("requirements/run.lock", f"a==1 --hash=sha256:{HASH}\nb==2 --hash=sha256:{HASH}\n")
    assert manifest.locks
    assert [entry.hashes for entry in manifest.dependencies] == [[f"sha256:{HASH}"]] * 2


def test_pipfile_and_its_lock() -> None:
    manifest = read("Pipfile", '[packages]\na = "*"\n[dev-packages]\nb = {git = "https://e.com/b.git"}\n')
    assert short(manifest) == [("a", "", "runtime", "registry"), ("b", "", "dev", "vcs")]
    lock = {"default": {"a": {"version": "==1.0", "hashes": [f"sha256:{HASH}"]}}, "develop": {"b": {"git": "x"}}}
    manifest = read("Pipfile.lock", json.dumps(lock))
    assert short(manifest) == [("a", "1.0", "runtime", "registry"), ("b", "", "dev", "vcs")]
    assert manifest.locks


def test_poetry_lock_and_uv_lock() -> None:
    poetry = f"""
[[package]]
name = "A.B"
version = "1.0"
groups = ["main"]
files = [{{file = "x", hash = "sha256:{HASH}"}}]
[package.dependencies]
c = ">=1"
[[package]]
name = "c"
version = "2.0"
category = "dev"
[package.source]
type = "git"
"""
    manifest = read("poetry.lock", poetry)
    assert short(manifest) == [("a-b", "1.0", "runtime", "registry"), ("c", "2.0", "dev", "vcs")]
    assert manifest.dependencies[0].requires == ["c"]
    uv = f"""
version = 1
[[package]]
name = "self"
version = "0.1"
source = {{ editable = "." }}
[[package]]
name = "d"
version = "3.0"
source = {{ registry = "https://example.com/simple" }}
wheels = [{{ url = "x", hash = "sha256:{HASH}" }}]
dependencies = [{{ name = "e" }}]
"""
    manifest = read("uv.lock", uv)
    assert short(manifest) == [("d", "3.0", "runtime", "registry")]
    assert manifest.dependencies[0].hashes == [f"sha256:{HASH}"]


def test_metadata() -> None:
    text = "Metadata-Version: 2.1\nName: Meta\nVersion: 1\nLicense: UNKNOWN\n"
    text += "Classifier: License :: OSI Approved :: MIT License\nRequires-Dist: a>=1\nRequires-Dist: b; extra == 'x'\n\nbody"
    manifest = read("PKG-INFO", text)
    assert manifest.package is not None
    assert (manifest.package.name, manifest.package.licence) == ("meta", "MIT License")
    assert short(manifest) == [("a", "", "runtime", "registry"), ("b", "", "optional", "registry")]


def test_package_json() -> None:
    document = {
        "name": "@scope/pkg",
        "version": "1.0.0",
        "licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}],
        "bin": {"go": "./bin/go.js"},
        "scripts": {"start": "node x", "test": "jest", "postinstall": "node evil.js"},
        "dependencies": {
            "a": "^1.0.0",
            "b": "2.0.0",
            "c": "github:x/c",
            "d": "file:../d",
            "e": "npm:real@3.0.0",
            "f": "https://user:hunter2@example.com/f.tgz",
            "not a name": "1",
        },
        "devDependencies": {"g": "*"},
    }
    manifest = read("package.json", json.dumps(document))
    assert manifest.package is not None
    assert manifest.package.licence == "MIT OR Apache-2.0"
    assert short(manifest) == [
        ("a", "", "runtime", "registry"),
        ("b", "2.0.0", "runtime", "registry"),
        ("c", "", "runtime", "vcs"),
        ("d", "", "runtime", "path"),
        ("real", "3.0.0", "runtime", "registry"),
        ("f", "", "runtime", "url"),
        ("g", "", "dev", "registry"),
    ]
    assert [(entry.kind, entry.name) for entry in manifest.entry_points] == [
        ("script", "@scope/pkg"),
        ("console", "go"),
    ]
    assert [finding.id for finding in manifest.findings] == ["unreadable-requirement", "install-script"]
    assert "hunter2" not in repr(manifest)


def locked(path: str, text: str) -> dict[str, Dependency]:
    return {f"{entry.name}@{entry.version}": entry for entry in read(path, text).dependencies}


def test_package_lock_of_every_version() -> None:
    first = {
        "lockfileVersion": 1,
        "dependencies": {
            "a": {
                "version": "1.0.0",
                "integrity": SRI,
                "requires": {"b": "^2"},
                "dependencies": {"b": {"version": "2.0.0", "dev": True}},
            },
            "c": {"version": "git+ssh://git@example.com/c.git#abc"},
        },
    }
    found = locked("package-lock.json", json.dumps(first))
    assert set(found) == {"a@1.0.0", "b@2.0.0", "c@"}
    assert found["b@2.0.0"].scope == "dev"
    assert found["c@"].origin == "vcs"
    assert found["a@1.0.0"].hashes == ["sha512:" + "00" * 64]
    third = {
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "root"},
            "packages/own": {"version": "1.0.0"},
            "node_modules/own": {"link": True, "resolved": "packages/own"},
            "node_modules/@s/x": {"version": "1.0.0", "license": "MIT", "resolved": "https://e.com/@s/x/-/x-1.0.0.tgz"},
            "node_modules/@s/x/node_modules/y": {"version": "2.0.0", "optional": True, "dependencies": {"z": "1"}},
            "node_modules/u": {"version": "3.0.0", "resolved": "https://example.com/u.tgz"},
        },
    }
    found = locked("npm-shrinkwrap.json", json.dumps(third))
    assert set(found) == {"@s/x@1.0.0", "y@2.0.0", "u@3.0.0"}
    assert found["@s/x@1.0.0"].licence == "MIT"
    assert found["y@2.0.0"].scope == "optional"
    assert found["u@3.0.0"].origin == "url"


def test_yarn_lock_of_both_kinds() -> None:
    classic = f"""# yarn lockfile v1


"@s/a@^1.0.0", "@s/a@^1.1.0":
  version "1.2.0"
  resolved "https://example.com/@s/a/-/a-1.2.0.tgz#x"
  integrity {SRI}
  dependencies:
    b "^2.0.0"

b@^2.0.0:
  version "2.0.1"
"""
    found = locked("yarn.lock", classic)
    assert set(found) == {"@s/a@1.2.0", "b@2.0.1"}
    assert found["@s/a@1.2.0"].requires == ["b"]
    berry = """__metadata:
  version: 8

"c@npm:^3.0.0":
  version: 3.1.0
  resolution: "c@npm:3.1.0"

"own@workspace:.":
  version: 0.0.0-use.local
"""
    assert set(locked("yarn.lock", berry)) == {"c@3.1.0"}


def test_pnpm_lock() -> None:
    text = f"""
lockfileVersion: '6.0'
packages:
  /a@1.0.0:
    resolution: {{integrity: {SRI}}}
    dev: true
  /@s/b/2.0.0:
    dependencies: {{a: 1.0.0}}
  c@3.0.0(react@18.0.0):
    resolution: {{integrity: {SRI}}}
  /with_underscore/4.0.0_peer@1:
    optional: true
"""
    found = locked("pnpm-lock.yaml", text)
    assert set(found) == {"a@1.0.0", "@s/b@2.0.0", "c@3.0.0", "with_underscore@4.0.0"}
    assert found["a@1.0.0"].scope == "dev"
    assert found["with_underscore@4.0.0"].scope == "optional"


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x",
        "[" * 100,
        "a: [",
        "? [1]\n: 2",
        "\t- x",
        "a: " + "[" * 39 + "]" * 39 + "\nb: " + "[" * 60,
    ],
)
def test_hostile_yaml_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, '{"a": ' * 5000, '{"packages": 3}', "\ud800"])
@pytest.mark.parametrize("name", ["package.json", "package-lock.json", "Pipfile.lock"])
def test_broken_json_becomes_a_finding(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    tree = walk(tmp_path)
    manifest = read_manifest(tree, tree.files[0])
    assert manifest is not None
    assert manifest.dependencies == []
    assert all(finding.id == "broken-manifest" for finding in manifest.findings)


@pytest.mark.parametrize("name", [*_READERS, "requirements.txt"])
@given(
    text=st.text(max_size=300)
    | st.sampled_from(["[project]\nname = 1", '{"dependencies": []}', "a:\n- b", "[[package]]"])
)
@settings(max_examples=60)
def test_no_text_crashes_a_reader(name: str, text: str) -> None:
    try:
        manifest = read(name, text)
    except Unreadable as error:
        assert "\n" not in str(error)
    else:
        msgspec.json.encode(manifest)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = [
    "name",
    "version",
    "license",
    "licenses",
    "dependencies",
    "devDependencies",
    "packages",
    "bin",
    "scripts",
    "engines",
]


@given(st.dictionaries(st.sampled_from([*KEYS, "default", "develop", "homepage"]), values))
@settings(max_examples=200)
def test_json_of_any_shape_is_read(document: dict[str, object]) -> None:
    for name in ("package.json", "package-lock.json", "Pipfile.lock"):
        msgspec.json.encode(read(name, json.dumps(document)))


@given(st.text(max_size=80))
def test_a_requirement_is_a_dependency_with_a_normal_name_or_none(text: str) -> None:
    found = requirement(text, "runtime", "f")
    if found is not None:
        assert found.name == found.name.lower()
        found.purl.encode()


@pytest.mark.parametrize(
    ("path", "aside", "copied"),
    [
        ("src/package.json", False, False),
        ("tests/fixtures/package.json", True, True),
        ("docs/requirements.txt", True, True),
        ("third_party/x/setup.py", True, True),
        ("dist/compiled/x/package.json", False, True),
        ("latest/package.json", False, False),
    ],
)
def test_what_belongs_to_others_is_told_apart(path: str, aside: bool, copied: bool) -> None:
    assert (is_aside(path), is_copied(path)) == (aside, copied)
