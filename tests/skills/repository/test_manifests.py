"""Every reader of manifests: broken and hostile texts end in a refusal or a value; what is of others is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.skills.repository.manifests import _READERS, is_aside, is_copied, read_manifest
from interlock.skills.repository.requirement import requirement
from interlock.skills.repository.structured import Unreadable, parse_yaml
from interlock.skills.repository.walk import walk
from tests.skills.repository.manifest_reading import read


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
