"""Proof that one record is in the log a checkpoint speaks of: a file that anybody can check without us (AUD-01). Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from interlock.agents.audit.log.check import auditors
from interlock.agents.audit.log.records import ChainBroken, Record, parse
from interlock.agents.audit.log.sources import origin_of
from interlock.envelope.checkpoint import CheckpointError, open_checkpoint
from interlock.envelope.merkle import Tree, is_included, leaf_hash
from interlock.envelope.trust import TrustError, load

MAX_BYTES = 4 << 20


class Proof(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """record: its line; path: the hashes of PATH (RFC 9162), base64; checkpoint: a signed note; trust: the signed trust
    store that knows whose keys may sign it.
    """

    kind: Literal["interlock-inclusion-proof"] = "interlock-inclusion-proof"
    version: Literal[1] = 1
    workspace: str
    record: str
    path: list[str]
    checkpoint: str
    trust: str


class ProofRefused(Exception):
    """reason: malformed, untrusted, wrong_origin, not_included, or one of the trust store's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def make_proof(workspace: str, lines: Sequence[bytes], number: int, note: str, size: int, trust: str) -> Proof:
    """lines: the log's, at least `size` of them. Raises ValueError for a record that the checkpoint does not cover."""
    tree = Tree(leaf_hash(line) for line in lines[:size])
    path = tree.inclusion_proof(number, size)
    return Proof(
        workspace=workspace,
        record=lines[number].decode(),
        path=[base64.b64encode(step).decode() for step in path],
        checkpoint=note,
        trust=trust,
    )


def verify_proof(data: bytes, roots: Sequence[str]) -> tuple[Record, int]:
    """The proven record, and the size of the log it is in. roots: public root keys of the workspace. Raises
    ProofRefused, whatever the bytes.
    """
    if len(data) > MAX_BYTES:
        raise ProofRefused("malformed", f"larger than {MAX_BYTES} bytes")
    try:
        proof = msgspec.json.decode(data, type=Proof)
        path = [base64.b64decode(step, validate=True) for step in proof.path]
        trust = load(proof.trust.encode(), roots)
        checkpoint = open_checkpoint(proof.checkpoint.encode(), auditors(trust), origin_of(proof.workspace))
        record = parse(proof.record.encode())
    except (TrustError, CheckpointError, ChainBroken) as error:
        raise ProofRefused(error.reason, str(error)) from error
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as error:
        raise ProofRefused("malformed", str(error)[:200]) from error
    if trust.workspace != proof.workspace:
        raise ProofRefused("wrong_origin", f"the trust store is of {trust.workspace}")
    leaf = leaf_hash(proof.record.encode())
    if not is_included(leaf, record.number, checkpoint.size, checkpoint.root, path):
        raise ProofRefused("not_included", f"record {record.number} is not in the log of {checkpoint.size} records")
    return record, checkpoint.size
