import pytest

from ticket_triage.queues import suggest_queue


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("My invoice is wrong, please refund the charge", "billing"),
        ("I am locked out and cannot login", "access"),
        ("The site is down with a timeout", "outage"),
        ("I have a question", "general"),
    ],
)
def test_suggests_the_queue_whose_words_occur_most(text: str, queue: str) -> None:
    assert suggest_queue(text) == queue
