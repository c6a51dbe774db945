"""Documents are executable: links lead somewhere, commands exist, nats recipes run where the nats CLI is installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import anyio
import pytest

from interlock.agents.cli import run
from interlock.agents.cli.submission import publish_goal, wait_for_audit, wait_for_end
from interlock.agents.supervision.house import house
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
SKILLS = ROOT / "tests" / "agents" / "skills"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    assert text.startswith("# ")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ways = set[Path](), [ROOT / "README.md"]
    while ways:
        page = ways.pop()
        if page not in reached:
            reached.add(page)
            links = re.findall(r"\]\(([^)#]+\.md)[^)]*\)", page.read_text())
            ways += [(page.parent / link).resolve() for link in links if "://" not in link]
    numbered = set((ROOT / "docs" / "adr").glob("*.md"))  # the README leads to their directory
    pages = {page for page in DOCUMENTS if not page.is_relative_to(ROOT / "examples")}  # whose directories it names
    assert pages - reached - numbered == set()


def commands(document: Path) -> list[str]:
    return [line[4:].split("  ")[0].strip() for line in document.read_text().splitlines() if line.startswith("    ")]


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        match for path in DOCUMENTS for command in commands(path) for match in re.findall(r"^make ([a-z-]+)", command)
    }
    assert named
    assert named <= targets


def test_verbs_that_are_named_exist(capsys: pytest.CaptureFixture[str]) -> None:
    named = {
        tuple(word for word in found.group(1).split() if word.islower() and word.isalpha())[
            : 2 if "audit" in found.group(1) else 1
        ]
        for command in commands(ROOT / "README.md")
        if (found := re.match(r"(?:\S*/)?interlock ([a-z ]+)", command))
    }
    assert len(named) >= 7
    for verb in named:
        assert run([*verb, "--help"]) == 0, verb
    capsys.readouterr()


def recipes() -> list[str]:
    """All that the README and docs/nats-cli.md tell to type."""
    readme = (ROOT / "README.md").read_text().split("## With the nats CLI")[1].split("\n## ")[0]
    lines = [*readme.splitlines(), *(ROOT / "docs" / "nats-cli.md").read_text().splitlines()]
    found = [line.split(" # ")[0].strip() for line in lines if line.startswith("    ")]
    assert all(line.startswith("nats ") for line in found)
    return found


def nats_cli() -> str | None:
    return os.environ.get("NATS_CLI") or shutil.which("nats")


@pytest.mark.process
@pytest.mark.anyio
@pytest.mark.skipif(nats_cli() is None, reason="the nats CLI is not installed: its recipes are not run")
async def test_recipes_with_the_nats_cli(tmp_path: Path) -> None:
    nats = nats_cli()
    assert nats is not None and len(recipes()) >= 30
    async with house(Layout(tmp_path), Settings(), skills=[SKILLS]) as place:
        goal = (
            '{"goal":"x","constraints":[],"stakeholders":["a"],"success_metrics":["y"],'
            '"budget_limits":{"costUSD":1,"wallMs":1000000,"actions":10},"tasks":[{"id":"a","skill":"doing-nothing"}]}'
        )
        goal_id = await publish_goal(place.transport, "default", goal.encode())
        status = await wait_for_end(place.transport, "default", goal_id, lambda _status, _hops: None)
        await wait_for_audit(place.transport, "default", goal_id)
        await place.transport.send("interlock.default.goal.submit", b"not json")
        with anyio.fail_after(10):
            while not await place.transport.count("DEAD", "interlock.default.dead.>"):
                await anyio.sleep(0.02)
        digest = (await place.transport.list_objects("artifacts"))[0].name
        for recipe in recipes():
            words = shlex.split(
                recipe.replace("<goalId>", goal_id)
                .replace("<digest>", digest)
                .replace("<letter>", "1")
                .replace('"$(cat goal.json)"', "@GOAL")
            )
            words = [nats, "-s", place.url, *[goal if word == "@GOAL" else word for word in words[1:]]]
            if words[3] == "sub" and "--stream" not in words:
                words += ["--stream", "HOPS" if "role" in recipe else "DEAD", "--all", "--count", "1"]
            if words[3:5] == ["object", "get"] and "--output" not in words:
                words += ["--output", str(tmp_path / "artefact"), "--no-progress", "--force"]
            with anyio.fail_after(20):
                done = await anyio.run_process(words, check=False, cwd=tmp_path, stdin=None)
            told = done.stdout.decode() + done.stderr.decode()
            assert done.returncode == 0, (recipe, told)
            assert told.strip(), recipe
            if "micro" in words:
                assert "interlock-executor" in told, told
    assert status.outcome == "released"
