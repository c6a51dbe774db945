"""Who waits for an answer to which goal. Pure: time is given.

A durable consumer does not carry the publisher's reply subject, so a gateway also hears the plain messages and keeps,
for a while, who wants an answer to which bytes. Whichever gateway handles the stored message answers.
"""

from __future__ import annotations

from collections import OrderedDict

from interlock.bus.transport import MESSAGE_ID, Message
from interlock.envelope.ids import sha256_hex
from interlock.envelope.subjects import PREFIX

WAIT_MS = 60_000
MAX_WAITING = 10_000
MAX_ANSWERS = 1_000
MAX_REPLY = 256


class Replies:
    """Bounded in number and time. A message id makes repeats the same goal, which the broker stores once: who asks again
    gets the answer that was given.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[tuple[str, int]]] = OrderedDict()
        self._count = 0
        self._answers: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._refusals: OrderedDict[str, tuple[bytes, int]] = OrderedDict()

    def ask(self, message: Message, now_ms: int) -> bytes | None:
        """Remembers that an answer is wanted, or gives it if it was given before."""
        if not may_answer(message.reply):
            return None
        key = key_of(message)
        given = self._answers.get(key)
        if given is not None and given[1] > now_ms:
            return given[0]
        self._waiting.setdefault(key, []).append((message.reply, now_ms + WAIT_MS))
        self._count += 1
        while self._count > MAX_WAITING or self._is_stale(now_ms):
            self._count -= len(self._waiting.popitem(last=False)[1])
        return None

    def is_asked(self, message: Message, now_ms: int) -> bool:
        """Whether somebody waits for the answer to this message."""
        return any(until_ms > now_ms for _, until_ms in self._waiting.get(key_of(message), ()))

    def refused(self, message: Message, answer: bytes, now_ms: int) -> None:
        """All who waited were told no: that stands for every copy of the message which is stored by now, also for those
        that wait for the end of a halt. Who asks from now on asks anew.
        """
        if message.headers.get(MESSAGE_ID):
            self._refusals[key_of(message)] = (answer, now_ms)
            while len(self._refusals) > MAX_ANSWERS:
                self._refusals.popitem(last=False)

    def refusal_of(self, message: Message) -> bytes | None:
        """What was told of a stored message, if it is a copy of one that was refused."""
        told = self._refusals.get(key_of(message))
        return told[0] if told is not None and message.stored_ms <= told[1] else None

    def take(self, message: Message, now_ms: int) -> list[str]:
        """Where the answer to this message goes: to all who asked for the goal of this id, or, where no id was chosen, to
        the one who asked first, since each of the same bytes is a goal of its own.
        """
        key = key_of(message)
        waiting = self._waiting.pop(key, [])
        alive = [entry for entry in waiting if entry[1] > now_ms]
        taken = alive if message.headers.get(MESSAGE_ID) else alive[:1]
        kept = alive[len(taken) :]
        if kept:
            self._waiting[key] = kept
        self._count += len(kept) - len(waiting)
        return [reply for reply, _ in taken]

    def answered(self, message: Message, answer: bytes, until_ms: int) -> None:
        """Keeps the answer for who asks until then. A refusal is not kept for longer than the broker drops repeats: what is
        stored after that is judged anew.
        """
        if not message.headers.get(MESSAGE_ID):
            return
        self._answers[key_of(message)] = (answer, until_ms)
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def _is_stale(self, now_ms: int) -> bool:
        oldest = next(iter(self._waiting.values()), [])
        return bool(oldest) and oldest[-1][1] <= now_ms


def key_of(message: Message) -> str:
    """The same for the plain and the stored form of a message."""
    chosen = message.headers.get(MESSAGE_ID, "").encode("utf-8", "surrogatepass")
    return sha256_hex(chosen + b"\n" + message.data)


def may_answer(reply: str) -> bool:
    """A stranger chooses where the answer goes, and a gateway may publish where strangers may not: answers never go to
    the system's own subjects (`interlock.…`) or the broker's (`$JS.…`, `$KV.…`).
    """
    tokens = reply.split(".")
    plain = all(token and token.isprintable() and not set(token) & set(" *>") for token in tokens)
    return plain and len(reply) <= MAX_REPLY and tokens[0] != PREFIX and not reply.startswith("$")
