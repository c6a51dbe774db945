"""Who signs what a goal is given when it enters: the gateway, or a key in Vault or OpenBao that the gateway never sees (GOV-03)."""

from __future__ import annotations

from functools import partial

import anyio.to_thread

from interlock.agents.errors import UserError
from interlock.agents.kms.signatures import ED25519, Signer
from interlock.bus.errors import Unavailable
from interlock.bus.sender import Identity
from interlock.envelope.capability_token import ISSUER_AGENT, first_grant
from interlock.envelope.model import Attestation, PolicyContext
from interlock.envelope.payloads import Intake


class Issuer:
    """key: the URI of a key in a key store, empty for the gateway's own."""

    def __init__(self, identity: Identity, key: str = "") -> None:
        self._identity = identity
        self._key = key
        self._signer: Signer | None = None

    async def grant(
        self, intake: Intake, goal_id: str, context: PolicyContext, *, now_ms: int, life_ms: int
    ) -> Attestation:
        """The first grant of a goal. Raises Unavailable when the key store does not sign: no goal begins without."""
        made = partial(
            first_grant,
            "orchestrator",
            goal_id,
            context.capabilities,
            now_ms=now_ms,
            life_ms=life_ms,
            budget=intake.budget_limits,
            contract_ref=context.contract_ref,
        )
        if not self._key:
            return made(given_by=self._identity.agent, key=self._identity.key)
        try:
            signer = self._signer or await anyio.to_thread.run_sync(issuer_key, self._key)
            self._signer = signer
            return await anyio.to_thread.run_sync(partial(made, given_by=ISSUER_AGENT, key=signer))
        except UserError as error:
            self._signer = None  # a key that was rotated is opened anew
            raise Unavailable(f"no capability token was issued: {error}") from error


def issuer_key(uri: str) -> Signer:
    """Raises UserError, also for a key that signs no tokens."""
    from interlock.agents.kms import open_signer

    signer = open_signer(uri)
    if signer.scheme != ED25519:
        raise UserError("bad_key", f"{uri} is of the scheme {signer.scheme}", f"Tokens need {ED25519}", 2)
    return signer
