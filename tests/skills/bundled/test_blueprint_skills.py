"""The skills of blueprints, each by itself: what they take, what they hand on, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from interlock.agents.goal.plan import plan_problems
from interlock.agents.planning.playbooks import load_playbook
from interlock.skills.infrastructure.blueprint.model import Helm, HelmValue
from interlock.skills.infrastructure.blueprint.writing import yaml_text
from interlock.skills.infrastructure.decision.history import History
from interlock.skills.infrastructure.governing import action_digest
from interlock.skills.infrastructure.handing_on import BLUEPRINT, DECISION, Decided
from interlock.skills.infrastructure.observed import ObservedState, PodState
from interlock.skills.infrastructure.operations import Scale
from interlock.skills.infrastructure.telling import summary
from interlock.skills.manifest import load_skill
from interlock.skills.sdk import SkillError
from tests.skills.bundled.playbook_run import BUNDLED, CONFIG, run_skill
from tests.skills.infrastructure.blueprint.test_model import FRONTEND

NOW_MS = 1_770_735_600_000
SKILLS = {path.parent.name for path in BUNDLED.glob("*/SKILL.md")}
TARGET = replace(FRONTEND.unread_target, uid="u-1", resource_version="41")


def blueprint(**tiers: Any) -> str:
    return yaml_text(replace(FRONTEND, governance=replace(FRONTEND.governance, approvers=("ada",), **tiers)))


def busy(percent: int = 95) -> ObservedState:
    pods = tuple(
        PodState(
            name=f"p{number}",
            uid=f"p{number}",
            ready=True,
            ready_changed_ms=NOW_MS - 3_600_000,
            started_ms=NOW_MS - 3_700_000,
            cpu_m=50 * percent // 100,
            memory_bytes=64 << 20,
            usage_at_ms=NOW_MS,
            usage_window_ms=15_000,
        )
        for number in range(2)
    )
    return ObservedState(
        target=TARGET,
        at_ms=NOW_MS,
        replicas=2,
        ready_replicas=2,
        pods=pods,
        container="frontend",
        resources=FRONTEND.resources.of_container(),
        pod_cpu_request_m=50,
        pod_memory_request_bytes=128 << 20,
    )


class Steps:
    """Parse, decide, govern: as the playbook has them."""

    def __init__(self, place: Path, text: str, state: ObservedState, policies: str = "") -> None:
        self.place = place
        self.parsed = run_skill("blueprint-parser", place / "1", {"source": "b", "text": text, "policies": policies})
        self.files = {path.name: path for path in (place / "1").iterdir()}
        if not self.files:
            return
        look = {"state": msgspec.to_builtins(state), "history": msgspec.to_builtins(History()), "nowMs": NOW_MS}
        self.decided = run_skill("decision-engine", place / "2", look, self.files)
        self.files |= {path.name: path for path in (place / "2").iterdir()}
        self.governed = run_skill("governance-enforcer", place / "3", {}, self.files)

    def execute(self, skill: str = "execution-engine", **more: Any) -> dict[str, Any]:
        asked = {
            "cluster": str(self.place),
            "summary": self.governed["summary"],
            "actionDigest": self.governed["actionDigest"],
            "dryRun": False,
        }
        return run_skill(skill, self.place / "4", asked | more, self.files)


@pytest.mark.parametrize("name", ["blueprint-action", "blueprint-approved-action", "blueprint-verification"])
def test_the_playbooks_are_plans_that_can_run(name: str) -> None:
    playbook = load_playbook(CONFIG / "playbooks" / f"{name}.yaml")
    assert plan_problems(playbook.tasks, playbook.release, lambda skill: skill in SKILLS) == []


def test_only_what_needs_it_has_network_and_approval() -> None:
    mine = [
        load_skill(BUNDLED / name).manifest for name in SKILLS if name.endswith(("-engine", "-parser", "-enforcer"))
    ]
    assert {entry.name for entry in mine if entry.network} == {"execution-engine", "approved-execution-engine"}
    assert {entry.name for entry in mine if entry.effects == "external"} == {
        entry.name for entry in mine if entry.network
    }
    assert [entry.name for entry in mine if entry.approval == "required"] == ["approved-execution-engine"]


def test_a_broken_blueprint_blocks_with_everything_that_is_wrong(tmp_path: Path) -> None:
    text = blueprint().replace("50m", "50 m").replace("min_replicas: 1", "min_replicas: 9")
    steps = Steps(tmp_path, text, busy())
    assert steps.files == {}
    assert [finding["blocks"] for finding in steps.parsed["findings"]] == [True, True]
    assert "write `50m`" in steps.parsed["findings"][0]["message"]


def test_broken_policies_block_too(tmp_path: Path) -> None:
    assert Steps(tmp_path, blueprint(), busy(), "kind: GovernancePolicies\n").files == {}


def test_an_allowed_step(tmp_path: Path) -> None:
    steps = Steps(tmp_path, blueprint(allowed_operations=("scale_within_limits",)), busy())
    decision = msgspec.json.decode(steps.files[DECISION].read_bytes(), type=Decided).decision
    assert isinstance(decision.operation, Scale)
    assert steps.decided["id"] == decision.id
    assert {key: steps.governed[key] for key in ("operation", "verdict", "summary", "actionDigest")} == {
        "operation": "scale_within_limits",
        "verdict": "allow",
        "summary": summary(decision.operation),
        "actionDigest": action_digest(decision.operation),
    }


def test_what_a_chart_owns_is_changed_through_its_release(tmp_path: Path) -> None:
    helm = Helm(release="todo", chart="charts/todo", values=(HelmValue(field="replicas", path="web.replicaCount"),))
    governance = replace(FRONTEND.governance, allowed_operations=("scale_within_limits",))
    steps = Steps(tmp_path, yaml_text(replace(FRONTEND, helm=helm, governance=governance)), busy())
    assert (steps.governed["operation"], steps.governed["verdict"]) == ("scale_within_limits", "allow")
    assert steps.governed["summary"].startswith(
        "through release todo: scale Deployment default/todo-frontend from 2 to 3"
    )
    decision = msgspec.json.decode(steps.files[DECISION].read_bytes(), type=Decided).decision
    assert decision.operation is not None
    assert steps.governed["actionDigest"] != action_digest(decision.operation)


def test_nothing_to_do_is_no_operation(tmp_path: Path) -> None:
    steps = Steps(tmp_path, blueprint(allowed_operations=("scale_within_limits",)), busy(60))
    assert (steps.decided["kind"], steps.governed["verdict"]) == ("hold", "not_needed")
    answer = steps.execute()
    assert (answer["status"], answer["detail"]) == ("refused", "nothing was decided to be done")


def test_what_is_forbidden_is_a_blocking_finding_and_not_done(tmp_path: Path) -> None:
    steps = Steps(tmp_path, blueprint(), busy())
    assert steps.governed["verdict"] == "deny"
    assert [finding["blocks"] for finding in steps.governed["findings"]] == [True]
    for skill in ("execution-engine", "approved-execution-engine"):
        assert steps.execute(skill)["status"] == "refused"


def test_policies_of_the_directory_forbid_too(tmp_path: Path) -> None:
    policies = (
        "apiVersion: infra.spec-driven.io/v1\nkind: GovernancePolicies\nmetadata: {name: a, version: 1.0.0}\n"
        "spec: {agent_authority: {forbidden_operations: [scale_within_limits]}}\n"
    )
    steps = Steps(tmp_path, blueprint(allowed_operations=("scale_within_limits",)), busy(), policies)
    assert steps.governed["rule"] == "policies.spec.agent_authority.forbidden_operations"
    assert steps.execute()["status"] == "refused"


def test_what_needs_an_approval_is_not_done_by_the_skill_without_one(tmp_path: Path) -> None:
    steps = Steps(tmp_path, blueprint(requires_approval=("scale_within_limits",)), busy())
    assert steps.governed["verdict"] == "needs_approval"
    answer = steps.execute()
    assert answer["status"] == "refused"
    assert "approved by ada" in answer["detail"]


@pytest.mark.parametrize("change", [{"summary": "scale to 3"}, {"actionDigest": "0" * 64}])
def test_what_was_not_governed_is_not_done(tmp_path: Path, change: dict[str, str]) -> None:
    steps = Steps(tmp_path, blueprint(allowed_operations=("scale_within_limits",)), busy())
    with pytest.raises(SkillError, match="not what was decided"):
        steps.execute(**change)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / BLUEPRINT).write_bytes(b'{"blueprint": {"name": "x"}}')
    with pytest.raises(SkillError, match=r"blueprint\.json"):
        run_skill("governance-enforcer", tmp_path / "out", {}, {BLUEPRINT: tmp_path / BLUEPRINT})
    with pytest.raises(SkillError, match="was not handed in"):
        run_skill("governance-enforcer", tmp_path / "out", {}, {})


def test_what_was_met_is_not_taken_back(tmp_path: Path) -> None:
    steps = Steps(tmp_path, blueprint(), busy())
    asked = {"cluster": str(tmp_path), "met": True, "undo": {}}
    assert run_skill("execution-engine", tmp_path / "5", asked, steps.files)["status"] == "not_needed"


def test_the_way_back_is_governed_too(tmp_path: Path) -> None:
    stays = replace(FRONTEND, reliability=replace(FRONTEND.reliability, rollback_on_failure=False))
    steps = Steps(tmp_path, yaml_text(stays), busy())
    asked = {"cluster": str(tmp_path), "met": False, "undo": {}}
    assert run_skill("execution-engine", tmp_path / "5", asked, steps.files)["status"] == "refused"
