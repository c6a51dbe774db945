"""What was recorded of a goal: its hops, its journal and under what they were judged, from a bundle or from the stream."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import Struct, field

from interlock.agents.audit.auditor import goal_messages
from interlock.agents.audit.bundled_hop import BundledHop
from interlock.agents.audit.packing import PackingError, unpacked
from interlock.bus.deadletters import DeadLetter
from interlock.bus.journal import journal_subject, read_journal
from interlock.bus.ledger.client import goal_scope
from interlock.bus.ledger.stored import balance_subject
from interlock.bus.records import Seals, sealed_only
from interlock.bus.sender import Identity
from interlock.bus.streams import DEAD, HOPS, LEDGER
from interlock.bus.transport import Message, Transport
from interlock.envelope.amounts import time_ms
from interlock.envelope.contract_chain import Chain, ContractError, Signers, load_chain
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.trust import Trust, TrustError, load
from interlock.envelope.verification import Limits


class RecordingError(Exception):
    """The bundle cannot be replayed. reason: bad_bundle or one of the trust store's or contract's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Refused(Struct, frozen=True):
    """What a dead letter says: why a role refused a hop, and when (ms)."""

    reason: str
    detail: str
    at_ms: int


class Recording(Struct, frozen=True, kw_only=True):
    """One goal. hops and journal in stream order; refused: by role and sequence; chain: every version of the contract,
    None where there was none; ledger: the balances of its scope, in order; ended: whether the goal had ended when this
    was recorded.
    """

    workspace: str
    goal_id: str
    hops: list[Message]
    journal: list[bytes]
    trust: Trust
    chain: Chain | None = None
    limits: Limits = Limits()
    refused: dict[tuple[str, int], Refused] = field(default_factory=dict)
    ledger: list[bytes] = field(default_factory=list)
    ended: bool = True


class _Text(Struct, frozen=True):
    text: str


class _Goal(Struct, frozen=True, rename="camel"):
    workspace: str
    goal_id: str
    limits: Limits
    status: dict[str, Any]


class _Trust(Struct, frozen=True):
    store: str
    roots: list[str]


class _Sections(Struct, frozen=True, rename="camel"):
    goal: _Goal
    trust: _Trust
    contract: list[str]
    hops: list[BundledHop]
    journal: list[_Text]
    ledger: list[_Text]
    dead_letters: list[_Text]


class _Bundle(Struct, frozen=True):
    sections: _Sections


_bundles = msgspec.json.Decoder(_Bundle)
_letters = msgspec.json.Decoder(DeadLetter)


def from_bundle(data: bytes, roots: Sequence[str] = ()) -> Recording:
    """Offline. roots: those to trust; none: those the bundle names. Whether the bundle is true, `audit verify` says; here
    it need only be whole. Raises RecordingError.
    """
    try:
        sections = _bundles.decode(unpacked(data)).sections
        goal = sections.goal
        named = list(roots) or sections.trust.roots
        trust = load(sections.trust.store.encode(), named)
        versions = [version.encode() for version in sections.contract]
        chain = load_chain(versions, trust.workspace, Signers(tuple(named), trust)) if versions else None
        letters = [_letters.decode(letter.text) for letter in sections.dead_letters]
        return Recording(
            workspace=goal.workspace,
            goal_id=goal.goal_id,
            hops=[hop.message for hop in sections.hops],
            journal=[record.text.encode() for record in sections.journal],
            trust=trust,
            chain=chain,
            limits=goal.limits,
            refused=_refused(letters),
            ledger=[balance.text.encode() for balance in sections.ledger],
            ended=goal.status.get("phase") == "ended",
        )
    except (TrustError, ContractError) as error:
        raise RecordingError(error.reason, str(error)) from error
    except (PackingError, msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as error:
        raise RecordingError("bad_bundle", str(error)[:300]) from error


async def from_stream(
    transport: Transport,
    workspace: str,
    goal_id: str,
    *,
    seals: Seals,
    chain: Chain | None,
    limits: Limits,
    ended: bool,
) -> Recording:
    """What the streams hold of the goal. seals: of orchestrators; only journal records they signed count."""
    hops = await goal_messages(transport, workspace, goal_id)
    records, _ = await read_journal(transport, journal_subject(workspace, "goal", goal_id), seals)
    async with aclosing(transport.read(DEAD.name, [workspace_subject(workspace, "dead", ">")])) as messages:
        letters = [_letters.decode(message.data) async for message in messages if goal_id.encode() in message.data]
    return Recording(
        workspace=workspace,
        goal_id=goal_id,
        hops=hops,
        journal=[record.data for record in records],
        trust=seals.trust.trust,
        chain=chain,
        limits=limits,
        refused=_refused(letters),
        ledger=await _balances_of(transport, workspace, goal_id, seals),
        ended=ended,
    )


async def _balances_of(transport: Transport, workspace: str, goal_id: str, seals: Seals) -> list[bytes]:
    """Those that the ledger sealed: its writer is the gateway's."""
    writers = Seals(Identity("gateway", seals.identity.key), seals.trust)
    subject = balance_subject(workspace, goal_scope(goal_id))
    async with aclosing(transport.read(LEDGER.name, [subject])) as messages:
        return [message.data async for message, counts in sealed_only(messages, writers) if counts]


def _refused(letters: Sequence[DeadLetter]) -> dict[tuple[str, int], Refused]:
    return {
        (letter.role, letter.sequence): Refused(letter.reason, letter.detail, time_ms(letter.at))
        for letter in letters
        if letter.stream == HOPS.name
    }
