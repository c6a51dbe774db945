"""A process that holds the executor's real key and connection, and tries everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from interlock.bus.errors import BusError
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.ledger.balance import Answer, Request
from interlock.bus.relays import ASKED
from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.amounts import Amount, Budget, clock_ms, timestamp
from interlock.envelope.canonical import canonical
from interlock.envelope.children import Draft, derive, origin_of
from interlock.envelope.ids import derived_id, new_id, span_of
from interlock.envelope.keys import SigningKey
from interlock.envelope.model import Envelope
from interlock.envelope.payloads import Escalation, HumanDecision, Task
from interlock.envelope.signing import Sealed, seal
from interlock.envelope.subjects import workspace_subject
from interlock.envelope.verification import decode

WEALTH = Amount(10**12, 10**12, 10**12, 10**12)
FORTUNE = Amount(10**11, 10**11, 10**11, 10**11)
CHUNK = "$O.artifacts.C.hijacked"


class Hijacker:
    """seen: the task envelope it was given as an executor. told: what the broker or the ledger said to each attempt."""

    def __init__(self, transport: JetStreamTransport, key: SigningKey, seen: Message, others_key: str) -> None:
        self.transport = transport
        self.key = key
        self.seen = seen
        found = decode(seen.data)
        assert found.envelope is not None
        self.task: Envelope = found.envelope
        self.origin = origin_of(found.envelope, found.digest)
        self.others_key = others_key
        self.told: dict[str, str] = {}

    async def attempt(self, name: str, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            answer = await call()
            self.told[name] = answer if isinstance(answer, str) else "done"
        except BusError as error:
            self.told[name] = error.reason

    def subject(self, *tokens: str) -> str:
        return workspace_subject(self.task.workspace, *tokens)

    # What the broker refuses

    async def publish_where_it_may_not(self) -> None:
        goal = self.task.goal_id
        places = {
            "a task to an executor": self.subject("role", "executor", goal, "act"),
            "a plan to the orchestrator": self.subject("role", "orchestrator", goal, "plan"),
            "a decision to the orchestrator": self.subject("role", "orchestrator", goal, "observe"),
            "a balance": self.subject("ledger", "goal", goal),
            "an audit record": self.subject("audit", "refusal"),
            "an event of the goal": self.subject("journal", "goal", goal),
            "a trust store": f"$KV.trust.{self.task.workspace}",
            "a status": f"$KV.goals.{self.task.workspace}.{goal}",
            "a halt": f"$KV.control.{self.task.workspace}.everything",
            "a goal": self.subject("goal", "submit"),
        }
        for name, subject in places.items():
            await self.attempt(f"publish {name}", partial(self.transport.publish, subject, b"{}"))

    async def manage(self) -> None:
        for verb in ("STREAM.DELETE.AUDIT", "STREAM.PURGE.HOPS", "CONSUMER.CREATE.HOPS.mine", "STREAM.INFO.LEDGER"):
            await self.attempt(f"api {verb}", partial(self.transport.api, verb, {}, msgspec.Raw))
        await self.attempt("read HOPS", lambda: anext(self.transport.read("HOPS", [self.subject("role", ">")])))
        balance = self.subject("ledger", "goal", self.task.goal_id)
        await self.attempt("read a balance", lambda: self.transport.last("LEDGER", balance))

    # What the ledger refuses

    async def spend(self) -> None:
        scope = f"goal.{self.task.goal_id}"
        far = clock_ms() + 10**9
        asked = {
            "reserve more than there is": Request(op="reserve", scope=scope, key="mine", amount=WEALTH, expires_ms=far),
            "reserve of the day": Request(op="reserve", scope="day.2000-01-01", key="mine", amount=WEALTH),
            "open a scope": Request(op="open", scope="goal.mine", parent="day.2000-01-01", amount=WEALTH),
            "end the goal's scope": Request(op="end", scope=scope),
            "settle what was never reserved": Request(op="settle", scope=scope, key="nothing"),
        }
        for name, request in asked.items():
            await self.attempt(name, partial(self._ask, request))

    async def spend_what_was_forged(self) -> None:
        """A little first, so that a writer that finds other messages than its own on the subject reads them."""
        scope, far = f"goal.{self.task.goal_id}", clock_ms() + 10**9
        for n in range(3):
            await self._ask(
                Request(op="reserve", scope=scope, key=f"little-{n}", amount=Amount(0, 0, 0, 1), expires_ms=far)
            )
        much = Request(op="reserve", scope=scope, key="much", amount=FORTUNE, expires_ms=far)
        await self.attempt("reserve what was forged", lambda: self._ask(much))

    async def _ask(self, request: Request) -> str:
        subject = self.subject("request", "ledger")
        answer = await self.transport.request(subject, msgspec.json.encode(request), timeout_ms=5_000, headers=ASKED)
        decoded = msgspec.json.decode(answer.data, type=Answer)
        return "granted" if decoded.granted else decoded.reason

    # What the broker repeats with its own rights, and the reader passes over

    async def relay(self, data: bytes, target: str, *, bare: bool) -> None:
        """Stores bytes where it may, and has the broker answer a read of them to a subject where it may not."""
        stored = await self.transport.publish(CHUNK, data, headers={MESSAGE_ID: new_id(clock_ms())})
        request: dict[str, Any] = {"seq": stored.sequence} | ({"no_hdr": True} if bare else {})
        get = "$JS.API.DIRECT.GET.OBJ_artifacts"
        await self.transport.send(get, msgspec.json.encode(request), reply=target)

    async def relay_everything(self, goal: bytes) -> None:
        goal_id = self.task.goal_id
        rich = {"scope": f"goal.{goal_id}", "limit": list(msgspec.structs.astuple(WEALTH))}
        ended = {"type": "DeadlinePassed", "cause": "deadline", "at_ms": clock_ms()}
        for bare in (True, False):
            await self.relay(msgspec.json.encode(rich), self.subject("ledger", "goal", goal_id), bare=bare)
            await self.relay(msgspec.json.encode(ended), self.subject("journal", "goal", goal_id), bare=bare)
            await self.relay(
                msgspec.json.encode(Request(op="end", scope=f"goal.{goal_id}")),
                self.subject("request", "ledger"),
                bare=bare,
            )
            await self.relay(goal, self.subject("goal", "submit"), bare=bare)
            await self.relay(self.seen.data, self.task.subject, bare=bare)
            await self.relay(self.a_task_of_its_own().wire, self.task.subject, bare=bare)
            await self.relay(b"{}", f"$KV.trust.{self.task.workspace}", bare=bare)

    def a_task_of_its_own(self) -> Sealed:
        """The task it was given, with other input, signed by the only key it has."""
        assert isinstance(self.task.payload, Task)
        changed = replace(self.task.payload, input={**self.task.payload.input, "line": "stolen"})
        return seal(replace(self.task, payload=changed), self.key)

    # What receivers and the auditor refuse

    def envelopes(self) -> dict[str, Sealed]:
        budget = Budget(thinking_tokens=10**9, cost_usd="999", wall_ms=10**9, actions=10**6)
        rights = replace(self.task.policy_context, capabilities=["*"])
        elsewhere = workspace_subject(self.task.workspace, "role", "human", self.task.goal_id, "escalate")
        approval = HumanDecision(about="anything", decision="allow", reason="I say so", by="human")
        own = self.child("own")
        return {
            "key_not_for_agent": self.child("as the evaluator", sender="evaluator"),
            "bad_signature": _reworded(own, sender="evaluator", key_id=self.others_key),
            "policy_denied: budget": self.child("more budget", budget=budget, thinking_budget=budget.thinking_tokens),
            "bad_parent: deadline": self.child("more time", ttl_ms=self.task.ttl_ms + 600_000),
            "bad_parent: rights": self.child("more rights", policy_context=rights),
            "bad_parent: none": self.child("from nowhere", parent_id=UNSET, parent_digest=UNSET),
            "bad_parent: digest": self.child("of another", parent_digest="0" * 64),
            "policy_denied": self.child("a decision", payload=approval),
            "wrong_subject": self.child("elsewhere", subject=elsewhere),
            "expired": self.child("late", ttl_ms=1, created_at=timestamp(clock_ms() - 30_000)),
            "key_not_yet_valid": self.child("before its key", created_at="2020-01-01T00:00:00.000Z"),
        }

    def child(self, step: str, **tampered: Any) -> Sealed:
        step = step.replace(" ", "_")
        payload = Escalation(code="hijacked", question=step)
        draft = Draft(to="orchestrator", intent="escalate", payload=payload, step=step)
        made = derive(self.origin, draft, sender="executor", key_id=self.key.key_id, now_ms=clock_ms())
        sender = tampered.get("sender", "executor")
        own_id = derived_id(self.task.workspace, self.task.id, sender, step)
        return seal(replace(made, **({"id": own_id, "span_id": span_of(own_id)} | tampered)), self.key)

    async def send_all(self) -> dict[str, int]:
        """Each tampered envelope on the one subject where it may publish; sequence by what is wrong with it."""
        subject = self.subject("role", "orchestrator", self.task.goal_id, "escalate")
        places = {}
        for name, sealed in self.envelopes().items():
            ack = await self.transport.publish(subject, sealed.wire, message_id=sealed.envelope.id)
            assert not ack.duplicate
            places[name] = ack.sequence
        again = self.child("as the evaluator", sender="evaluator")
        ack = await self.transport.publish(subject, again.wire, message_id=new_id(clock_ms()))
        return places | {"replayed": ack.sequence}

    async def everything(self, goal: bytes) -> dict[str, int]:
        await self.publish_where_it_may_not()
        await self.manage()
        await self.spend()
        places = await self.send_all()
        await self.relay_everything(goal)
        await self.spend_what_was_forged()
        return places


def _reworded(sealed: Sealed, **changes: Any) -> Sealed:
    """Changed after signing."""
    envelope = replace(sealed.envelope, **changes)
    return Sealed(envelope, canonical(envelope), "")
