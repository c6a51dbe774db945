"""Runs the release-readiness playbook in this process: its own YAML, the handlers as they stand, files by hand."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

import interlock.skills
from interlock.agents.audit.hop_graph import HopAudit
from interlock.agents.audit.report import audit_report, compliance_log, judge_goal
from interlock.agents.goal.references import dig, resolve
from interlock.agents.learning.knowledge import knowledge_pack, learn
from interlock.bus.yaml12 import load_yaml
from interlock.envelope.amounts import Budget
from interlock.envelope.payloads import AuditRequest, Finding, GateOutcome, KnowledgeRequest, TaskSummary
from interlock.skills.manifest import load_skill
from interlock.skills.schemas import check, find_float
from interlock.skills.sdk import Task

BUNDLED = Path(interlock.skills.__path__[0]) / "bundled"
ROOT = BUNDLED.parents[3]
CONFIG = ROOT / "config"
NOW = "2026-11-21T05:00:00.000Z"


@contextmanager
def handler_of(skill: str) -> Iterator[types.ModuleType]:
    """The handler as the sandbox loads it: executed as a module of its own, its folder first on the path."""
    path = BUNDLED / skill / "handler.py"
    module = types.ModuleType("handler")
    module.__file__ = str(path)
    before = sys.modules.get("handler")
    sys.modules["handler"] = module
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        yield module
    finally:
        sys.path.remove(str(path.parent))
        if before is None:
            del sys.modules["handler"]
        else:
            sys.modules["handler"] = before


def run_skill(
    skill: str, out: Path, input: dict[str, Any], files: dict[str, Path] | None = None, now: str = NOW
) -> dict[str, Any]:
    """Runs a handler and holds its input and output against its own manifest."""
    manifest = load_skill(BUNDLED / skill).manifest
    assert check(input, manifest.input) == []
    out.mkdir(parents=True, exist_ok=True)
    with handler_of(skill) as module:
        output: dict[str, Any] = module.run(
            Task(input=input, out=out, config=CONFIG, now=now, seed=7, files=files or {})
        )
    assert check(output, manifest.output) == []
    assert find_float(output) == ""
    return output


class PlaybookRun:
    """outputs: by task id. files: every document by name. inputs: what each task got: skill, input, files. Costs and times
    of tasks are those given.
    """

    def __init__(self, goal: dict[str, Any], place: Path, *, now: str = NOW, cost: int = 40) -> None:
        loaded = load_yaml((CONFIG / "playbooks" / "release-readiness.yaml").read_bytes(), source="playbook").value
        self.goal, self.now = goal, now
        self.outputs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Path] = {}
        self.inputs: dict[str, tuple[str, dict[str, Any], dict[str, Path]]] = {}
        self.gates: list[dict[str, Any]] = []
        self.plan = [
            {
                "id": spec["id"],
                "skill": spec["skill"],
                "after": list(dict.fromkeys([*spec.get("after", []), *spec.get("files", [])])),
                "status": "waiting",
                "attempt": 0,
                "costUsdMicro": 0,
                "wallMs": 0,
                "tokens": 0,
                "confidence": 0,
            }
            for spec in loaded["tasks"]
        ]
        self._produced: dict[str, dict[str, Path]] = {}
        for index, spec in enumerate(loaded["tasks"]):
            self._run(
                spec,
                place,
                {name: path for task in spec.get("files", []) for name, path in self._produced[task].items()},
            )
            self.plan[index] |= {
                "status": "done",
                "attempt": 1,
                "costUsdMicro": cost + index,
                "wallMs": 10 * cost + index,
                "confidence": 1000,
            }
        self._others(place)
        self._run(loaded["release"], place, self.files)

    def _run(self, spec: dict[str, Any], place: Path, files: dict[str, Path]) -> None:
        out = place / spec["id"]
        input = resolve(spec.get("input", {}), self._look_up)
        self.inputs[spec["id"]] = (spec["skill"], input, dict(files))
        self.outputs[spec["id"]] = run_skill(spec["skill"], out, input, files, self.now)
        self._produced[spec["id"]] = {path.name: path for path in sorted(out.iterdir())}
        self.files |= self._produced[spec["id"]]

    def _look_up(self, parts: list[str]) -> Any:
        values: dict[str, Any] = {
            "goal": self.goal,
            "inputs": self.goal["inputs"],
            "plan": [dict(entry) for entry in self.plan],
            "gates": self.gates,
            "attestations": [_attestation(task) for task in self.outputs],
            "tasks": {
                name: {"output": output, "findings": output["findings"]} for name, output in self.outputs.items()
            },
        }
        return dig(values, parts, ".".join(parts))

    def _others(self, place: Path) -> None:
        """What auditor and synthesizer write, by their own code, from what was found."""
        findings = msgspec.convert([entry for out in self.outputs.values() for entry in out["findings"]], list[Finding])
        blocking = sum(entry.blocks for entry in findings)
        gate = GateOutcome(
            gate="G5",
            name="Compliance",
            owner="Compliance Officer",
            passed=not blocking,
            criteria=["no finding blocks release"],
            evidence=[f"blocking_findings = {blocking}"],
            at=self.now,
        )
        self.gates = [msgspec.to_builtins(gate)]
        told: dict[str, Any] = {
            "goal": self.goal["goal"],
            "tasks": msgspec.convert(self.plan, list[TaskSummary]),
            "tasks_total": len(self.plan),
            "tasks_done": len(self.plan),
            "findings": findings,
            "gates": [gate],
            "cost_usd": "0.001",
            "budget": Budget(cost_usd="1", actions=100),
        }
        request = AuditRequest(risk="limited", carbon_grams="0", **told)
        audit = HopAudit(hops=[])
        judged = judge_goal(request, audit)
        asked = KnowledgeRequest(outcome="released", scores={"gates": 1000}, **told)
        texts = {
            "audit_report.md": audit_report(request, audit, judged, "goal", self.now),
            "compliance_log.json": json.dumps(compliance_log(request, audit, judged, "goal", self.now)),
            "knowledge_pack.md": knowledge_pack(asked, learn(asked), "goal", self.now),
        }
        folder = place / "others"
        folder.mkdir(parents=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
            self.files[name] = folder / name


def _attestation(task: str) -> dict[str, Any]:
    return {
        "statement": {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "output.json", "digest": {"sha256": "0" * 64}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"buildDefinition": {"externalParameters": {"taskId": task}}},
        },
        "keyId": "U" + "A" * 55,
        "signature": "A" * 86,
    }


def goal_for(path: Path) -> dict[str, Any]:
    """The example's goal for some directory."""
    goal: dict[str, Any] = load_yaml(
        (ROOT / "examples" / "01-release-readiness" / "goal.yaml").read_bytes(), source="goal.yaml"
    ).value
    return goal | {"inputs": {"path": str(path)}}
