"""Proof that one checkpoint's log goes on where an earlier one's ended: nothing cut off, nothing changed (RFC 9162, 2.1.4). A
witness who keeps checkpoints, and sees neither streams nor broker, holds the log to its word with it. Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from interlock.agents.audit.log.check import auditors
from interlock.agents.audit.log.proof import MAX_BYTES, ProofRefused
from interlock.agents.audit.log.sources import origin_of
from interlock.envelope.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from interlock.envelope.merkle import Tree, is_consistent, leaf_hash
from interlock.envelope.trust import TrustError, load

KIND = "interlock-consistency-proof"


class Continuation(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """older, newer: signed notes; path: the hashes of PROOF, base64; trust: the signed trust store that knows whose keys
    may sign them.
    """

    kind: Literal["interlock-consistency-proof"] = "interlock-consistency-proof"
    version: Literal[1] = 1
    workspace: str
    older: str
    newer: str
    path: list[str]
    trust: str


class _Kind(Struct):
    kind: str = ""


def is_continuation(data: bytes) -> bool:
    """Whether these bytes say that they are one."""
    try:
        return msgspec.json.decode(data, type=_Kind).kind == KIND
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def make_continuation(
    workspace: str, lines: Sequence[bytes], older: tuple[str, int], newer: tuple[str, int], trust: str
) -> Continuation:
    """older, newer: note and size. lines: the log's, at least as many as the newer one speaks of. Raises ValueError for
    sizes that do not follow each other.
    """
    tree = Tree(leaf_hash(line) for line in lines[: newer[1]])
    path = [base64.b64encode(step).decode() for step in tree.consistency_proof(older[1], newer[1])]
    return Continuation(workspace=workspace, older=older[0], newer=newer[0], path=path, trust=trust)


def verify_continuation(data: bytes, roots: Sequence[str]) -> tuple[Checkpoint, Checkpoint]:
    """(older, newer). roots: public root keys of the workspace. Raises ProofRefused, whatever the bytes."""
    if len(data) > MAX_BYTES:
        raise ProofRefused("malformed", f"larger than {MAX_BYTES} bytes")
    try:
        proof = msgspec.json.decode(data, type=Continuation)
        path = [base64.b64decode(step, validate=True) for step in proof.path]
        trust = load(proof.trust.encode(), roots)
        keys, origin = auditors(trust), origin_of(proof.workspace)
        older, newer = (open_checkpoint(note.encode(), keys, origin) for note in (proof.older, proof.newer))
    except (TrustError, CheckpointError) as error:
        raise ProofRefused(error.reason, str(error)) from error
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as error:
        raise ProofRefused("malformed", str(error)[:200]) from error
    if trust.workspace != proof.workspace:
        raise ProofRefused("wrong_origin", f"the trust store is of {trust.workspace}")
    if not is_consistent(older.size, newer.size, older.root, newer.root, path):
        detail = f"the log of {newer.size} records is not shown to go on from that of {older.size}"
        raise ProofRefused("not_consistent", detail)
    return older, newer
