"""The signature log of a goal (AUD-05; seed 004, §2.4): each hop, who, what, which key, verified or not, when. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from interlock.agents.audit.hop_graph import Hop, HopAudit, told_at
from interlock.bus.authority import payload_type


def signature_log(workspace: str, goal_id: str, audit: HopAudit, at: str) -> dict[str, Any]:
    """JSON-ready. Times are in fields that end in `At`; the rate is in parts per thousand."""
    total, verified = len(audit.hops), audit.verified
    return {
        "version": 1,
        "workspace": workspace,
        "goalId": goal_id,
        "writtenAt": at,
        "summary": {
            "totalOperations": total,
            "signaturesVerified": verified,
            "signaturesFailed": total - verified,
            "verificationRatePerMille": verified * 1000 // total if total else 0,
            "status": "PASS" if total and verified == total and not audit.truncated else "FAIL",
        },
        "operations": [_line(number, hop) for number, hop in enumerate(audit.hops, 1)],
        "alerts": [
            *([f"too_many_hops: those after the first {total} were not looked at"] if audit.truncated else []),
            *(f"hop {hop.sequence}: {hop.reason}: {hop.detail}" for hop in audit.hops if not hop.verified),
        ],
    }


def _line(number: int, hop: Hop) -> dict[str, Any]:
    envelope = hop.envelope
    line: dict[str, Any] = {
        "step": number,
        "sequence": hop.sequence,
        "subject": hop.subject[:256],
        "verified": hop.verified,
        "reason": str(hop.reason),
        "storedAt": told_at(hop),
        "digest": hop.digest,
    }
    if hop.redriven:
        line["redriven"] = True
    if envelope is not None:
        line |= {
            "id": envelope.id,
            "agent": envelope.sender,
            "operation": f"{envelope.intent}:{payload_type(envelope)}",
            "publicKey": envelope.key_id,
            "signature": "" if envelope.signature is UNSET else envelope.signature,
        }
    return line
