"""A first answer, drafted by a model and marked as such."""

from anthropic import Anthropic

MODEL = "claude-3-5-haiku-20241022"
NOTICE = "This draft was written by a machine."


def draft_answer(client: Anthropic, ticket: str) -> dict[str, str]:
    """The draft with its mark; a person edits and sends it."""
    message = client.messages.create(
        model=MODEL,
        max_tokens=400,
        messages=[{"role": "user", "content": f"Draft a short, polite first answer to:\n{ticket}"}],
    )
    return {"draft": message.content[0].text, "notice": NOTICE, "generator": MODEL}
