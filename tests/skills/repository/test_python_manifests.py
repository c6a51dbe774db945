"""Manifests and lock files of Python: what they declare and lock, and nothing of them is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interlock.skills.repository.python_locks import read_requirements
from interlock.skills.repository.structured import Unreadable
from tests.skills.repository.manifest_reading import read, short

HASH = "a" * 64
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
