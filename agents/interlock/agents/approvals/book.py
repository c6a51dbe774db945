"""One approval from its request to its end (GOV-06). Pure: times are arguments, nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from interlock.envelope.amounts import time_ms
from interlock.envelope.payloads import Approval as Evidence
from interlock.envelope.payloads import ApprovalRequest, Ground

State = Literal["pending", "approved", "rejected", "timed_out", "withdrawn"]
DENIED = "approval_denied"
TIMED_OUT = "approval_timed_out"


class Vote(Struct, frozen=True, rename="camel", kw_only=True):
    """A decision that counts. decider: the agent whose key it is; by: the name signed with; wire: the signed envelope."""

    decider: str
    by: str
    allows: bool
    reason: str
    at_ms: int
    wire: str = ""


@dataclass
class Approval:
    """Held by the state of its goal. One refusal decides, as does the last of the approvals needed."""

    request: ApprovalRequest
    asked_ms: int
    state: State = "pending"
    votes: list[Vote] = field(default_factory=list)

    @property
    def expires_ms(self) -> int:
        return time_ms(self.request.expires_at)

    @property
    def is_open(self) -> bool:
        return self.state == "pending"

    def take(self, vote: Vote) -> bool:
        """Counts a vote; whether the approval has ended by it. After the time is up no vote counts, however quickly it
        was sent, so that whoever folds the same events comes to the same end. Nobody counts twice.
        """
        if not self.is_open:
            return False
        if vote.at_ms >= self.expires_ms:
            self.state = "timed_out"
            return True
        if any(earlier.decider == vote.decider for earlier in self.votes):
            return False
        self.votes.append(vote)
        if not vote.allows:
            self.state = "rejected"
        elif len(self.votes) >= self.request.needed:
            self.state = "approved"
        return not self.is_open

    def expire(self, at_ms: int) -> bool:
        """Ends it as timed out if its time is up."""
        if not self.is_open or at_ms < self.expires_ms:
            return False
        self.state = "timed_out"
        return True

    def withdraw(self) -> None:
        """Nobody waits for it any more."""
        if self.is_open:
            self.state = "withdrawn"

    @property
    def evidence(self) -> Evidence:
        """What proves to others that it was approved."""
        request = self.request
        return Evidence(
            approval_id=request.approval_id,
            operation=request.operation,
            target=request.target,
            decisions=[vote.wire for vote in self.votes if vote.allows],
        )

    @property
    def ground(self) -> Ground:
        """Why what it was asked for did not happen."""
        request = self.request
        what = f"{request.operation} of {request.target}"
        if self.state == "rejected":
            vote = self.votes[-1]
            message = f"{what}: denied by {vote.by}: {vote.reason}"
            return Ground(code=DENIED, message=message[:2000], rule="GOV-06", instead="mend what the reason says")
        given = sum(vote.allows for vote in self.votes)
        message = f"{what}: timed out at {request.expires_at} with {given} of {request.needed} approvals"
        return Ground(
            code=TIMED_OUT, message=message[:2000], rule="GOV-06", instead="submit it again and decide in time"
        )
