"""Every skill on trees that nobody would expect: all end with sound documents, in bounded time and size."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.envelope.canonical import canonical, check_plain
from tests.skills.bundled.playbook_run import PlaybookRun, goal_for, run_skill
from tests.skills.bundled.test_release_readiness import check_documents, tree

MAX_OUTPUT_BYTES = 64 * 1024


def empty(root: Path) -> None:
    root.mkdir()


def one_file(root: Path) -> None:
    tree(root, {"x": ""})


def no_manifest(root: Path) -> None:
    tree(root, {"lib/a.c": "int main(void) { return 0; }\n", "Makefile": "all:\n", "LICENSE": "All rights reserved\n"})


def broken_manifests(root: Path) -> None:
    names = [
        "package.json",
        "package-lock.json",
        "pyproject.toml",
        "setup.cfg",
        "setup.py",
        "yarn.lock",
        "pnpm-lock.yaml",
    ]
    names += [
        "Pipfile",
        "Pipfile.lock",
        "poetry.lock",
        "uv.lock",
        "requirements.txt",
        "PKG-INFO",
        "Dockerfile",
        "Procfile",
    ]
    tree(root, dict.fromkeys(names, '{"[[<\n\t- : ] = "'))


def odd_names(root: Path) -> None:
    root.mkdir()
    names = [
        b"\xff\xfe.py",
        b"new\nline.py",
        b"`tick`|pipe.md",
        b"<script>.js",
        b"-rf",
        b"a" * 255,
        b"${x}",
        b"TODO.md",
    ]
    for name in names:
        (root / os.fsdecode(name)).write_text("import flask\n")
    folder = root / os.fsdecode(b"d\xff") / "`x`"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "p"}')
    (folder / "Dockerfile").write_text('FROM x\nCMD ["a`b|c", "\\u001b[31m"]\n')


def links_and_pipes(root: Path) -> None:
    tree(root, {"real/a.py": "x = 1\n"})
    (root / "loop").symlink_to(".")
    (root / "out").symlink_to("/etc")
    (root / "package.json").symlink_to("/etc/passwd")
    (root / "LICENSE").symlink_to("LICENSE")
    os.mkfifo(root / "requirements.txt")


def hostile_manifest(root: Path) -> None:
    """Names, texts and commands that would break a table, a YAML document or a shell line."""
    package = {
        "name": "todo",
        "version": "1.0.0-<b>|`x`",
        "description": "TODO: ignore ${this} | `and` {{that}} <script>\u202e\ud800 \u0000",
        "license": "MIT\nGPL",
        "homepage": "javascript:alert(1)",
        "bin": {"on": "./x.js", "; rm -rf /": "./y.js", "no": "./z.js"},
        "scripts": {"start": "$(reboot)", "test": "true"},
        "dependencies": {"yes": "010", "null": "1e3", "a": "|", "b": "- x: y", "c": "https://u:p@h/c.tgz"},
    }
    tree(
        root,
        {"package.json": json.dumps(package), "Procfile": "web: x $(y) --port 99999\n: nothing\nworker: 'unclosed\n"},
    )


def deep(root: Path) -> None:
    folder = root
    for _ in range(100):
        folder = folder / "deeper"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("x = 1\n")


def large_files(root: Path) -> None:
    tree(
        root,
        {"data.json": "[" + "1," * 2_000_000 + "1]", "min.js": "a=b;" * 1_000_000, "package.json": " " * 17_000_000},
    )
    (root / "blob.bin").write_bytes(os.urandom(3_000_000))


TREES = [
    empty,
    one_file,
    no_manifest,
    broken_manifests,
    odd_names,
    links_and_pipes,
    hostile_manifest,
    deep,
    large_files,
]


@pytest.mark.parametrize("make", TREES, ids=[make.__name__ for make in TREES])
def test_every_tree_ends_with_sound_documents(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "tree")
    run = PlaybookRun(goal_for(tmp_path / "tree"), tmp_path)
    check_documents(run)
    for task, output in run.outputs.items():
        check_plain(output, task)
        assert len(canonical(output)) <= MAX_OUTPUT_BYTES, task
    assert run.outputs["deliverable"]["files"] == 16
    assert not any(entry["id"] == "placeholder" for entry in run.outputs["deliverable"]["findings"])


def test_an_empty_directory_is_nothing_to_release(tmp_path: Path) -> None:
    empty(tmp_path / "tree")
    run = PlaybookRun(goal_for(tmp_path / "tree"), tmp_path)
    assert [entry["id"] for entry in run.outputs["context"]["findings"] if entry["blocks"]] == ["nothing-there"]
    assert run.outputs["deliverable"]["releasable"] is False


def test_broken_manifests_are_named(tmp_path: Path) -> None:
    broken_manifests(tmp_path / "tree")
    output = run_skill("mapping-context", tmp_path / "out", {"path": str(tmp_path / "tree")})
    named = {entry["file"] for entry in output["findings"] if entry["id"] == "broken-manifest"}
    assert {"package.json", "pyproject.toml", "setup.cfg", "setup.py", "poetry.lock", "pnpm-lock.yaml"} <= named


def test_manifests_that_nobody_reads_are_named(tmp_path: Path) -> None:
    """A tree of Rust under a forbidden licence was released without a word of what was not looked at."""
    crate = '[package]\nname = "x"\nlicense = "AGPL-3.0-or-later"\n'
    files = {"a/Cargo.toml": crate, "b/Cargo.toml": crate, "x.csproj": "<Project/>", "examples/go.mod": "module x\n"}
    tree(tmp_path / "tree", files)
    output = run_skill("mapping-context", tmp_path / "out", {"path": str(tmp_path / "tree")})
    found = {entry["file"]: entry["message"] for entry in output["findings"] if entry["id"] == "unread-manifest"}
    assert set(found) == {"x.csproj", "a/Cargo.toml"}
    assert found["a/Cargo.toml"].startswith("2 manifests of Rust not read")


def test_links_and_pipes_are_named_and_nothing_of_the_host_is_read(tmp_path: Path) -> None:
    links_and_pipes(tmp_path / "tree")
    output = run_skill("mapping-context", tmp_path / "out", {"path": str(tmp_path / "tree")})
    assert output["files"] == 1
    told = {entry.get("file"): entry["id"] for entry in output["findings"]}
    assert told == {
        "out": "link-outside",
        "package.json": "link-outside",
        "LICENSE": "broken-link",
        "requirements.txt": "special-file",
    }


def test_credentials_in_addresses_are_found_but_not_repeated(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "tree", {"package.json": '{"dependencies": {"c": "https://deploy:k3Ypq92xvQ@h.internal/c.tgz"}}'}
    )
    run = PlaybookRun(goal_for(root), tmp_path)
    assert [entry["blocks"] for entry in run.outputs["secrets"]["findings"]] == [True]
    for name, path in run.files.items():
        assert "k3Ypq92xvQ" not in path.read_text(encoding="utf-8"), name


def test_thousands_of_files_stay_within_the_limits(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    source = "import os\nPASSWORD = os.environ['PASSWORD']\ndef f(secret_key):\n    return secret_key\n" * 8
    for folder in range(50):
        place = root / f"package{folder:02}"
        place.mkdir(parents=True)
        (place / "package.json").write_text(f'{{"name": "p{folder}", "dependencies": {{"x{folder}": "^1.0.0"}}}}')
        for number in range(100):
            (place / f"module{number:03}.py").write_text(source)
    before = time.process_time()
    run = PlaybookRun(goal_for(root), tmp_path)
    assert time.process_time() - before < 20
    assert run.outputs["context"]["files"] == run.outputs["secrets"]["filesScanned"] == 5_050
    assert run.outputs["sbom"]["components"] == 50
    for task, output in run.outputs.items():
        assert len(canonical(output)) <= MAX_OUTPUT_BYTES, task


def test_many_findings_are_counted_and_cut(tmp_path: Path) -> None:
    files = {f"{'n' * 150}{number}.py": 'DB_PASSWORD = "k3Yp-92!xvQ"\n' for number in range(500)}
    output = run_skill("scanning-secrets", tmp_path / "out", {"path": str(tree(tmp_path / "tree", files))})
    assert output["leaked"] == output["findingCounts"]["total"] == 500
    assert 1 <= len(output["findings"]) <= 60
    assert all(entry["blocks"] for entry in output["findings"])
    assert len(canonical(output["findings"])) <= 13_000
