"""Server-sent events: the names of what has changed, so that the page fetches it anew. They carry nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.responses import Response

from interlock.agents.console.feed import MAX_TOPICS, TooMany, is_topic
from interlock.agents.console.pages import desk_of, visit_of

if TYPE_CHECKING:
    from sse_starlette import ServerSentEvent
    from starlette.requests import Request

SEND_S = 10.0
LOOK_S = 5.0


async def events(request: Request) -> Response:
    """?topics=goals,broker: at most MAX_TOPICS. Ends with its visit; a browser that takes nothing for SEND_S is dropped."""
    from sse_starlette import EventSourceResponse, ServerSentEvent

    desk, visit = desk_of(request), visit_of(request)
    if visit is None:
        return Response("interlock: not logged in\n", 401)
    topics = frozenset(request.query_params.get("topics", "").split(","))
    if len(topics) > MAX_TOPICS or not all(map(is_topic, topics)):
        return Response("interlock: no such topics\n", 400)
    if desk.feed.listeners >= desk.settings.streams:
        return Response("interlock: too many browsers listen\n", 503, {"Retry-After": "10"})

    async def changes() -> AsyncIterator[ServerSentEvent]:
        try:
            with desk.feed.listening(topics) as listener:
                while not desk.feed.closed and visit_of(request, used=False) is visit:
                    for topic in sorted(await listener.wait(LOOK_S)):
                        yield ServerSentEvent(event=topic.partition(".")[0], data="changed")
        except TooMany:
            return

    return EventSourceResponse(changes(), ping=15, send_timeout=SEND_S)
