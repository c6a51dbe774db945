"""From a run to a task result: outcome, price, carbon, attestation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from interlock.agents.execution.effects import Settled
from interlock.envelope.amounts import usd_text
from interlock.envelope.children import Draft
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Attestation, CostEstimate
from interlock.envelope.payloads import Finding, Task, TaskResult, Usage
from interlock.envelope.signing import attest, is_valid_attestation
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason

if TYPE_CHECKING:
    from interlock.skills.cost import Prices
    from interlock.skills.manifest import Skill
    from interlock.skills.runner import RunFile, RunResult

# What a second attempt may mend: the machine's fault, not the skill's or the input's.
RETRYABLE = frozenset({"host_lost", "stopped", "crashed"})
MAX_FINDINGS = 100


class Ran(Struct, frozen=True):
    """A run with what it produced, before artefacts are stored and the attestation is signed."""

    result: TaskResult
    files: list[RunFile]
    skill: Skill
    task: Task
    attestation: Attestation | None = None

    def statement(self, envelope_id: str, result: TaskResult) -> dict[str, Any]:
        """The in-toto Statement of the run."""
        from interlock.skills.attestation import run_statement

        return run_statement(
            skill=self.skill,
            invocation=envelope_id,
            task_id=self.task.task_id,
            input=self.task.input,
            inputs={file.name: file.digest for file in self.task.files},
            output=result.output,
            outputs={file.name: file.digest for file in result.files},
            started_at=self.task.now,
            resources=msgspec.to_builtins(result.usage),
            cost_usd=result.cost_usd,
            carbon_grams=result.carbon_grams,
        )


def result_of(task: Task, skill: Skill, answer: RunResult, prices: Prices) -> Ran:
    """Prices the run, takes the findings out of the output. A malformed finding makes the output invalid."""
    from interlock.skills.cost import cost_of_run

    usage = Usage(cpu_us=answer.usage.cpu_us, wall_ms=answer.usage.wall_ms, peak_rss_kb=answer.usage.peak_rss_kb)
    cost = cost_of_run(answer.usage, prices)
    result = TaskResult(
        task_id=task.task_id,
        attempt=task.attempt,
        skill=task.skill,
        skill_digest=skill.digest,
        domain=skill.manifest.domain,
        outcome=answer.outcome,
        detail=answer.detail[:2000],
        retryable=answer.outcome in RETRYABLE,
        usage=usage,
        cost_usd=usd_text(cost.usd_micro),
        carbon_grams=cost.carbon_grams,
    )
    if answer.outcome != "done":
        return Ran(result, [], skill, task)
    try:
        findings = msgspec.convert(answer.output.get("findings", []), list[Finding])
    except msgspec.ValidationError as error:
        invalid = msgspec.structs.replace(result, outcome="output_invalid", detail=f"$.output.findings: {error}"[:2000])
        return Ran(invalid, [], skill, task)
    told = sorted(findings, key=lambda finding: not finding.blocks)[:MAX_FINDINGS]
    return Ran(msgspec.structs.replace(result, output=answer.output, findings=told), answer.files, skill, task)


def refused(task: Task, code: str, detail: str) -> TaskResult:
    """A task that was not run."""
    return TaskResult(
        task_id=task.task_id,
        attempt=task.attempt,
        skill=task.skill,
        skill_digest="",
        outcome=code,
        detail=detail[:2000],
    )


def answer_of(settled: Settled, grant: Attestation) -> Draft:
    """The hop to the evaluator. grant: what the goal was given, as the task carried it."""
    result = settled.result
    cost = CostEstimate(
        tokens=result.usage.tokens, estimated_cost_usd=result.cost_usd, carbon_grams_co2=result.carbon_grams
    )
    return Draft(
        to="evaluator",
        intent="observe",
        payload=result,
        step="result",
        confidence=1000 if result.outcome == "done" else 0,
        cost=cost,
        attestations=[*settled.attestations, grant],
    )


def signed_anew(
    attestations: Sequence[Attestation], agent: str, key: SigningKey, trust: Trust, now_ms: int
) -> list[Attestation]:
    """With the key now in use, where the agent's key was exchanged since: an envelope and its attestations bear one key.
    Only what a good key of the agent's own has signed.
    """
    return [
        attest(one.statement, key)
        if one.key_id != key.key_id
        and is_valid_attestation(one)
        and trust.judge_key(one.key_id, agent, now_ms, now_ms) is Reason.OK
        else one
        for one in attestations
    ]
