"""The evaluator's shell: plans and results in, verdicts out."""

from __future__ import annotations

from interlock.agents.evaluation.evaluation import Evaluation
from interlock.bus.hop import DONE, Hop, Outcome, Refusal
from interlock.bus.sender import Sender
from interlock.envelope.verdict import Reason


class EvaluatorRole:
    """Answers by an Evaluation."""

    def __init__(self, sender: Sender, evaluation: Evaluation) -> None:
        self._sender = sender
        self._evaluation = evaluation

    async def handle(self, hop: Hop) -> Outcome:
        draft = self._evaluation.answer(hop.envelope, hop.now_ms)
        if draft is None:
            kind = type(hop.envelope.payload).__name__
            raise Refusal(Reason.WRONG_PAYLOAD, f"an evaluator does not handle {kind}")
        await self._sender.send(hop.origin, [draft], now_ms=hop.now_ms)
        return DONE
