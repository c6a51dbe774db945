"""What the receiving gates of every role say of a recorded hop at its recorded time. Pure.

Each role receives what came to it in order and remembers it as it did then; nobody receives what is sent to people or to a
gateway, so that is looked at as an observer does, who remembers nothing.
"""

from __future__ import annotations

from msgspec import UNSET, Struct

from interlock.agents.replay.code import chain_at
from interlock.agents.replay.recording import Recording
from interlock.bus.gates import Gate, Receiver, receiving_gates
from interlock.bus.hop import Hop
from interlock.envelope.capability_token import Proven, read_grant
from interlock.envelope.contract_chain import Chain
from interlock.envelope.goal_grant import needs_grant
from interlock.envelope.payloads import Intake
from interlock.envelope.replay import ReplayMemory
from interlock.envelope.trust import Trust
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import decode

OBSERVER = ""


class Trusted(Struct, frozen=True):
    """A gates.TrustSource that does not change."""

    trust: Trust


class _Then:
    """A gates.ContractSource: the chain as it was at the time of the hop in hand."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain


class Receiving:
    """One goal's. Hops are to be asked for in stream order."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._trust = Trusted(recording.trust)
        self._then = None if recording.chain is None else _Then(recording.chain)
        # Whether a signature is good does not depend on who receives it, nor when.
        self._proven = Proven() if _grants_travel(recording) else None
        self._gates: dict[str, list[Gate]] = {}

    def first_reason(self, hop: Hop, role: str) -> tuple[Reason, str]:
        """Why the role, or OBSERVER, refuses the hop: (code, detail); (ok, "") if it does not. Decodes the hop."""
        if self._then is not None and self._recording.chain is not None:
            self._then.chain = chain_at(self._recording.chain, hop.now_ms)
        for gate in self._gates_of(role):
            checked = gate(hop)
            if not checked.ok:
                return checked.reason, checked.detail
        return Reason.OK, ""

    def _gates_of(self, role: str) -> list[Gate]:
        known = self._gates.get(role)
        if known is not None:
            return known
        proven = self._proven if needs_grant(role) else None
        recording = self._recording
        receiver = Receiver(role, self._trust, recording.limits, ReplayMemory(), self._then, proven=proven)
        gates = [gate for _, gate in receiving_gates(receiver)]
        if role != OBSERVER:
            self._gates[role] = gates
        return gates


def _grants_travel(recording: Recording) -> bool:
    """Whether the goal is of a time when its grant went to all who have to see it: they say what it may spend since."""
    plans = (message for message in recording.hops if message.subject.endswith(".plan"))
    for found in (decode(message.data, recording.limits).envelope for message in plans):
        if found is not None and isinstance(found.payload, Intake):
            grants = map(read_grant, found.attestations)
            return any(grant is not None and grant.budget is not UNSET for grant in grants)
    return False
