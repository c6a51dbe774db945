"""What every verb starts from: the workspace, its settings, a connection."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.errors import UserError
from interlock.agents.status import BUCKET, GoalStatus, decoded
from interlock.agents.workspace.broker import login_of
from interlock.agents.workspace.layout import Layout
from interlock.agents.workspace.resting import resting_broker, rests_in_cluster
from interlock.agents.workspace.settings import Settings, load_settings
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.kv import kv_entries
from interlock.bus.streams import HOPS
from interlock.bus.transport import Transport
from interlock.envelope.ids import is_uuid7
from interlock.envelope.subjects import role_subject


class Session:
    """directory: where --dir says, else found upwards. nats: what --nats says. json: answer for machines."""

    def __init__(self, directory: Path | None, nats: str, json: bool, settings: Settings | None = None) -> None:
        """settings: instead of the workspace's own. Raises UserError."""
        if directory is not None and not directory.is_dir():
            raise UserError("no_directory", f"{directory} is no directory", "Check --dir", 2)
        self.layout = Layout(directory.resolve()) if directory is not None else Layout.find(Path())
        self.settings: Settings = settings or load_settings(self.layout.settings)
        self.nats = nats or self.settings.nats
        self.json = json

    @property
    def workspace(self) -> str:
        return self.settings.workspace

    @property
    def checkpoint(self) -> Path:
        """Where the auditor remembers the log that `connected` leads to."""
        running = self.layout.running()
        if running is not None and self.nats in ("", running.url):
            clustered = running.cluster
        else:
            clustered = not self.nats and rests_in_cluster(self.layout)
        return self.layout.cluster_checkpoint if clustered else self.layout.checkpoint

    @asynccontextmanager
    async def connected(self, *, offline: bool = False, agent: str = "human") -> AsyncIterator[Transport]:
        """A connection to the broker: given, configured, or running here. agent: whose key logs in. offline: if
        none runs but this workspace has a store, a server (or cluster) on it, for as long as the command takes. Raises
        UserError or BusError.
        """
        running = self.layout.running()
        url = self.nats or (running.url if running else "")
        async with AsyncExitStack() as stack:
            if not url:
                if not offline:
                    raise UserError("no_broker", "no Interlock runs here", "Run `interlock up`, or give --nats URL")
                url = await stack.enter_async_context(resting_broker(self.layout, self.settings.durability))
            login = login_of(self.layout, agent)
            yield await stack.enter_async_context(JetStreamTransport.connect(url, name=agent, login=login))

    def say(self, text: str, value: Any = None) -> None:
        """The text for people, or with --json the value for machines."""
        if self.json:
            if value is not None:
                sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        else:
            sys.stdout.write(text + "\n")
        sys.stdout.flush()


async def statuses(transport: Transport, workspace: str) -> list[GoalStatus]:
    """All goals of the workspace, oldest first; what is not readable is warned of and left out."""
    found = [
        decoded(entry, GoalStatus)
        async for entry in kv_entries(transport, BUCKET, workspace)
        if not entry.key.endswith(".audit")
    ]
    readable = (status for status in found if status is not None)
    return sorted(readable, key=lambda status: (status.started_at, status.goal_id))


async def find_goal(transport: Transport, workspace: str, name: str) -> GoalStatus:
    """A goal by its id or a unique beginning of it. Raises UserError."""
    if not name:
        raise UserError("bad_usage", "which goal?", "`interlock goals` lists them", 2)
    matching = [status for status in await statuses(transport, workspace) if status.goal_id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UserError("ambiguous_goal", f"{len(matching)} goals begin with {name[:64]}", "Give more of the id", 2)
    intake = role_subject(workspace, "orchestrator", name, "plan") if is_uuid7(name) else ""
    if intake and await transport.last(HOPS.name, intake) is not None:
        detail = f"goal {name} was handed to the orchestrator, which has not taken it up yet"
        raise UserError("not_taken_up", detail, "Try again; `interlock agents` lists who runs")
    raise UserError("unknown_goal", f"there is no goal {name[:64]!r}", "`interlock goals` lists them", 2)
