"""The playbook from end to end: the sample is released, what must not be is blocked, and every document is sound by the
judgement of the kept libraries, not of our own writers.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from interlock.bus.yaml12 import load_yaml
from tests.skills.bundled.playbook_run import BUNDLED, ROOT, PlaybookRun, goal_for

SAMPLE = ROOT / "examples" / "01-release-readiness" / "sample"
SCHEMAS = BUNDLED / "assembling-deliverable" / "schemas"
DOCUMENTS = {
    "context_map.md",
    "flow_matrix.json",
    "scoped_prompt.md",
    "validation_rules.yaml",
    "model_card.yaml",
    "risk_assessment.json",
    "audit_report.md",
    "compliance_log.json",
    "sbom.spdx.json",
    "sbom.cdx.json",
    "deployment_manifest.yaml",
    "monitoring_config.yaml",
    "runbook.md",
    "cost_analysis.json",
    "knowledge_pack.md",
    "provenance.intoto.jsonl",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> PlaybookRun:
    return PlaybookRun(goal_for(SAMPLE), tmp_path_factory.mktemp("sample"))


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name.rpartition('.')[0]}.schema.json").read_text())
    return schema


def values_of(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)]


def check_documents(run: PlaybookRun) -> None:
    """Every JSON and YAML document against its schema, the bills of materials by their own libraries, all of it UTF-8."""
    for name in DOCUMENTS:
        path = run.files[name]
        if name.endswith(".md"):
            assert path.read_text(encoding="utf-8").startswith("# ")
            continue
        schema = schema_of(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        for value in values_of(path):
            errors = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]
            assert errors == [], name
        if name.endswith(".yaml"):
            assert load_yaml(path.read_bytes(), source=name).value == values_of(path)[0]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(run.files["sbom.cdx.json"].read_text()) is None
    document = parse_file(str(run.files["sbom.spdx.json"]))
    assert validate_full_spdx_document(document) == []


def test_the_sample_passes_every_check(sample: PlaybookRun) -> None:
    assert sample.outputs["deliverable"]["releasable"] is True
    assert [name for name, output in sample.outputs.items() if output["findingCounts"]["blocking"]] == []
    check_documents(sample)


def test_the_manifest_names_exactly_the_sixteen_documents_by_digest(sample: PlaybookRun) -> None:
    raw = sample.files["manifest.json"].read_bytes()
    manifest = json.loads(raw)
    import rfc8785

    assert rfc8785.dumps(manifest) == raw
    assert {entry["name"] for entry in manifest["files"]} == DOCUMENTS
    assert len(manifest["files"]) == 16
    for entry in manifest["files"]:
        data = sample.files[entry["name"]].read_bytes()
        assert (entry["sha256"], entry["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert list(jsonschema.Draft202012Validator(schema_of("manifest.json")).iter_errors(manifest)) == []


def test_both_bills_of_materials_hold_the_same_components(sample: PlaybookRun) -> None:
    cyclonedx = json.loads(sample.files["sbom.cdx.json"].read_text())
    spdx = json.loads(sample.files["sbom.spdx.json"].read_text())
    first = {component["purl"] for component in cyclonedx["components"]}
    second = {
        package["externalRefs"][0]["referenceLocator"] for package in spdx["packages"] if "externalRefs" in package
    }
    assert first == second
    assert len(first) == sample.outputs["sbom"]["components"] == 33
    assert "pkg:npm/%40types/trusted-types@2.0.7" in first
    root = next(entry for entry in cyclonedx["dependencies"] if entry["ref"] == "root")
    assert "pypi:anthropic@2.11.0" in root["dependsOn"]
    assert "pypi:anyio@4.16.0" not in root["dependsOn"]


def test_the_documents_speak_of_what_the_sample_holds(sample: PlaybookRun) -> None:
    card = values_of(sample.files["model_card.yaml"])[0]
    assert card["models"] == [
        {
            "name": "claude-3-5-haiku-20241022",
            "provider": "Anthropic",
            "seen_in": "src/ticket_triage/answers.py:5",
            "files": 1,
        }
    ]
    objects = values_of(sample.files["deployment_manifest.yaml"])[0]["items"]
    assert [entry["kind"] for entry in objects] == ["Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"]
    assert objects[1]["spec"]["ports"][0]["port"] == 8080
    alerts = values_of(sample.files["monitoring_config.yaml"])[0]["prometheus"]["groups"][0]["rules"]
    runbook = sample.files["runbook.md"].read_text()
    for rule in alerts:
        assert f"### {rule['alert']}\n" in runbook
    assert "Mei Tanaka" in runbook
    assert values_of(sample.files["risk_assessment.json"])[0]["tier"] == "limited"
    assert "`npm test`" in sample.files["scoped_prompt.md"].read_text()


def test_the_rules_judge_an_agents_work(sample: PlaybookRun) -> None:
    rules = values_of(sample.files["validation_rules.yaml"])[0]
    output = jsonschema.Draft202012Validator(rules["output"])
    answer = {"summary": "a change of some kind", "files": [], "confidence_per_mille": 900, "assumptions": []}
    for path, fits in [
        ("src/a.py", True),
        ("src/../.github/x", False),
        ("pyproject.toml", False),
        ("/etc/passwd", False),
    ]:
        assert output.is_valid(answer | {"files": [{"path": path, "content": ""}]}) is fits, path


def test_no_place_of_this_machine_and_no_intermediate_file_is_told(sample: PlaybookRun) -> None:
    for name in DOCUMENTS:
        text = sample.files[name].read_text(encoding="utf-8")
        assert str(ROOT) not in text, name
        assert "context.json" not in text, name


def without(value: Any, path: str) -> Any:
    """The value without what a path such as `$.a[*].b` names."""
    result = copy.deepcopy(value)
    nodes = [result]
    parts = re.findall(r"\.[A-Za-z0-9_]+|\[\*\]", path)
    for part in parts[:-1]:
        below = [
            item for node in nodes for item in (node if part == "[*]" else [node[part[1:]]] if part[1:] in node else [])
        ]
        nodes = below
    for node in nodes:
        node.pop(parts[-1][1:], None)
    return result


def test_the_same_tree_gives_the_same_bytes_but_for_the_named_fields(sample: PlaybookRun, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "sample"
    shutil.copytree(SAMPLE, elsewhere)
    other = PlaybookRun(goal_for(elsewhere), tmp_path / "run", now="2031-01-02T03:04:05.678Z", cost=977)
    differing = set()
    for name in DOCUMENTS - {"audit_report.md", "knowledge_pack.md"}:
        first, second = sample.files[name], other.files[name]
        if first.read_bytes() == second.read_bytes():
            continue
        differing.add(name)
        assert not name.endswith(".md"), name
        for left, right in zip(values_of(first), values_of(second), strict=True):
            for path in schema_of(name)["x-volatile"]:
                left, right = without(left, path), without(right, path)
            assert left == right, name
    # Only documents with a time or a cost may differ at all.
    assert differing <= {
        "sbom.cdx.json",
        "sbom.spdx.json",
        "risk_assessment.json",
        "flow_matrix.json",
        "cost_analysis.json",
        "compliance_log.json",
        "provenance.intoto.jsonl",
    }
    assert "sbom.cdx.json" in differing


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


AGPL = {
    "package.json": '{"name": "p", "version": "1.0.0", "license": "MIT", "dependencies": {"bad": "1.0.0"}}',
    "package-lock.json": json.dumps(
        {"lockfileVersion": 3, "packages": {"node_modules/bad": {"version": "1.0.0", "license": "AGPL-3.0"}}}
    ),
}
BLOCKED = [
    (
        "secret",
        {"a.py": 'KEY = "' + "ghp_" + "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9St0Uv1Wx2" + '"\n'},
        "secrets",
        "secret-github-token",
    ),
    ("licence of a dependency", AGPL, "licences", "licence-forbidden"),
    ("own licence", {"package.json": '{"name": "p", "license": "SSPL-1.0"}'}, "licences", "licence-forbidden-own"),
    ("vendored text", {"vendor/x/LICENSE": "Business Source License 1.1"}, "licences", "licence-forbidden-text"),
]


@pytest.mark.parametrize(("case", "files", "task", "finding"), BLOCKED, ids=[case[0] for case in BLOCKED])
def test_what_must_not_be_released_is_blocked_and_the_bundle_says_so(
    tmp_path: Path, case: str, files: dict[str, str], task: str, finding: str
) -> None:
    run = PlaybookRun(goal_for(tree(tmp_path / "tree", files)), tmp_path)
    blocking = [entry["id"] for entry in run.outputs[task]["findings"] if entry["blocks"]]
    assert blocking == [finding]
    manifest = json.loads(run.files["manifest.json"].read_bytes())
    assert (manifest["releasable"], manifest["failedGates"]) == (False, ["G5"])
    assert "gate-failed" in [entry["id"] for entry in run.outputs["deliverable"]["findings"]]
    check_documents(run)


@pytest.mark.parametrize(
    ("answers", "tier", "blocking"),
    [
        (
            {"prohibited_practice": True},
            "systemic",
            {"prohibited-practice", "duty-transparency", "duty-human-oversight"},
        ),
        ({"employment_decisions": True}, "high", {"duty-transparency", "duty-human-oversight"}),
        ({"employment_decisions": True, "transparency": True, "human_oversight": True}, "high", set()),
        ({"interacts_with_people": True, "discloses_ai": False}, "limited", {"duty-disclosure"}),
        ({"uses_ai": False}, "minimal", set()),
        ({}, "minimal", set()),
    ],
)
def test_duties_under_the_ai_act(tmp_path: Path, answers: dict[str, bool], tier: str, blocking: set[str]) -> None:
    goal = goal_for(tree(tmp_path / "tree", {"a.py": "x = 1\n"})) | {"risk_hints": answers}
    run = PlaybookRun(goal, tmp_path)
    assert run.outputs["risk"]["tier"] == tier
    assert {entry["id"] for entry in run.outputs["risk"]["findings"] if entry["blocks"]} == blocking
    check_documents(run)


def test_sources_raise_the_tier_where_the_answers_are_silent(tmp_path: Path) -> None:
    goal = goal_for(tree(tmp_path / "tree", {"a.py": "import openai\n"})) | {"risk_hints": {"uses_ai": False}}
    run = PlaybookRun(goal, tmp_path)
    assert (run.outputs["risk"]["tier"], run.outputs["risk"]["fromAnswers"]) == ("limited", "minimal")
    assert {"risk-assumed", "ai-contradiction"} <= {entry["id"] for entry in run.outputs["risk"]["findings"]}
