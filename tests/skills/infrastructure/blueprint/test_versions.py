from __future__ import annotations

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from interlock.skills.infrastructure.blueprint.diff import same_but_version, semantic_diff
from interlock.skills.infrastructure.blueprint.directory import blueprint_files, clashes, read_service
from interlock.skills.infrastructure.blueprint.model import Blueprint, WeightedMetric
from interlock.skills.infrastructure.blueprint.reading import read_blueprint
from interlock.skills.infrastructure.blueprint.versions import history, precedence
from interlock.skills.infrastructure.blueprint.writing import yaml_text
from tests.skills.infrastructure.blueprint.test_model import FRONTEND

EXAMPLES = Path(__file__).parents[4] / "examples/03-blueprint/blueprints"


def at(version: str, **scaling: int) -> Blueprint:
    return replace(FRONTEND, version=version, scaling=replace(FRONTEND.scaling, **scaling))


def told(old: Blueprint, new: Blueprint) -> list[str]:
    return [change.told() for change in semantic_diff(old, new)]


def test_a_diff_is_in_the_units_of_its_authors() -> None:
    new = replace(at("1.1.0", max_replicas=8), resources=replace(FRONTEND.resources, ephemeral_storage_bytes=1 << 30))
    assert told(FRONTEND, new) == [
        "~ metadata.version: 1.0.0 → 1.1.0",
        "+ spec.resources.disk.ephemeral_storage: 1Gi",
        "~ spec.scaling.max_replicas: 5 → 8",
    ]
    assert told(new, FRONTEND)[1] == "- spec.resources.disk.ephemeral_storage: 1Gi"


def test_the_order_of_names_and_metrics_is_no_difference() -> None:
    halves = (WeightedMetric(type="cpu", weight_ppm=500_000), WeightedMetric(type="memory", weight_ppm=500_000))
    names = ("roll_back", "restart_pods")
    one = replace(
        FRONTEND,
        scaling=replace(FRONTEND.scaling, metrics=halves),
        governance=replace(FRONTEND.governance, allowed_operations=names),
    )
    other = replace(
        FRONTEND,
        scaling=replace(FRONTEND.scaling, metrics=halves[::-1]),
        governance=replace(FRONTEND.governance, allowed_operations=names[::-1]),
    )
    assert told(one, other) == []
    assert told(FRONTEND, other) == [
        "~ spec.scaling.metrics[cpu]: 1 → 0.5",
        "+ spec.scaling.metrics[memory]: 0.5",
        "+ spec.governance.agent_authority.allowed_operations[restart_pods]",
        "+ spec.governance.agent_authority.allowed_operations[roll_back]",
    ]


def test_one_cooldown_and_two_are_the_same_if_they_say_the_same() -> None:
    text = yaml_text(FRONTEND)
    two = text.replace("cooldown_period: 1m", "scale_up_cooldown: 60s\n    scale_down_cooldown: 60s")
    assert two != text
    assert read_blueprint(two, source="two").blueprint == FRONTEND


# semver.org 2.0.0, section 11.
ORDER = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
ORDER += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]


def test_versions_are_ordered_as_semver_says() -> None:
    shuffled = random.Random(7).sample(ORDER, len(ORDER))
    assert sorted(shuffled, key=precedence) == ORDER


def test_a_history_that_is_right() -> None:
    past = [("h/v1.1.0.yaml", at("1.1.0", max_replicas=6)), ("h/v1.0.0.yaml", at("1.0.0"))]
    found = history(past, ("blueprint.yaml", at("1.2.0", max_replicas=9)))
    assert found.problems == ()
    assert [entry.blueprint.version for entry in found.versions] == ["1.0.0", "1.1.0", "1.2.0"]
    assert [len(entry.changes) for entry in found.versions] == [0, 2, 2]
    recorded = history(past, ("blueprint.yaml", at("1.1.0", max_replicas=6)))
    assert ([entry.blueprint.version for entry in recorded.versions], recorded.problems) == (["1.0.0", "1.1.0"], ())


@pytest.mark.parametrize(
    ("past", "current", "problem"),
    [
        ([("v1.0.0.yaml", at("1.0.0"))], at("1.0.0", max_replicas=9), "raise version"),
        ([("v1.0.0.yaml", at("1.0.0"))], at("0.9.0"), "older than 1.0.0"),
        ([("v1.0.0.yaml", at("1.0.0"))], at("1.0.0-rc.1"), "older than 1.0.0"),
        ([("v1.0.yaml", at("1.0.0"))], at("1.1.0"), "expected the file name v1.0.0.yaml"),
        ([("a/v1.0.0.yaml", at("1.0.0")), ("b/v1.0.0.yaml", at("1.0.0"))], at("1.1.0"), "is there twice"),
        ([("v1.0.0.yaml", replace(at("1.0.0"), name="other"))], at("1.1.0"), "is about other"),
    ],
)
def test_a_history_that_is_wrong(past: list[tuple[str, Blueprint]], current: Blueprint, problem: str) -> None:
    (found,) = history(past, ("blueprint.yaml", current)).problems
    assert problem in found


def test_what_asks_for_the_same_may_keep_its_version() -> None:
    assert same_but_version(at("1.0.0"), at("1.0.1"))
    assert not same_but_version(at("1.0.0"), at("1.0.0", min_replicas=2))


def test_services_on_disk() -> None:
    files = blueprint_files(EXAMPLES)
    assert [file.parent.name for file in files] == ["backend", "frontend"]
    services = [read_service(file, Path.read_bytes) for file in files]
    assert [(service.problems, clashes(services)) for service in services] == [((), []), ((), [])]
    assert all(service.policies is not None and service.history is not None for service in services)
    assert blueprint_files(EXAMPLES / "backend") == [EXAMPLES / "backend/blueprint.yaml"]


def test_everything_wrong_in_a_directory_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "history").mkdir(parents=True)
        (tmp_path / name / "blueprint.yaml").write_text(yaml_text(FRONTEND))
    (tmp_path / "b/history/v0.1.0.yaml").write_text(yaml_text(at("0.1.0")).replace("50m", "50 m"))
    (tmp_path / "governance").mkdir()
    policies = (
        "apiVersion: infra.spec-driven.io/v1\nkind: GovernancePolicies\nmetadata: {name: a, version: 1.0.0}\nspec:\n"
    )
    (tmp_path / "governance/policies.yaml").write_text(
        policies + "  agent_authority: {requires_approval: [fly, roll_back], forbidden_operations: [roll_back]}\n"
    )
    services = [read_service(file, Path.read_bytes) for file in blueprint_files(tmp_path)]
    assert [len(service.problems) for service in services] == [1, 2]
    assert "found the text `fly`" in services[0].problems[0]
    assert "write `50m`" in services[1].problems[1]
    assert services[0].policies is None
    assert [line.partition(": ")[2].partition(",")[0] for line in clashes(services)] == [
        "is called todo-frontend",
        "is about Deployment default/todo-frontend",
    ]


def test_policies_name_an_operation_in_one_tier(tmp_path: Path) -> None:
    from interlock.skills.infrastructure.blueprint.policies import read_policies

    text = (EXAMPLES / "governance/policies.yaml").read_text().replace("- delete_resources", "- modify_secrets")
    (problem,) = read_policies(text, source="p").told()
    assert problem.startswith(
        "p:16:9: spec.agent_authority.forbidden_operations[3]: expected each operation in one tier"
    )
    assert read_policies("\t", source="p").policies is None
