"""What the gateway gave a goal travels with what the orchestrator sends: whole to those who plan, audit and learn, and with it
a capability token, narrowed to one skill, its files and one envelope, to who runs a task (GOV-03).
"""

from __future__ import annotations

import logging

from msgspec import UNSET
from msgspec.structs import replace

from interlock.agents.goal.resources import task_resources
from interlock.agents.goal.state import GoalState, Send
from interlock.bus.sender import Identity
from interlock.envelope.capability_token import GrantRefused, narrowed, read_grant
from interlock.envelope.children import Draft
from interlock.envelope.goal_grant import needs_grant
from interlock.envelope.ids import derived_id
from interlock.envelope.model import Attestation
from interlock.envelope.payloads import Task

log = logging.getLogger("interlock.orchestrator")


def with_grants(send: Send, state: GoalState, identity: Identity, at_ms: int) -> Send:
    """The same send, its draft carrying what its receiver wants to see. Where the goal has no grant it goes without, and the
    receiver refuses it.
    """
    draft, began = send.draft, state.began
    if began is None or not (isinstance(draft.payload, Task) or needs_grant(draft.to)):
        return send
    read = ((one, read_grant(one)) for one in began.grants)
    above, grant = next((found for found in read if found[1] is not None), (None, None))
    if above is None or grant is None:
        return send
    if not isinstance(draft.payload, Task):
        # Goals of a time when grants said nothing of budgets sent theirs to nobody: they replay as they went.
        return send if grant.budget is UNSET else replace(send, draft=_and(draft, above))
    try:
        token = narrowed(
            above,
            given_by=identity.agent,
            holder=draft.to,
            capabilities=grant.capabilities,
            resources=task_resources(draft.payload),
            envelope=derived_id(send.parent.workspace, send.parent.id, identity.agent, draft.step),
            key=identity.key,
            now_ms=at_ms,
            until_ms=send.parent.deadline_ms,
        )
    except GrantRefused as error:
        log.warning("task of goal %s goes without a token: %s", grant.goal_id, error)
        return send
    return replace(send, draft=_and(draft, above, token))


def _and(draft: Draft, *grants: Attestation) -> Draft:
    return replace(draft, attestations=[*draft.attestations, *grants])
