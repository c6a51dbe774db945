"""Whether policies let a goal's plan be drafted by a model (governance.md: model choice by risk). Asked before the model is:
what a remote model is sent has left.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from interlock.agents.goal.tags import compliance_tags
from interlock.bus.policy.facts import BudgetFacts, Facts, GoalFacts, HopFacts, ModelFacts, performer_facts
from interlock.envelope.ids import role_of
from interlock.envelope.payloads import Ground, Intake
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Verdict

if TYPE_CHECKING:
    from interlock.agents.planning.model_settings import ModelPlanner


def model_facts(planner: ModelPlanner, intake: Intake, risk_tier: str, agent: str, trust: Trust) -> Facts:
    """The facts of a plan that this model would draft for this intake. agent: who would ask it."""
    asker = performer_facts(trust, agent)
    return Facts(
        hop=HopFacts(
            payload="intake",
            risk_tier=risk_tier,
            tags=compliance_tags(intake),
            to=[role_of(agent)],
            confidence=1000,
            sender=agent,
            from_role=role_of(agent),
            intent="plan",
        ),
        agent=asker,
        performer=asker,
        budget=BudgetFacts(within_grant=True, cost_usd_at_most=0),
        goal=GoalFacts(capabilities=[]),
        model=ModelFacts(name=planner.model, hosting=planner.hosting or hosting_of(planner.url)),
    )


def hosting_of(url: str) -> str:
    """local for a model on this machine; whatever else is remote unless the settings say otherwise."""
    host = urlsplit(url).hostname or ""
    try:
        return "local" if host == "localhost" or ipaddress.ip_address(host).is_loopback else "remote"
    except ValueError:
        return "remote"


def model_problems(planner: ModelPlanner, verdict: Verdict) -> list[Ground]:
    """Why the model may not be asked, each with its rule and what would be allowed; empty if it may. Before its plan there is
    nothing that a human could approve, so what needs an approval is refused as well.
    """
    if verdict.allowed:
        return []
    return [
        Ground(
            code="policy_denied",
            message=f"model {planner.model}: {ground.code}: {ground.message}"[:2000],
            rule=ground.rule,
            instead=f"{ground.instead}; or a playbook, or tasks of your own",
        )
        for ground in verdict.grounds[:50]
    ]
