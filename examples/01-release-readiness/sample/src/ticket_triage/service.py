"""The HTTP service."""

import os

from anthropic import Anthropic
from fastapi import FastAPI
from opentelemetry import trace
from prometheus_client import Counter, make_asgi_app

from ticket_triage.answers import draft_answer
from ticket_triage.queues import suggest_queue

app = FastAPI(title="ticket-triage")
app.mount("/metrics", make_asgi_app())
suggestions = Counter("triage_suggestions", "Suggestions made", ["queue"])
tracer = trace.get_tracer("ticket_triage")


@app.post("/suggestions")
def suggest(ticket: dict[str, str]) -> dict[str, str]:
    """A queue and a draft for one ticket: `{"text": ...}`."""
    with tracer.start_as_current_span("suggest"):
        queue = suggest_queue(ticket["text"])
        suggestions.labels(queue).inc()
        client = Anthropic(api_key=os.environ["ANTHROPIC_API_KEY"])
        return {"queue": queue, **draft_answer(client, ticket["text"])}
