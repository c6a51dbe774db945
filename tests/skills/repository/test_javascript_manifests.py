"""Manifests and lock files of JavaScript, of every version and kind."""

from __future__ import annotations

import json

from interlock.skills.repository.model import Dependency
from tests.skills.repository.manifest_reading import read, short

SRI = "sha512-" + "A" * 86 + "=="


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
