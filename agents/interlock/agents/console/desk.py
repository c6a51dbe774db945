"""What every page works with: the workspace, a connection to its bus, who is logged in, what is shown from memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from interlock.agents.cli.session import Session
from interlock.agents.console.challenge import Challenges, check_human
from interlock.agents.console.feed import Feed
from interlock.agents.console.goal_hops import GoalHops
from interlock.agents.console.sessions import Visit, Visits
from interlock.agents.console.settings import ConsoleSettings
from interlock.agents.costs.attribution import Item
from interlock.agents.errors import UserError
from interlock.agents.workspace.keys import load_key, load_trust
from interlock.bus.sender import Identity
from interlock.bus.transport import Transport
from interlock.envelope.trust import Trust
from interlock.envelope.verification import Limits

T = TypeVar("T")
MOST_KEPT = 32


class Desk:
    """session: the workspace and its settings, as a CLI verb has them; origins: under which this console is known."""

    def __init__(self, session: Session, transport: Transport, origins: frozenset[str], url: str) -> None:
        self.session = session
        self.transport = transport
        self.origins = origins
        self.url = url
        self.feed = Feed(transport, session.workspace, self.settings.streams)
        self.visits = Visits(self.settings.session_ms, self.settings.idle_ms)
        self.challenges = Challenges()
        self.kept = Kept(self.feed)
        self.hops = GoalHops()
        self.ended_costs: dict[str, tuple[int, list[Item]]] = {}
        self.verifying = anyio.CapacityLimiter(1)
        self._trust: tuple[tuple[int, int], Trust] | None = None

    @property
    def settings(self) -> ConsoleSettings:
        return self.session.settings.console

    @property
    def workspace(self) -> str:
        return self.session.workspace

    @property
    def limits(self) -> Limits:
        return self.session.settings.hops.limits

    @property
    def now_ms(self) -> int:
        return self.transport.clock.now_ms()

    @property
    def trust(self) -> Trust:
        """The store on disk as it is now; verified anew when the file is another. Raises UserError."""
        try:
            stat = self.session.layout.trust.stat()
        except OSError:
            return load_trust(self.session.layout)  # which says what is wrong
        seal = stat.st_mtime_ns, stat.st_ino
        if self._trust is None or self._trust[0] != seal:
            self._trust = seal, load_trust(self.session.layout)
        return self._trust[1]

    def identity(self, visit: Visit) -> Identity:
        """The key that signs what this human asks for. Raises UserError where it is not here: the console signs with no
        other, and its human's CLI does what it cannot.
        """
        try:
            key = load_key(self.session.layout, visit.agent)
        except UserError as error:
            raise _no_key(visit.agent) from error
        found = self.trust.find(key.key_id)
        if found is None or found.agent != visit.agent:
            raise _no_key(visit.agent)
        check_human(visit.agent, key.key_id, self.trust, self.now_ms)
        return Identity(visit.agent, key)

    def is_welcome(self, visit: Visit) -> bool:
        """Whether the key that logged in is still good; a proxy's users are as good as their agent's."""
        try:
            key = visit.key_id or next(
                key.key_id
                for record in self.trust.store.agents
                if record.agent == visit.agent
                for key in record.keys
                if key.revoked_at is None
            )
            check_human(visit.agent, key, self.trust, self.now_ms)
        except (UserError, StopIteration):
            return False
        return True


class Kept:
    """What was read for one browser serves all others until its topic changes. Bounded; one reads, the others wait."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._values: OrderedDict[tuple[str, str], tuple[int, Any]] = OrderedDict()
        self._locks: dict[tuple[str, str], tuple[anyio.Lock, list[None]]] = {}

    async def get(self, topic: str, what: str, load: Callable[[], Awaitable[T]]) -> T:
        """What load gives, or gave since the topic last changed. Raises what load raises."""
        place = topic, what
        lock, waiting = self._locks.setdefault(place, (anyio.Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                version = self._feed.version(topic)
                known = self._values.get(place)
                if known is not None and version and known[0] == version:
                    self._values.move_to_end(place)
                    value: T = known[1]
                    return value
                value = await load()
                self._values[place] = version, value
                while len(self._values) > MOST_KEPT:
                    self._values.popitem(last=False)
                return value
        finally:
            waiting.pop()
            if not waiting:
                self._locks.pop(place, None)


def _no_key(agent: str) -> UserError:
    detail = f"the key of {agent} is not in this workspace, and the console signs with no other"
    return UserError("no_key_here", detail, f"Do it with the CLI where the key is: --as {agent}", 2)
