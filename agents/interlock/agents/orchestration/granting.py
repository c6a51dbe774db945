"""Tasks are sent with a capability token: the goal's grant, narrowed to one skill, its files and one envelope (GOV-03)."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from interlock.agents.goal.resources import task_resources
from interlock.agents.goal.state import GoalState, Send
from interlock.bus.sender import Identity
from interlock.envelope.capability_token import GrantRefused, narrowed, read_grant
from interlock.envelope.ids import derived_id
from interlock.envelope.payloads import Task

log = logging.getLogger("interlock.orchestrator")


def with_token(send: Send, state: GoalState, identity: Identity, at_ms: int) -> Send:
    """The same send, its draft carrying the token if it is a task. Where the goal has no grant to narrow it goes without,
    and the executor refuses it.
    """
    draft, began = send.draft, state.began
    if not isinstance(draft.payload, Task) or began is None:
        return send
    above = next((one for one in began.grants if read_grant(one) is not None), None)
    grant = None if above is None else read_grant(above)
    if above is None or grant is None:
        return send
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
    return replace(send, draft=replace(draft, attestations=[*draft.attestations, above, token]))
