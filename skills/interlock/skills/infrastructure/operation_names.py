"""The names under which governance knows operations (seed 001, agent_authority). Closed: a name that is not here is wrong
in a blueprint, and what has no name is forbidden.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Tier = Literal["allowed", "requires_approval", "forbidden"]
# Looser to stricter: where two rules speak of one operation, the stricter holds.
TIERS: tuple[Tier, ...] = ("allowed", "requires_approval", "forbidden")


class OperationName(Struct, frozen=True):
    """meaning: one line for people. usual: the tier the examples put it in. instead: what an agent may do in its place,
    empty if there is nothing.
    """

    name: str
    meaning: str
    usual: Tier
    instead: str = ""


_WITHIN = "scale_within_limits"

OPERATION_NAMES: tuple[OperationName, ...] = (
    OperationName(_WITHIN, "set the replicas to a number from min_replicas to max_replicas", "allowed"),
    OperationName("restart_failed_pods", "replace pods that were seen failing or restarting", "allowed"),
    OperationName("adjust_resources_within_10_percent", "move requests or limits by at most a tenth", "allowed"),
    OperationName("roll_back", "go back to the pod template of an earlier revision", "allowed"),
    OperationName("scale_beyond_limits", "set the replicas outside the limits", "requires_approval", _WITHIN),
    OperationName(
        "change_resource_limits_beyond_10_percent",
        "move requests or limits by more than a tenth",
        "requires_approval",
        "adjust_resources_within_10_percent",
    ),
    OperationName("modify_deployment_strategy", "change how pods are replaced", "requires_approval"),
    OperationName("change_health_checks", "change the times of the probes", "requires_approval"),
    OperationName("restart_pods", "replace pods that nobody saw failing", "requires_approval", "restart_failed_pods"),
    OperationName("delete_resources", "delete an object of a kind that has no name of its own here", "forbidden"),
    OperationName("delete_deployment", "delete the Deployment", "forbidden", _WITHIN),
    OperationName("delete_service", "delete the Service", "forbidden"),
    OperationName("delete_persistent_volumes", "delete a volume or the claim to one", "forbidden"),
    OperationName("modify_secrets", "write a Secret", "forbidden"),
    OperationName("change_network_policies", "write a NetworkPolicy", "forbidden"),
)
BY_NAME = {entry.name: entry for entry in OPERATION_NAMES}
