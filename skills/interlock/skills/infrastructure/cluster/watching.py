"""A watch that goes on: over ends, cuts, bookmarks and 410, each object's states in order and none twice."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from interlock.skills.infrastructure.cluster.client import Cluster, Object, path_of
from interlock.skills.infrastructure.cluster.errors import ClusterError, Expired, NoAnswer, from_status

_SERVER_ENDS_AFTER_S = 240
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Event:
    """kind: `seen` (it is there, or it changed) or `gone`. item: its last known state."""

    kind: str
    item: Object


async def watch(
    cluster: Cluster,
    kind: str,
    namespace: str,
    selector: str = "",
    *,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    silence_s: float = _SERVER_ENDS_AFTER_S + 30,
) -> AsyncGenerator[Event, None]:
    """First everything that is there, then what changes; never ends. An object that went while nobody listened is told
    as gone when the list is read anew. Raises ClusterError only for what waiting does not mend (401, 403, 4xx).
    """
    known: dict[str, Object] = {}
    pause, version = _FIRST_PAUSE_S, ""
    while True:
        try:
            if not version:
                items, version = await cluster.list(kind, namespace, selector)
                for event in _differences(known, items):
                    yield event
            # Closed by name: a generator that is only dropped keeps its connection until somebody collects it.
            async with aclosing(_stream(cluster, kind, namespace, selector, version, silence_s)) as stream:
                async for told, reached in stream:
                    pause, version = _FIRST_PAUSE_S, reached
                    if told is not None and _is_news(known, told):
                        yield told
            continue  # the server ends a watch after a while: go on from the version that was reached
        except Expired:
            version = ""
        except ClusterError as error:
            if not (error.retryable or isinstance(error, NoAnswer)):
                raise
            pause = max(pause, error.retry_after_ms / 1000)
        await sleep(pause)
        pause = min(_LONGEST_PAUSE_S, pause * 2)


async def _stream(
    cluster: Cluster, kind: str, namespace: str, selector: str, version: str, silence_s: float
) -> AsyncGenerator[tuple[Event | None, str], None]:
    query = {
        "watch": "true",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(_SERVER_ENDS_AFTER_S),
    }
    if selector:
        query["labelSelector"] = selector
    async with aclosing(cluster.lines(path_of(kind, namespace), query, silence_s)) as lines:
        async for line in lines:
            yield _read(line)


def _read(line: bytes) -> tuple[Event | None, str]:
    """The event, None for a bookmark, and the version that was reached. Raises ClusterError."""
    try:
        told = json.loads(line)
        what, item = told["type"], told["object"]
        if what == "ERROR":
            raise from_status(int(item.get("code", 500)), str(item.get("message", "")), None)
        reached = str(item["metadata"]["resourceVersion"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoAnswer(f"a watch line cannot be read: {error}") from None
    if what == "BOOKMARK":
        return None, reached
    return Event("gone" if what == "DELETED" else "seen", item), reached


def _differences(known: dict[str, Object], items: list[Object]) -> list[Event]:
    now = {item["metadata"]["uid"]: item for item in items}
    gone = [Event("gone", known.pop(uid)) for uid in [uid for uid in known if uid not in now]]
    return gone + [event for item in items if _is_news(known, event := Event("seen", item))]


def _is_news(known: dict[str, Object], event: Event) -> bool:
    uid = event.item["metadata"]["uid"]
    before = known.get(uid)
    if event.kind == "gone":
        known.pop(uid, None)
        return before is not None
    known[uid] = event.item
    return before is None or before["metadata"]["resourceVersion"] != event.item["metadata"]["resourceVersion"]
