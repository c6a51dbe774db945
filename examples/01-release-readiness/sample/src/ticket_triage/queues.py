"""Which queue a ticket belongs to, by the words it uses."""

QUEUES = {
    "billing": ("invoice", "refund", "charge", "payment"),
    "access": ("login", "locked", "reset", "two-factor"),
    "outage": ("down", "error", "unavailable", "timeout"),
}


def suggest_queue(text: str) -> str:
    """The queue whose words occur most often; `general` if none does."""
    lowered = text.lower()
    counts = {queue: sum(lowered.count(word) for word in words) for queue, words in QUEUES.items()}
    best = max(counts, key=lambda queue: counts[queue])
    return best if counts[best] else "general"
