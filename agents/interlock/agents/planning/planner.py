"""From an intake to a plan graph. Whichever way it was drafted, the same review applies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from interlock.agents.planning.catalogue import Catalogue, load_catalogue
from interlock.agents.planning.model_settings import ModelPlanner
from interlock.envelope.payloads import Ground, Intake, PlanDraft, TaskSpec

if TYPE_CHECKING:
    from interlock.agents.orchestration.orchestrator import Plan
    from interlock.agents.parts import Parts

AUTHORED = 1000


def draft_plan(intake: Intake, catalogue: Catalogue) -> PlanDraft | list[Ground]:
    """The draft, or why there is none. Confidence in parts per thousand: what a person wrote is certain, a match is as
    certain as its score.
    """
    bare = replace(intake, tasks=[], release=None)
    if intake.playbook is not None:
        playbook = catalogue.playbooks.get(intake.playbook)
        if playbook is None:
            known = ", ".join(sorted(catalogue.playbooks))
            return [Ground(code="unknown_playbook", message=f"there is no playbook {intake.playbook}", instead=known)]
        return PlanDraft(
            source="playbook",
            playbook=f"{playbook.id}@{playbook.version}",
            tasks=playbook.tasks,
            release=playbook.release,
            intake=bare,
            confidence=AUTHORED,
        )
    if intake.tasks:
        return PlanDraft(
            source="tasks", playbook="", tasks=intake.tasks, release=intake.release, intake=bare, confidence=AUTHORED
        )
    return match_skills(bare, catalogue)


def match_skills(intake: Intake, catalogue: Catalogue) -> PlanDraft | list[Ground]:
    """One task on the skill whose description fits the goal's text best."""
    matches = catalogue.match(intake.goal)
    if not matches:
        return [
            Ground(code="no_plan", message="no skill's description fits the goal", instead="name a playbook or tasks")
        ]
    score, skill = matches[0]
    task = TaskSpec(id="task", skill=skill.name, input=dict(intake.inputs), confidence=score)
    return PlanDraft(source="skills", playbook="", tasks=[task], intake=intake, confidence=score)


def planner_of(parts: Parts) -> Plan:
    """The planner of an orchestrator."""
    catalogue = load_catalogue(parts.config, parts.skills, parts.playbooks)
    model: ModelPlanner | None = parts.model_planner

    async def refused(planner: ModelPlanner, intake: Intake) -> list[Ground]:
        from interlock.agents.goal.risk import assess, load_rules
        from interlock.agents.planning.model_permit import model_facts, model_problems
        from interlock.bus.policy.service import policy_service

        tier = assess(intake, load_rules(parts.config / "risk.yaml")).tier
        facts = model_facts(planner, intake, tier, parts.identity.agent, parts.trust.trust)
        judge = policy_service(parts.config / "policies", parts.policies)
        return model_problems(planner, await judge.judge(facts))

    async def plan(intake: Intake) -> PlanDraft | list[Ground]:
        if model is not None and intake.playbook is None and not intake.tasks:
            from interlock.agents.planning.model import draft_by_model

            problems = await refused(model, intake)
            if problems:
                return problems
            drafted = await draft_by_model(model, intake, catalogue)
            if isinstance(drafted, PlanDraft):
                return drafted
        return draft_plan(intake, catalogue)

    return plan
