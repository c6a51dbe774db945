"""Manifests, registry, schemas, cost, deliverable: tables of what is accepted and what is refused, and why."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.skills.cost import RunUsage, cost_of_run, load_prices
from interlock.skills.deliverable import check_bundle, seal_bundle
from interlock.skills.errors import SkillsError
from interlock.skills.manifest import folder_digest, load_skill, parse_skill
from interlock.skills.registry import Registry
from interlock.skills.schemas import check, find_float, schema_problem

CONFIG = Path(__file__).parents[2] / "config"
GOOD = "---\nname: a\nversion: 1.0.0\ndescription: Do a thing.\n---\nText.\n"


def test_a_manifest_has_its_defaults() -> None:
    manifest, instruction = parse_skill(GOOD, "f")
    assert (manifest.capability, instruction) == ("skill:a", "Text.")
    assert (manifest.network, manifest.effects, manifest.limits.processes) == (False, "none", 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "front matter"),
        ("name: a", "front matter"),
        ("---\nname: a\n", "front matter"),
        (GOOD.replace("name: a", "name: A"), "f:2:7"),
        (GOOD.replace("version: 1.0.0", "version: 1.0"), "f:3:10"),
        (GOOD.replace("version: 1.0.0", "version: one"), "f:3:10"),
        (GOOD.replace("---\nText", "colour: red\n---\nText"), "colour"),
        (GOOD.replace("---\nText", "network: perhaps\n---\nText"), "network"),
        (GOOD.replace("---\nText", "limits: {cpuSeconds: 100000}\n---\nText"), "cpuSeconds"),
        (GOOD.replace("---\nText", "name: b\n---\nText"), "twice"),
        (GOOD.replace("---\nText", "input: {$ref: 'http://x/y'}\n---\nText"), "outside"),
        (GOOD.replace("---\nText", "input: {properties: {p: {format: writable-directory}}}\n---\nText"), "external"),
        (GOOD + "word " * 200, "201 words"),
    ],
)
def test_bad_manifests_say_what_and_where(text: str, told: str) -> None:
    with pytest.raises(SkillsError) as caught:
        parse_skill(text, "f")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=120))
def test_no_other_error_escapes(text: str) -> None:
    try:
        parse_skill("---\n" + text + "\n---\n", "f")
    except SkillsError as error:
        assert error.reason == "bad_skill"


def make(place: Path, name: str, description: str = "Do a thing.") -> Path:
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(GOOD.replace("name: a", f"name: {name}").replace("Do a thing.", description))
    (folder / "handler.py").write_text("def run(task): return {}\n")
    return folder


def test_the_digest_is_of_the_content_and_nothing_else(tmp_path: Path) -> None:
    one, two = make(tmp_path / "x", "a"), make(tmp_path / "y", "a")
    assert folder_digest(one) == folder_digest(two)
    (one / "__pycache__").mkdir()
    (one / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert folder_digest(one) == folder_digest(two)
    (one / "more.txt").write_text("x")
    assert folder_digest(one) != folder_digest(two)


def test_skills_are_found_and_duplicates_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "x", "counting-words", "Count the words of a text.")
    make(tmp_path / "x", "greeting-people", "Greet a person by name.")
    registry = Registry.load([tmp_path / "x"], bundled=False)
    assert registry.names() == ["counting-words", "greeting-people"]
    assert registry.match("please count the words in my text")[0][1].name == "counting-words"
    assert registry.match("zebra") == []
    make(tmp_path / "y", "counting-words")
    with pytest.raises(SkillsError, match="counting-words"):
        Registry.load([tmp_path / "x", tmp_path / "y"], bundled=False)
    folder.rename(tmp_path / "x" / "other")
    with pytest.raises(SkillsError, match="differs from its folder"):
        load_skill(tmp_path / "x" / "other")
    (tmp_path / "x" / "other" / "handler.py").unlink()
    with pytest.raises(SkillsError):
        Registry.load([tmp_path / "x"], bundled=False)


# The skills of blueprints have the names of their specification.
NAMED_BY_THE_SEED = {
    "blueprint-parser",
    "decision-engine",
    "governance-enforcer",
    "execution-engine",
    "approved-execution-engine",
    "verification-engine",
}


def test_every_bundled_skill_is_sound() -> None:
    registry = Registry.load([])
    assert len(registry.names()) >= 14
    for name in registry.names():
        skill = registry.find(name)
        assert skill is not None
        assert name.split("-")[0].endswith("ing") or name in NAMED_BY_THE_SEED, "skills are named by gerunds"
        assert schema_problem(skill.manifest.input) == schema_problem(skill.manifest.output) == ""


def test_schema_problems_are_all_told() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"b": {"type": "string"}, "c": {"maximum": 3}}}
    assert {path for path, _ in check({"b": 1, "c": 5}, schema)} == {"$", "$.b", "$.c"}
    assert check({}, {"type": "object"}) == []
    assert check([], {"type": "object"})
    assert schema_problem({"type": "nonsense"})
    assert find_float({"a": [{"b": 0.5}]}) == "$.a[0].b"
    assert find_float({"a": [True, None, 3, "1.5"]}) == ""


def test_prices_of_a_run_are_exact_and_rounded_up() -> None:
    prices = load_prices(CONFIG / "prices.yaml")
    hour = cost_of_run(RunUsage(cpu_us=3_600_000_000), prices)
    assert hour.usd_micro == 50_000
    assert hour.carbon_grams == "3.4056"
    assert cost_of_run(RunUsage(cpu_us=1), prices).usd_micro == 1
    assert cost_of_run(RunUsage(), prices).usd_micro == 0
    tokens = cost_of_run(RunUsage(tokens={"claude-sonnet": 2_000}), prices)
    assert tokens.usd_micro == 50_000
    with pytest.raises(ValueError, match="atlantis"):
        load_prices(CONFIG / "prices.yaml", "atlantis")


def sealed(tmp_path: Path) -> bytes:
    file = tmp_path / "a.txt"
    file.write_text("hello")
    entry = {"name": "a.txt", "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "size": 5}
    return seal_bundle({"a.txt": file}, json.dumps({"files": [entry]}).encode(), lambda data: ("K", str(len(data))))


def problems(tmp_path: Path, data: bytes) -> list[str]:
    path = tmp_path / "bundle.zip"
    path.write_bytes(data)
    return check_bundle(path, lambda key, manifest, text: (key, text) == ("K", str(len(manifest))))


def test_a_deliverable_is_deterministic_and_any_change_is_found(tmp_path: Path) -> None:
    data = sealed(tmp_path)
    assert data == sealed(tmp_path)
    assert problems(tmp_path, data) == []

    def rewritten(change: dict[str, bytes | None]) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in (members | change).items():
                if content is not None:
                    archive.writestr(name, content)
        return buffer.getvalue()

    assert problems(tmp_path, rewritten({"a.txt": b"hullo"})) == ["a.txt: differs from the manifest"]
    assert problems(tmp_path, rewritten({"b.txt": b"x"})) == ["b.txt: not in the manifest"]
    assert problems(tmp_path, rewritten({"a.txt": None})) == ["a.txt: missing"]
    assert problems(tmp_path, rewritten({"manifest.json": b'{"files": []}'}))
    assert problems(tmp_path, rewritten({"manifest.sig.json": b"{}"}))
    assert problems(tmp_path, b"no zip")
    assert problems(tmp_path, data[:-10])
