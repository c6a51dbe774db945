"""Today's code, as replay runs it: the deciders of the roles, put together from configuration, skills and playbooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from interlock.agents.evaluation.evaluation import Evaluation, load_review_rules
from interlock.agents.evaluation.verify_result import skill_facts
from interlock.agents.flags.file import AI_ACT, ENHANCED, load_flags, resolve
from interlock.agents.goal.decide import Decider
from interlock.agents.goal.events import Planned
from interlock.agents.planning.catalogue import Catalogue, load_catalogue
from interlock.agents.planning.planner import draft_plan
from interlock.bus.policy.facts import Facts
from interlock.bus.policy.service import policy_service
from interlock.envelope.amounts import time_ms
from interlock.envelope.contract_chain import Chain
from interlock.envelope.payloads import Intake
from interlock.envelope.verdict import Verdict

# Whether a flag is on, by its name, risk tier and time in ms.
Flagged = Callable[[str, str, int], bool]
# What the policies say of facts.
JudgeNow = Callable[[Facts], Verdict]


class Code(Struct, frozen=True, kw_only=True):
    """Deciders of all roles whose decisions are replayed."""

    decider: Decider
    evaluation: Evaluation
    catalogue: Catalogue
    flagged: Flagged
    judge: JudgeNow

    def plan(self, intake: Intake) -> Planned:
        return draft_plan(intake, self.catalogue)

    def evaluation_at(self, chain: Chain | None, at_ms: int) -> Evaluation:
        """With the contract and the flags that were in force then."""
        return replace(
            self.evaluation,
            contract=None if chain is None else InForce(chain_at(chain, at_ms)),
            is_enhanced=lambda tier: self.flagged(ENHANCED, tier, at_ms),
            demands_ai_act=lambda tier: self.flagged(AI_ACT, tier, at_ms),
        )


class InForce(Struct, frozen=True):
    """A gates.ContractSource that does not change."""

    chain: Chain


def chain_at(chain: Chain, at_ms: int) -> Chain:
    """The versions that had been issued then; at least the first."""
    if time_ms(chain.head.contract.issued_at) <= at_ms:
        return chain
    known = [version for version in chain.versions if time_ms(version.contract.issued_at) <= at_ms]
    return Chain(known or chain.versions[:1])


def load_code(
    config: Path,
    *,
    skills: Sequence[Path],
    playbooks: Sequence[Path],
    workspace: str,
    environment: str,
    policies: Sequence[Path] = (),
) -> Code:
    """policies: the workspace's own, beside those of config. Raises SkillsError, PolicyError, ValueError or UserError for a
    broken file.
    """
    from interlock.skills.schemas import check

    rules = load_review_rules(config)
    catalogue = load_catalogue(config, skills, playbooks)
    registry = catalogue.registry
    capabilities, approvals = registry.capabilities(), registry.approvals()
    flags = load_flags(config / "flags.yaml")

    def flagged(name: str, tier: str, at_ms: int) -> bool:
        flag = flags.get(name)
        said = {"workspace": workspace, "environment": environment, "riskTier": tier}
        return flag is None or bool(resolve(flag, said, at_ms).value)

    evaluation = Evaluation(
        rules=rules,
        capabilities=lambda: capabilities,
        facts_of=lambda name: skill_facts(registry, name),
        check_schema=check,
        approvals=lambda: approvals,
    )
    return Code(
        decider=Decider(rules.gates),
        evaluation=evaluation,
        catalogue=catalogue,
        flagged=flagged,
        judge=policy_service(config / "policies", policies).judge_now,
    )
