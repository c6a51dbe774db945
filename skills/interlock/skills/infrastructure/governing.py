"""Who may do what: an operation's name against the tiers of a blueprint and of its directory. Pure; default deny.

An approval is for one operation on one state of one object: its digest covers what is done, the object's uid and its
resourceVersion. What changed meanwhile voids it (specification, Safety).
"""

from __future__ import annotations

import hashlib

from msgspec import Struct
from msgspec.structs import replace

from interlock.envelope.canonical import canonical
from interlock.envelope.verdict import Decision, Ground, Verdict, deny
from interlock.skills.infrastructure.blueprint.model import Blueprint
from interlock.skills.infrastructure.blueprint.policies import Policies
from interlock.skills.infrastructure.observed import ObservedState
from interlock.skills.infrastructure.operation_names import BY_NAME, TIERS, Tier
from interlock.skills.infrastructure.operations import (
    ChangeNetworkPolicy,
    DeleteResource,
    ModifySecret,
    Operation,
    PatchResources,
    Scale,
    operation_name,
)
from interlock.skills.infrastructure.target import ContainerResources

AUTHORITY = "spec.governance.agent_authority"
ROLL_BACK_RULE = "spec.reliability.rollback_on_failure"
_FIELDS: dict[Tier, str] = {
    "allowed": "allowed_operations",
    "requires_approval": "requires_approval",
    "forbidden": "forbidden_operations",
}


# What is beside the object that is run, and called like it.
_OF_OTHER_KINDS = (DeleteResource, ModifySecret, ChangeNetworkPolicy)


class Ruling(Struct, frozen=True):
    """The tier of a name, and the rule that put it there; rule is the authority as a whole where no rule names it."""

    tier: Tier
    rule: str
    is_named: bool


def ruling(blueprint: Blueprint, name: str, policies: Policies | None = None) -> Ruling:
    """The stricter of what the blueprint and the directory's policies say. What the blueprint does not name is forbidden,
    but for `roll_back`, which rollback_on_failure permits.
    """
    governance = blueprint.governance
    own: Ruling | None = None
    for tier in reversed(TIERS):
        if name in getattr(governance, _FIELDS[tier]):
            own = Ruling(tier, f"{AUTHORITY}.{_FIELDS[tier]}", True)
            break
    if own is None and name == "roll_back" and blueprint.reliability.rollback_on_failure:
        own = Ruling("allowed", ROLL_BACK_RULE, True)
    if own is None:
        own = Ruling("forbidden", AUTHORITY, False)
    if policies is not None and own.tier != "forbidden":
        if name in policies.forbidden_operations:
            return Ruling("forbidden", "policies.spec.agent_authority.forbidden_operations", True)
        if name in policies.requires_approval:
            return Ruling("requires_approval", "policies.spec.agent_authority.requires_approval", True)
    return own


def govern(blueprint: Blueprint, name: str, policies: Policies | None = None, *, instead: str = "") -> Verdict:
    """allow, needs_approval or deny, each with the rule. instead: the compliant alternative in particular (see
    `compliant`); without it the one that governance knows for the name, if that one is permitted.
    """
    if name not in BY_NAME:
        return deny("operation_unknown", f"`{name}` is no operation that governance knows", rule=AUTHORITY)
    found = ruling(blueprint, name, policies)
    if found.tier == "allowed":
        return Verdict(Decision.ALLOW, (Ground("ok", f"{name} is allowed", found.rule),))
    instead = instead or _permitted_instead(blueprint, name, policies)
    if found.tier == "requires_approval":
        who = ", ".join(blueprint.governance.approvers) or "a human"
        message = f"{name} is done when approved by {who}"
        return Verdict(Decision.NEEDS_APPROVAL, (Ground("approval_required", message, found.rule, instead),))
    if found.is_named:
        return deny(
            "operation_forbidden", f"{name} is forbidden; nobody can approve it", rule=found.rule, instead=instead
        )
    message = f"{name} is in no tier of {blueprint.name} {blueprint.version}, so it is forbidden"
    return deny("operation_not_listed", message, rule=found.rule, instead=instead)


def govern_operation(
    blueprint: Blueprint, operation: Operation, state: ObservedState | None, policies: Policies | None = None
) -> Verdict:
    """`govern` for an operation: what it changes must be the blueprint's own object, else deny."""
    target, own = operation.target, blueprint.target
    same_kind = target.kind == own.kind or isinstance(operation, _OF_OTHER_KINDS)
    if (target.namespace, target.name) != (own.namespace, own.name) or not same_kind:
        message = f"{target} is not what {blueprint.name} is about ({blueprint.unread_target})"
        return deny("foreign_target", message, rule="spec.target")
    name = operation_name(operation, blueprint.scaling, state)
    alternative = compliant(blueprint, operation, state)
    return govern(blueprint, name, policies, instead=_told(blueprint, alternative, state, policies))


def compliant(blueprint: Blueprint, operation: Operation, state: ObservedState | None) -> Operation | None:
    """The nearest operation that stays within the small tiers: replicas within the limits, resources by a tenth. None if
    there is none, or if it is the operation itself or would change nothing.
    """
    if isinstance(operation, Scale):
        scaling = blueprint.scaling
        within = min(max(operation.replicas, scaling.min_replicas), scaling.max_replicas)
        return None if within in (operation.replicas, operation.from_replicas) else replace(operation, replicas=within)
    if isinstance(operation, PatchResources) and state is not None and state.resources is not None:
        after = _by_a_tenth(state.resources, operation.after)
        return None if after in (operation.after, state.resources) else replace(operation, after=after)
    return None


def action_digest(operation: Operation) -> str:
    """SHA-256, in hex, of the operation with its object's uid and resourceVersion: what an approval is for."""
    return hashlib.sha256(canonical(operation)).hexdigest()


def _permitted_instead(blueprint: Blueprint, name: str, policies: Policies | None) -> str:
    other = BY_NAME[name].instead
    if not other or ruling(blueprint, other, policies).tier == "forbidden":
        return ""
    if other == "scale_within_limits":
        scaling = blueprint.scaling
        return f"{other}: {scaling.min_replicas} to {scaling.max_replicas} replicas"
    return f"{other}: {BY_NAME[other].meaning}"


def _told(
    blueprint: Blueprint, alternative: Operation | None, state: ObservedState | None, policies: Policies | None
) -> str:
    if alternative is None:
        return ""
    name = operation_name(alternative, blueprint.scaling, state)
    if ruling(blueprint, name, policies).tier == "forbidden":
        return ""
    if isinstance(alternative, Scale):
        return f"{name}: {alternative.replicas} replicas"
    return f"{name}: {BY_NAME[name].meaning}"


def _by_a_tenth(before: ContainerResources, after: ContainerResources) -> ContainerResources:
    def near(old: int | None, new: int | None) -> int | None:
        if old is None or new is None:
            return old
        return min(max(new, old - old // 10), old + old // 10)

    return ContainerResources(
        cpu_request_m=near(before.cpu_request_m, after.cpu_request_m),
        cpu_limit_m=near(before.cpu_limit_m, after.cpu_limit_m),
        memory_request_bytes=near(before.memory_request_bytes, after.memory_request_bytes),
        memory_limit_bytes=near(before.memory_limit_bytes, after.memory_limit_bytes),
    )
