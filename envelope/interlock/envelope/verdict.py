"""Verdicts: what a gate answers. Never a bare boolean; a deny always carries a code of the closed list."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Decision(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    NEEDS_APPROVAL = "needs_approval"


class Reason(StrEnum):
    """Why an envelope was refused. Closed: a new reason is a new member here and a row in the table of gates."""

    OK = "ok"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    NOT_CANONICAL = "not_canonical"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_KEY = "unknown_key"
    KEY_NOT_YET_VALID = "key_not_yet_valid"
    KEY_EXPIRED = "key_expired"
    KEY_REVOKED = "key_revoked"
    KEY_NOT_FOR_AGENT = "key_not_for_agent"
    BAD_SIGNATURE = "bad_signature"
    WRONG_SUBJECT = "wrong_subject"
    WRONG_RECIPIENT = "wrong_recipient"
    WRONG_WORKSPACE = "wrong_workspace"
    WRONG_MESSAGE_ID = "wrong_message_id"
    EXPIRED = "expired"
    TTL_TOO_LONG = "ttl_too_long"
    FROM_FUTURE = "from_future"
    REPLAYED = "replayed"
    BAD_PARENT = "bad_parent"
    TRACE_MISMATCH = "trace_mismatch"
    HALTED = "halted"
    CONTRACT_UNKNOWN = "contract_unknown"
    CONTRACT_MISMATCH = "contract_mismatch"
    POLICY_DENIED = "policy_denied"
    RATE_LIMITED = "rate_limited"
    CIRCUIT_OPEN = "circuit_open"
    OVER_BUDGET = "over_budget"
    OVER_QUOTA = "over_quota"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    WRONG_PAYLOAD = "wrong_payload"
    GATE_FAILED = "gate_failed"
    HANDLER_FAILED = "handler_failed"
    MAX_DELIVERIES = "max_deliveries"
    TERMINATED = "terminated"


class Ground(Struct, frozen=True):
    """One reason of a verdict: a code, the rule that gave it, a line for people, and what would be allowed."""

    code: str
    message: str
    rule: str = ""
    instead: str = ""


class Verdict(Struct, frozen=True):
    """A gate's answer. `grounds` is never empty for anything but allow."""

    decision: Decision
    grounds: tuple[Ground, ...] = ()

    @property
    def allowed(self) -> bool:
        return self.decision is Decision.ALLOW


ALLOW = Verdict(Decision.ALLOW)


def deny(code: str, message: str, *, rule: str = "", instead: str = "") -> Verdict:
    """A refusal with one ground."""
    return Verdict(Decision.DENY, (Ground(code, message, rule, instead),))
