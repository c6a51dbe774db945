"""Poison of every class of refusal, in the inbox of every role: each in DEAD within a second, every role alive."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from interlock.agents.supervision.house import AGENTS, house
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.agents.workspace.layout import Layout
from interlock.bus.control.giving import give_order, halts_of
from interlock.bus.deadletters import DeadLetter
from interlock.bus.sender import Identity
from interlock.bus.streams import DEAD, WORKER_ROLES
from interlock.bus.tasks import background
from interlock.bus.transport import Transport
from interlock.envelope.amounts import clock_ms, time_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.children import Draft, root
from interlock.envelope.ids import new_id
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Envelope, PolicyContext
from interlock.envelope.payloads import Escalation, HaltNotice
from interlock.envelope.signing import seal
from interlock.envelope.verification import decode
from scripts.campaigns.crew import crew
from scripts.campaigns.lines import SKILLS
from scripts.campaigns.load import WORKSPACE, Load, all_answer, prepared
from scripts.campaigns.result import Result

MUST_BE = "each in DEAD <= 1 s after its last delivery with its reason, every role alive and at work"
LIMIT_MS = 1_000
WAIT_S = 60.0
AT_ONCE = 20
Wire = tuple[bytes, str, str]  # the bytes, the subject, the message id


class Poisoner:
    """kinds: name → the reasons it may be refused for, and what makes one for the inbox of a role."""

    def __init__(self, layout: Layout, context: PolicyContext, dice: random.Random) -> None:
        self._keys = {agent: load_key(layout, agent) for agent in (*AGENTS, "human")}
        self._stranger = SigningKey.generate()
        self._context = context
        self._dice = dice
        self.kinds: dict[str, tuple[set[str], Callable[[str], Wire]]] = {
            "bytes": ({"malformed"}, lambda role: self._raw(role, dice.randbytes(dice.randint(0, 300)))),
            "json": ({"malformed"}, lambda role: self._raw(role, b'{"id": [1, 2.5, "' + b"x" * dice.randint(1, 99) + b'"]}')),
            "deep": ({"malformed"}, lambda role: self._raw(role, b"[" * 5_000)),
            "large": ({"too_large"}, lambda role: self._raw(role, b" " * (256 * 1024 + dice.randint(1, 999)))),
            "spaced": ({"not_canonical", "malformed"}, lambda role: self._wire(role, edit=lambda wire: wire + b" ")),
            "version": ({"unknown_version"}, lambda role: self._wire(role, edit=_version)),
            "unknown key": ({"unknown_key"}, lambda role: self._wire(role, key=self._stranger)),
            "another's key": ({"key_not_for_agent"}, lambda role: self._wire(role, key=self._keys["human"])),
            "signature": ({"bad_signature"}, lambda role: self._wire(role, edit=_other_signature)),
            "subject": ({"wrong_subject"}, lambda role: self._wire(role, subject=_subject(role, "act"))),
            "workspace": ({"wrong_workspace", "wrong_subject"}, lambda role: self._wire(role, workspace="elsewhere")),
            "message id": ({"wrong_message_id"}, lambda role: self._wire(role, message_id=new_id(clock_ms()))),
            "before its key": ({"key_not_yet_valid"}, lambda role: self._wire(role, created_at=timestamp(clock_ms() - 10**7))),
            "expired": (
                {"expired", "key_not_yet_valid"},
                lambda role: self._wire(role, ttl_ms=1, created_at=timestamp(clock_ms() - 7_000)),
            ),
            "from future": ({"from_future"}, lambda role: self._wire(role, created_at=timestamp(clock_ms() + 10**6))),
            "ttl": ({"ttl_too_long"}, lambda role: self._wire(role, ttl_ms=10**9)),
            "trace": ({"trace_mismatch"}, lambda role: self._wire(role, span_id="1234567890abcdef")),
            "policies": (
                {"contract_mismatch"},
                lambda role: self._wire(role, policy_context=replace(context, policy_bundle="0" * 64)),
            ),
            "authority": ({"policy_denied"}, lambda role: self._wire(role, payload=HaltNotice(scope="all", reason="!"))),
            # It may be newer than what has arrived: tried again, and given up half a minute later.
            "unknown contract": (
                {"max_deliveries"},
                lambda role: self._wire(role, policy_context=replace(context, contract_ref="0" * 64)),
            ),
        }  # fmt: skip

    def _raw(self, role: str, data: bytes) -> Wire:
        return data, _subject(role, "escalate"), new_id(clock_ms())

    def _wire(
        self,
        role: str,
        *,
        key: SigningKey | None = None,
        edit: Callable[[bytes], bytes] = lambda wire: wire,
        subject: str = "",
        message_id: str = "",
        payload: Any = None,
        **changes: Any,
    ) -> Wire:
        signer = key or self._keys["gateway"]
        draft = Draft(to=role, intent="escalate", payload=payload or Escalation(code="x", question="?"), step="poison")
        envelope: Envelope = root(
            draft,
            goal_id=new_id(clock_ms()),
            workspace=WORKSPACE,
            trace_id="ab" * 16,
            sender="gateway",
            key_id=signer.key_id,
            now_ms=clock_ms(),
            ttl_ms=60_000,
            policy_context=self._context,
            compliance_tags=[],
        )
        envelope = replace(envelope, **changes)
        place = f"interlock.{WORKSPACE}.{envelope.subject.split('.', 2)[2]}"
        return edit(seal(envelope, signer).wire), subject or place, message_id or envelope.id


def _subject(role: str, intent: str) -> str:
    return f"interlock.{WORKSPACE}.role.{role}.{new_id(clock_ms())}.{intent}"


def _version(wire: bytes) -> bytes:
    content = msgspec.json.decode(wire)
    content["specVersion"] = "99.0"
    return canonical(content)


def _other_signature(wire: bytes) -> bytes:
    content = msgspec.json.decode(wire)
    content["ttlMs"] += 1
    return canonical(content)


class Sent(msgspec.Struct):
    """What was put into whose inbox, and where it is stored."""

    kind: str
    role: str
    reasons: set[str]


async def campaign(root: Path, amount: int, seed: int) -> Result:
    layout, settings = prepared(root, "fast")
    async with house(layout, settings, agents=()) as place:
        transport = place.transport
        with crew(root, place.url, root / "points", SKILLS):
            await all_answer(transport)
            load = Load(transport, root)
            poisoner = Poisoner(layout, await context_of(load), random.Random(seed))
            resumed: list[int] = []
            async with background() as group:
                group.start_soon(on_call, transport, layout, resumed)
                sent = await spread(transport, poisoner, amount)
                letters = await letters_of(transport, sent, resumed)
                await all_answer(transport)
                await load.wait(await load.submit())
    failures, late, by_kind = [], [], dict.fromkeys(poisoner.kinds, 0)
    for sequence, one in sent.items():
        letter = letters.get(sequence)
        if letter is None:
            failures.append(f"{one.kind} in the inbox of {one.role} is not in DEAD")
            continue
        found, after_ms = letter
        by_kind[one.kind] += 1
        late.append(after_ms)
        if found.reason not in one.reasons:
            failures.append(f"{one.kind} in the inbox of {one.role}: {found.reason} ({found.detail[:100]})")
        elif after_ms > LIMIT_MS:
            failures.append(f"{one.kind} in the inbox of {one.role}: in DEAD after {after_ms} ms")
    failures += load.failures()
    figures: dict[str, float] = {"kinds": len(by_kind), "buried": len(letters), "halts resumed": len(resumed)}
    figures |= {"median ms": statistics.median(late), "latest ms": max(late)} if late else {}
    return Result(campaign="poison", amount=len(sent), must_be=MUST_BE, figures=figures, failures=failures[:20])


async def on_call(transport: Transport, layout: Layout, resumed: list[int]) -> None:
    """A human who resumes what is halted: a broken signature in a trusted name halts the orchestrator, as it must. What
    lies in its inbox is kept until then. resumed: when, in ms.
    """
    human, trust = Identity("human", load_key(layout, "human")), load_trust(layout)
    while True:
        for order in (await halts_of(transport, WORKSPACE, trust)).in_force:
            await give_order(transport, WORKSPACE, human, "resume", order.scope, "the poison is known")
            resumed.append(clock_ms())
        await anyio.sleep(0.2)


async def context_of(load: Load) -> PolicyContext:
    """What a real goal's envelopes bear."""
    goal_id = await load.submit()
    await load.wait(goal_id)
    subject = f"interlock.{WORKSPACE}.role.orchestrator.{goal_id}.plan"
    message = await load.transport.last("HOPS", subject)
    if message is None:
        raise RuntimeError("the goal has no intake")
    found = decode(message.data).envelope
    if found is None:
        raise RuntimeError("the goal's intake cannot be read")
    return found.policy_context


async def spread(transport: Transport, poisoner: Poisoner, amount: int) -> dict[int, Sent]:
    sent: dict[int, Sent] = {}
    kinds = list(poisoner.kinds)
    for number in range(amount):
        kind, role = kinds[number % len(kinds)], WORKER_ROLES[(number + number // len(kinds)) % len(WORKER_ROLES)]
        reasons, make = poisoner.kinds[kind]
        data, subject, message_id = make(role)
        ack = await transport.publish(subject, data, message_id=message_id)
        sent[ack.sequence] = Sent(kind, role, reasons)
        if number % AT_ONCE == AT_ONCE - 1:
            await anyio.sleep(0.2)
    return sent


async def letters_of(
    transport: Transport, sent: dict[int, Sent], resumed: list[int]
) -> dict[int, tuple[DeadLetter, int]]:
    """By the sequence of the original: its dead letter, and ms from its last delivery to its burial. What was delivered
    again waited for its backoff between, of which only the burial's own time is known. What lay in the orchestrator's inbox
    while that was halted counts from when it was resumed.
    """
    wanted = set(sent)
    found: dict[int, tuple[DeadLetter, int]] = {}
    with anyio.move_on_after(WAIT_S):
        while wanted - found.keys():
            await anyio.sleep(0.5)
            async for message in transport.read(DEAD.name, [f"interlock.{WORKSPACE}.dead.>"]):
                letter = msgspec.json.decode(message.data, type=DeadLetter)
                since = time_ms(letter.stored_at if letter.delivered == 1 else letter.at)
                if letter.sequence in sent and sent[letter.sequence].role == "orchestrator":
                    since = max(since, *(at for at in resumed if at <= message.stored_ms), 0)
                if letter.stream == "HOPS":
                    found[letter.sequence] = (letter, message.stored_ms - since)
    return {sequence: letter for sequence, letter in found.items() if sequence in wanted}
