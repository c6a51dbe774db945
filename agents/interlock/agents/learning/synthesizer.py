"""The synthesizer's shell."""

from __future__ import annotations

from interlock.agents.artefacts import put_artefact
from interlock.agents.learning.knowledge import knowledge_pack, learn
from interlock.bus.hop import DONE, Hop, Outcome, Refusal
from interlock.bus.sender import Sender
from interlock.bus.transport import Transport
from interlock.envelope.amounts import timestamp
from interlock.envelope.children import Draft
from interlock.envelope.payloads import KnowledgePack, KnowledgeRequest
from interlock.envelope.verdict import Reason


class SynthesizerRole:
    def __init__(self, transport: Transport, sender: Sender) -> None:
        self._transport = transport
        self._sender = sender

    async def handle(self, hop: Hop) -> Outcome:
        request = hop.envelope.payload
        if not isinstance(request, KnowledgeRequest):
            raise Refusal(Reason.WRONG_PAYLOAD, f"a synthesizer does not handle {type(request).__name__}")
        knowledge = learn(request)
        text = knowledge_pack(request, knowledge, hop.envelope.goal_id, timestamp(hop.now_ms))
        file = await put_artefact(self._transport, "knowledge_pack.md", text.encode())
        pack = KnowledgePack(
            lessons=[line[:2000] for line in knowledge.lessons],
            backlog=[line[:2000] for line in knowledge.backlog],
            next_steps=[line[:2000] for line in knowledge.next_steps],
            gates=[],
            files=[file],
        )
        draft = Draft(to="orchestrator", intent="observe", payload=pack, step="pack")
        await self._sender.send(hop.origin, [draft], now_ms=hop.now_ms)
        return DONE
