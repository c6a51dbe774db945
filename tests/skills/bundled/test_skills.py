"""Single skills: flow matrix, cost, deployment, monitoring, dependency risk, the last check of the deliverable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from interlock.agents.goal.plan import plan_problems
from interlock.agents.planning.playbooks import load_playbook
from interlock.skills.manifest import load_skill
from interlock.skills.schemas import check
from interlock.skills.sdk import SkillError
from tests.skills.bundled.playbook_run import BUNDLED, PlaybookRun, goal_for, run_skill
from tests.skills.bundled.test_release_readiness import SAMPLE, schema_of, tree

NAMED_BY_THE_SPECIFICATION = {
    "blueprint-parser",
    "decision-engine",
    "governance-enforcer",
    "execution-engine",
    "approved-execution-engine",
    "verification-engine",
}
SKILLS = sorted(path.parent.name for path in BUNDLED.glob("*/SKILL.md"))


@pytest.mark.parametrize("name", SKILLS)
def test_every_skill_loads_and_is_named_by_a_gerund(name: str) -> None:
    skill = load_skill(BUNDLED / name)
    assert name.split("-")[0].endswith("ing") or name in NAMED_BY_THE_SPECIFICATION
    assert skill.manifest.output["additionalProperties"] is False
    assert {"findings", "findingCounts"} <= set(skill.manifest.output["required"])


def test_the_playbook_is_a_plan_that_can_run() -> None:
    playbook = load_playbook(BUNDLED.parents[3] / "config" / "playbooks" / "release-readiness.yaml")
    assert plan_problems(playbook.tasks, playbook.release, lambda name: name in SKILLS) == []
    wall = sum(task.budget.wall_ms for task in playbook.tasks)
    assert wall + (playbook.release.budget.wall_ms if playbook.release else 0) <= 600_000


def entry(name: str, after: list[str], **others: Any) -> dict[str, Any]:
    return {
        "id": name,
        "skill": "some-skill",
        "after": after,
        "status": "done",
        "attempt": 1,
        "costUsdMicro": 100,
        "wallMs": 10,
        "tokens": 1,
        "confidence": 1000,
    } | others


def flow(tmp_path: Path, plan: list[dict[str, Any]]) -> dict[str, Any]:
    run_skill("mapping-flow", tmp_path, {"plan": plan})
    document: dict[str, Any] = json.loads((tmp_path / "flow_matrix.json").read_text())
    assert check(document, schema_of("flow_matrix.json")) == []
    return document


def test_the_flow_matrix_of_a_fan_out_and_a_join(tmp_path: Path) -> None:
    plan = [
        entry("start", []),
        entry("each.0", ["start"], wallMs=50, attempt=2),
        entry("each.1", ["start"], confidence=840),
        entry("join", ["each"], status="failed", detail="crashed: \x1b[31m"),
        entry("late", ["join"], status="waiting"),
    ]
    document = flow(tmp_path, plan)
    assert document["spec_version"] == "3.2"
    assert document["matrix"] == {
        "order": ["start", "each.0", "each.1", "join", "late"],
        "rows": ["00000", "10000", "10000", "01100", "00010"],
    }
    assert document["levels"] == [["start"], ["each.0", "each.1"], ["join"], ["late"]]
    assert document["critical_path"] == ["start", "each.0", "join", "late"]
    nodes = {node["id"]: node for node in document["nodes"]}
    assert nodes["each.0"]["escalation"]["because"] == "2 attempts were needed"
    assert "840 of 1000" in nodes["each.1"]["escalation"]["because"]
    assert "the task failed" in nodes["join"]["escalation"]["because"]
    assert nodes["late"] == {"id": "late", "skill": "some-skill", "depends_on": ["join"], "status": "open"}
    assert list(nodes["start"]) == [
        "id",
        "skill",
        "depends_on",
        "status",
        "confidence_per_mille",
        "attempts",
        "cost_usd",
        "wall_ms",
        "tokens",
    ]


def test_the_flow_matrix_of_nothing_of_a_cycle_and_of_many(tmp_path: Path) -> None:
    assert flow(tmp_path, [])["levels"] == []
    assert flow(tmp_path, [entry("a", ["b"]), entry("b", ["a"])])["critical_path"] == []
    assert "matrix" not in flow(tmp_path, [entry(f"t.{number}", []) for number in range(300)])


def test_cost_sums_what_ended_and_projects_it(tmp_path: Path) -> None:
    plan = [entry("a", [], costUsdMicro=1_500_000), entry("b", [], status="failed"), entry("c", [], status="running")]
    goal = {"budget_limits": {"costUSD": "1.6"}}
    output = run_skill("analysing-cost", tmp_path, {"goal": goal, "plan": plan})
    assert (output["costUSD"], output["tasks"], output["budgetPerMille"]) == ("1.5001", 2, 937)
    assert [finding["id"] for finding in output["findings"]] == ["budget-nearly-spent"]
    document = json.loads((tmp_path / "cost_analysis.json").read_text())
    assert check(document, schema_of("cost_analysis.json")) == []
    assert document["notEnded"] == ["c"]
    assert document["projections"][1] == {
        "runsPerDay": 10,
        "monthlyCostUSD": "450.03",
        "yearlyCostUSD": "5475.365",
        "assumption": "every run costs what this one did",
    }


CASES = [
    ("library", {"a.py": "x = 1\n"}, []),
    (
        "container",
        {"Dockerfile": "FROM x\nEXPOSE 9000\n", "package.json": '{"name": "Über App!"}'},
        [("tree", "service", 9000)],
    ),
    ("worker", {"Dockerfile": "FROM x\nCMD python loop.py\n"}, [("tree", "worker", 0)]),
    ("framework", {"Dockerfile": "FROM x\nCMD run\n", "a.py": "import flask\n"}, [("tree", "service", 5000)]),
    (
        "processes",
        {"Procfile": "web: uvicorn a:b --port 8123\nclock: python clock.py\nrelease: python migrate.py\n"},
        [("tree-web", "service", 8123), ("tree-clock", "worker", 0), ("tree-release", "job", 0)],
    ),
    ("console", {"package.json": '{"name": "tool", "bin": "./x.js"}'}, [("tool", "job", 0)]),
]


@pytest.mark.parametrize(("case", "files", "expected"), CASES, ids=[case[0] for case in CASES])
def test_workloads_follow_what_the_tree_tells(
    tmp_path: Path, case: str, files: dict[str, str], expected: list[tuple[str, str, int]]
) -> None:
    root = tree(tmp_path / "tree", files)
    output = run_skill("describing-deployment", tmp_path / "d", {"path": str(root)})
    assert [(entry["name"], entry["kind"], entry["port"]) for entry in output["workloads"]] == expected
    document = yaml.safe_load((tmp_path / "d" / "deployment_manifest.yaml").read_text())
    assert check(document, schema_of("deployment_manifest.yaml")) == []
    kinds = {entry["kind"] for entry in document["items"]}
    assert kinds == {
        {"service": "Deployment", "worker": "Deployment", "job": "Job"}[kind] for _, kind, _ in expected
    } | ({"Service", "PodDisruptionBudget"} if any(kind == "service" for _, kind, _ in expected) else set()) | (
        {"NetworkPolicy"} if any(kind != "job" for _, kind, _ in expected) else set()
    )
    watched = run_skill("configuring-monitoring", tmp_path / "m", {"path": str(root)})
    assert watched["services"] == [name for name, _, _ in expected]
    monitoring = yaml.safe_load((tmp_path / "m" / "monitoring_config.yaml").read_text())
    assert check(monitoring, schema_of("monitoring_config.yaml")) == []
    assert ("statement" in monitoring) == (not expected)


def test_dependency_risk(tmp_path: Path) -> None:
    package = {
        "name": "p",
        "scripts": {"postinstall": "node x"},
        "dependencies": {
            "any": "*",
            "ranged": "^1.0.0",
            "exact": "1.0.0",
            "pre": "2.0.0-beta.1",
            "repo": "github:a/b",
            "plain": "http://example.com/p.tgz",
            "local": "file:../l",
        },
        "devDependencies": {"devany": "latest"},
    }
    root = tree(tmp_path / "tree", {"package.json": json.dumps(package)})
    output = run_skill("assessing-dependencies", tmp_path / "out", {"path": str(root)})
    assert output["counts"] == {
        "install_script": 1,
        "no_lock_file": 1,
        "outside_registry": 2,
        "plain_http": 1,
        "prerelease": 1,
        "unpinned": 1,
        "wildcard": 2,
    }
    assert (output["score"], output["level"]) == (10 + 60 + 2 * 40 + 80 + 8 + 6 + 25 + 25 // 4, "elevated")
    told = {(entry["id"], entry["severity"]) for entry in output["findings"]}
    assert {("outside-registry", "high"), ("plain-http", "high"), ("wildcard", "medium"), ("wildcard", "low")} <= told
    assert not any(entry["blocks"] for entry in output["findings"])
    assert any("vulnerabilities" in line for line in output["notCovered"])


def test_skills_say_what_they_need(tmp_path: Path) -> None:
    with pytest.raises(SkillError, match=r"hand in context\.json"):
        run_skill("generating-sbom", tmp_path, {})
    (tmp_path / "context.json").write_text('{"format": 1}')
    with pytest.raises(SkillError, match="not what mapping-context writes"):
        run_skill("generating-sbom", tmp_path, {}, {"context.json": tmp_path / "context.json"})
    for skill in ("mapping-context", "scanning-secrets"):
        with pytest.raises(SkillError, match="cannot be listed"):
            run_skill(skill, tmp_path, {"path": str(tmp_path / "nowhere")})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> PlaybookRun:
    return PlaybookRun(goal_for(SAMPLE), tmp_path_factory.mktemp("sample"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("runbook.md", None, "runbook.md is missing"),
        ("runbook.md", "", "runbook.md is empty"),
        ("runbook.md", "no title", "does not begin with a title"),
        ("flow_matrix.json", "{", "flow_matrix.json cannot be read"),
        ("flow_matrix.json", '{"spec_version": "3.1"}', "flow_matrix.json: $"),
        ("model_card.yaml", "a: [", "model_card.yaml cannot be read"),
        ("deployment_manifest.yaml", "kind: Pod", "deployment_manifest.yaml: $"),
        ("sbom.cdx.json", '{"bomFormat": "SPDX"}', "sbom.cdx.json: $"),
    ],
)
def test_a_deliverable_that_is_not_whole_is_refused(
    run: PlaybookRun, tmp_path: Path, name: str, text: str | None, says: str
) -> None:
    files = {
        key: path for key, path in run.files.items() if key not in ("manifest.json", "provenance.intoto.jsonl", name)
    }
    if text is not None:
        (tmp_path / name).write_text(text)
        files[name] = tmp_path / name
    with pytest.raises(SkillError) as caught:
        run_skill(
            "assembling-deliverable", tmp_path / "out", {"goal": run.goal, "gates": [], "attestations": []}, files
        )
    assert says in str(caught.value)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_text_left_to_be_filled_in_is_named_and_not_releasable(run: PlaybookRun, tmp_path: Path) -> None:
    path = tmp_path / "runbook.md"
    path.write_text(run.files["runbook.md"].read_text() + "\nTODO: say more\n")
    files = {key: value for key, value in run.files.items() if key != "manifest.json"} | {"runbook.md": path}
    output = run_skill(
        "assembling-deliverable", tmp_path / "out", {"goal": run.goal, "gates": [], "attestations": []}, files
    )
    assert output["releasable"] is False
    assert [(entry["id"], entry["file"], entry["blocks"]) for entry in output["findings"]] == [
        ("placeholder", "runbook.md", True)
    ]
