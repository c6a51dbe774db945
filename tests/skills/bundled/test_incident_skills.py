"""The skills of incident playbooks, each alone, and the playbooks as plans."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from interlock.agents.deviations.fold import KINDS
from interlock.agents.goal.plan import plan_problems
from interlock.agents.planning.playbooks import load_playbook
from interlock.bus.yaml12 import load_yaml
from interlock.skills.sdk import SkillError
from tests.skills.bundled.playbook_run import BUNDLED, CONFIG, run_skill

SKILLS = {path.parent.name for path in BUNDLED.glob("*/SKILL.md")}
INCIDENTS = ("incident-budget-breach", "incident-signature-failure", "incident-injection")


def incident(**more: Any) -> dict[str, Any]:
    return {
        "id": "d-1",
        "kind": "cost_breach",
        "about": "goal:g",
        "halts": "goal:g",
        "detail": "goal.g used *more* than its limit",
        "haltsInForce": ["goal:g"],
        "checkpoint": "interlock/default\n7\n",
        "budget": {
            "limit": {"usdMicro": 100, "tokens": 0, "wallMs": 50, "actions": 9},
            "held": {"usdMicro": 100, "tokens": 4, "wallMs": 49, "actions": 9},
        },
        "hops": [
            {"sequence": 4, "from": "executor", "digest": "d", "verdict": "ok"},
            {"sequence": 9, "from": "executor", "digest": "d", "verdict": "bad_signature"},
            {"sequence": 6, "from": "unknown", "digest": "d", "verdict": "unknown_key"},
        ],
    } | more


@pytest.mark.parametrize("name", INCIDENTS)
def test_every_incident_playbook_is_a_plan_of_the_five_steps(name: str) -> None:
    playbook = load_playbook(CONFIG / "playbooks" / f"{name}.yaml")
    assert plan_problems(playbook.tasks, playbook.release, lambda skill: skill in SKILLS) == []
    assert [task.id for task in playbook.tasks] == ["detect", "respond", "investigate", "remediate", "communicate"]


def test_a_snapshot_holds_the_incident_and_its_own_digest(tmp_path: Path) -> None:
    output = run_skill("snapshotting-audit", tmp_path, {"incident": incident()})
    data = (tmp_path / "audit_snapshot.json").read_bytes()
    assert output["sha256"] == hashlib.sha256(data).hexdigest()
    assert json.loads(data)["incident"] == incident()
    assert (output["hops"], output["checkpoint"], output["findings"]) == (3, True, [])
    again = run_skill("snapshotting-audit", tmp_path / "again", {"incident": incident()})
    assert again == output, "a replay writes the same bytes"


def test_a_snapshot_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    output = run_skill("snapshotting-audit", tmp_path, {"incident": incident(checkpoint="")})
    assert [entry["id"] for entry in output["findings"]] == ["no-checkpoint"]


@pytest.mark.parametrize(
    ("more", "contained"),
    [({}, True), ({"haltsInForce": ["goal:h"]}, False), ({"halts": "", "haltsInForce": []}, True)],
)
def test_containment_is_the_halt_in_force(tmp_path: Path, more: dict[str, Any], contained: bool) -> None:
    output = run_skill("confirming-containment", tmp_path, {"incident": incident(**more)})
    assert output["contained"] is contained
    assert len(output["findings"]) == (not contained)


def test_an_investigation_counts_what_does_not_verify_and_what_ran_out(tmp_path: Path) -> None:
    run_skill("snapshotting-audit", tmp_path, {"incident": incident()})
    files = {"audit_snapshot.json": tmp_path / "audit_snapshot.json"}
    bare = {"kind": "cost_breach", "about": "goal:g"}
    output = run_skill("investigating-incident", tmp_path / "i", {"incident": bare}, files)
    assert output["agents"] == {"executor": 2, "unknown": 1}
    assert output["refused"] == {"bad_signature": 1, "unknown_key": 1}
    assert (output["firstRefused"], output["overspent"]) == (6, ["usdMicro", "actions"])
    assert run_skill("investigating-incident", tmp_path / "j", {"incident": incident()}) == output


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"incident": 5}'])
def test_what_is_no_snapshot_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "audit_snapshot.json"
    path.write_bytes(data)
    with pytest.raises(SkillError, match="no snapshot"):
        run_skill("investigating-incident", tmp_path / "i", {"incident": incident()}, {path.name: path})


def test_every_kind_of_deviation_has_a_remedy_and_no_other_has(tmp_path: Path) -> None:
    known = load_yaml((CONFIG / "incidents.yaml").read_bytes(), source="incidents.yaml").value["kinds"]
    assert set(known) == {*KINDS, "injection"}
    for kind in known:
        output = run_skill("proposing-remediation", tmp_path / kind, {"incident": incident(kind=kind)})
        assert output["steps"] and output["tell"]
    with pytest.raises(SkillError, match="knows no kind"):
        run_skill("proposing-remediation", tmp_path / "x", {"incident": incident(kind="weather")})


def test_what_is_not_contained_comes_first(tmp_path: Path) -> None:
    output = run_skill("proposing-remediation", tmp_path, {"incident": incident(), "contained": False})
    assert output["steps"][0] == "Halt goal:g: it is not halted."


def test_the_report_tells_all_five_and_foreign_text_stays_inert(tmp_path: Path) -> None:
    given = {"incident": incident(detail="<script>|`x` # h")}
    contained = run_skill("confirming-containment", tmp_path / "c", given)
    report = {
        **given,
        "snapshot": run_skill("snapshotting-audit", tmp_path / "s", given),
        "containment": contained,
        "investigation": run_skill("investigating-incident", tmp_path / "i", given),
        "remediation": run_skill("proposing-remediation", tmp_path / "r", given),
    }
    output = run_skill("drafting-incident-report", tmp_path / "out", report)
    assert output["sections"] == ["Detect", "Respond", "Investigate", "Remediate", "Communicate"]
    text = (tmp_path / "out" / "incident_report.md").read_text()
    assert "<script>" not in text and "\\<script" in text
    assert "Hops that do not verify: 2, the first at 6" in text
    assert report["snapshot"]["sha256"] in text
