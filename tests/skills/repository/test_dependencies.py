"""Manifests and lock files joined into one inventory; licences from what lies in the tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import interlock.skills
from interlock.skills.repository.context import load_catalogue, survey
from interlock.skills.repository.licences import load_licence_rules
from interlock.skills.repository.model import Context

CONFIG = Path(interlock.skills.__path__[0]).parents[2] / "config"
HASH = "b" * 64


def surveyed(root: Path, files: dict[str, str]) -> Context:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return survey(root, rules=load_licence_rules(CONFIG), catalogue=load_catalogue(CONFIG))


PROJECT = '[project]\nname = "p"\nversion = "1"\ndependencies = ["a>=1"]\n[dependency-groups]\ndev = ["t"]\n'


def test_a_named_dependency_takes_the_version_of_the_lock_and_scopes_flow_along_it(tmp_path: Path) -> None:
    uv = "".join(
        f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "x" }}\n'
        f"dependencies = [{', '.join(f'{{name = {json.dumps(need)}}}' for need in needs)}]\n"
        for name, version, needs in [
            ("a", "1.5", ["b"]),
            ("b", "2", ["c"]),
            ("c", "3", []),
            ("t", "4", ["c", "u"]),
            ("u", "5", []),
        ]
    )
    context = surveyed(tmp_path, {"pyproject.toml": PROJECT, "uv.lock": uv})
    told = {entry.name: (entry.version, entry.scope, entry.direct) for entry in context.dependencies}
    assert told == {
        "a": ("1.5", "runtime", True),
        "b": ("2", "runtime", False),
        "c": ("3", "runtime", False),
        "t": ("4", "dev", True),
        "u": ("5", "dev", False),
    }


def test_a_compiled_requirements_file_beside_a_manifest_is_its_lock(tmp_path: Path) -> None:
    lock = "".join(f"{name}==1.0 --hash=sha256:{HASH}\n" for name in ("a", "b"))
    context = surveyed(tmp_path, {"pyproject.toml": PROJECT, "requirements.lock": lock})
    assert {entry.name: entry.direct for entry in context.dependencies} == {"a": True, "b": False, "t": True}


def test_the_same_file_alone_names_what_is_direct(tmp_path: Path) -> None:
    context = surveyed(tmp_path, {"requirements.txt": f"a==1.0 --hash=sha256:{HASH}\n"})
    assert [(entry.name, entry.direct, entry.locked) for entry in context.dependencies] == [("a", True, True)]


def test_members_of_a_workspace_are_not_dependencies(tmp_path: Path) -> None:
    files = {
        "package.json": '{"name": "root", "workspaces": ["packages/*"]}',
        "packages/one/package.json": '{"name": "one", "version": "1.0.0", "dependencies": {"two": "^1.0.0", "x": "1.0.0"}}',
        "packages/two/package.json": '{"name": "two", "version": "1.0.0"}',
    }
    assert [entry.name for entry in surveyed(tmp_path, files).dependencies] == ["x"]


def test_two_versions_of_a_package_are_two_entries(tmp_path: Path) -> None:
    lock = {
        "lockfileVersion": 3,
        "packages": {"node_modules/x": {"version": "2.0.0"}, "node_modules/y/node_modules/x": {"version": "1.0.0"}},
    }
    files = {"package.json": '{"name": "r", "dependencies": {"x": "1.0.0"}}', "package-lock.json": json.dumps(lock)}
    told = [(entry.version, entry.direct) for entry in surveyed(tmp_path, files).dependencies]
    assert told == [("1.0.0", True), ("2.0.0", False)]


def test_manifests_of_tests_do_not_count(tmp_path: Path) -> None:
    files = {"tests/fixtures/package.json": '{"name": "f", "dependencies": {"x": "1"}}', "a.py": "x = 1\n"}
    context = surveyed(tmp_path, files)
    assert (context.dependencies, context.packages) == ([], [])
    assert [finding.id for finding in context.findings] == ["manifests-aside"]


def test_licences_come_from_installed_packages_then_from_the_owner(tmp_path: Path) -> None:
    meta = ".venv/lib/python3.12/site-packages"
    files = {
        "requirements.txt": "a==1\nb==2\nc==3\n",
        "package.json": '{"name": "r", "dependencies": {"n": "1.0.0"}}',
        f"{meta}/a-1.dist-info/METADATA": "Name: A\nVersion: 1\nLicense: MIT\n",
        "node_modules/n/package.json": '{"name": "n", "license": "ISC"}',
        ".interlock-licences.yaml": 'licences: {"pypi:a": Ruby, "pypi:b": "Apache-2.0"}\n',
    }
    told = {entry.key: (entry.licence, entry.licence_from) for entry in surveyed(tmp_path, files).dependencies}
    assert told == {
        "npm:n": ("ISC", "installed"),
        "pypi:a": ("MIT", "installed"),
        "pypi:b": ("Apache-2.0", "declared"),
        "pypi:c": ("", "lock"),
    }


def test_an_environment_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "lib" / "python3.12" / "site-packages" / "a-1.dist-info"
    outside.mkdir(parents=True)
    (outside / "METADATA").write_text("Name: a\nVersion: 1\nLicense: MIT\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / ".venv").symlink_to(tmp_path / "outside")
    (entry,) = surveyed(root, {"requirements.txt": "a==1\n"}).dependencies
    assert entry.licence == ""


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("files", "commit"),
    [
        ({".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": COMMIT + "\n"}, COMMIT),
        ({".git/HEAD": "ref: refs/heads/a/b\n", ".git/packed-refs": f"# x\n{COMMIT} refs/heads/a/b\n"}, COMMIT),
        ({".git/HEAD": COMMIT}, COMMIT),
        ({".git/HEAD": "ref: refs/../../../etc/passwd"}, ""),
        ({".git/HEAD": "nonsense"}, ""),
        ({".git": "gitdir: ../elsewhere"}, ""),
        ({"a": "x"}, ""),
    ],
)
def test_the_commit_is_read_without_git(tmp_path: Path, files: dict[str, str], commit: str) -> None:
    context = surveyed(tmp_path, files | {"a": "x"})
    assert context.commit == commit
    assert context.findings == []


def test_the_digest_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    first = surveyed(tmp_path / "a", {"x": "1", "y/z": "2"})
    second = surveyed(tmp_path / "b", {"y/z": "2", "x": "1"})
    third = surveyed(tmp_path / "c", {"x": "2", "y/z": "1"})
    assert first.digest == second.digest != third.digest


def test_uses_are_found_where_code_is_and_not_in_tests(tmp_path: Path) -> None:
    files = {
        "src/a.py": "import os\nfrom openai.types import X\nMODEL = 'gpt-4o-mini'\n",
        "src/b.ts": 'import Anthropic from "@anthropic-ai/sdk";\n',
        "tests/test_a.py": "import torch\n",
        "README.md": "import tensorflow\n",
        "src/flaskless.py": "import flaskless\n",
    }
    told = [(use.name, use.kind, use.file, use.line) for use in surveyed(tmp_path, files).uses]
    assert told == [
        ("@anthropic-ai/sdk", "generative", "src/b.ts", 1),
        ("openai", "generative", "src/a.py", 2),
        ("gpt-4o-mini", "model", "src/a.py", 3),
    ]


def test_entry_points_of_every_kind(tmp_path: Path) -> None:
    files = {
        "Dockerfile": 'FROM a\nEXPOSE 1\nFROM b\nENV X=1\nEXPOSE 8080/tcp 9\nENTRYPOINT ["python"]\nCMD ["-m", \\\n "app"]\n',
        "Procfile": "web: gunicorn app:app --bind 0.0.0.0:$PORT\nworker: celery worker\n",
        "package.json": '{"name": "p", "scripts": {"start": "node ."}, "bin": "./cli.js"}',
    }
    told = [(entry.kind, entry.name, entry.command, entry.port) for entry in surveyed(tmp_path, files).entry_points]
    assert told == [
        ("container", "p", ["python", "-m", "app"], 8080),
        ("process", "web", ["/bin/sh", "-c", "gunicorn app:app --bind 0.0.0.0:$PORT"], 0),
        ("process", "worker", ["celery", "worker"], 0),
        ("script", "p", ["npm", "start"], 0),
        ("console", "p", ["p"], 0),
    ]
