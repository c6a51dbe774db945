"""Redaction against a corpus: of what must not be seen nothing is, and hardly anything else is masked."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.bus.telemetry.redaction import MASK, MAX_CHARS, is_sensitive_name, redact
from tests.bus.telemetry.harmless_lines import harmless
from tests.bus.telemetry.sensitive_lines import sensitive

SENSITIVE = sensitive()
HARMLESS = harmless()


def leaks(secret: str, shown: str) -> bool:
    """Whether the secret, or twelve characters of it in a row, can still be read."""
    pieces = [secret[at : at + 12] for at in range(max(1, len(secret) - 11))]
    return any(piece in shown for piece in pieces)


def test_the_corpus_is_large_enough_and_means_what_it_says() -> None:
    assert len(SENSITIVE) >= 200 and len(set(HARMLESS)) >= 200
    assert all(secret in line.replace('\\"', '"') for secret, line in SENSITIVE)


def test_nothing_that_must_not_be_seen_is_seen() -> None:
    leaking = [line for secret, line in SENSITIVE if leaks(secret, redact(line))]
    assert leaking == []


def test_at_most_two_in_a_hundred_harmless_lines_are_masked() -> None:
    masked = [(line, redact(line)) for line in HARMLESS if redact(line) != line]
    assert len(masked) * 50 <= len(HARMLESS), masked


def test_the_rest_of_a_line_is_left() -> None:
    shown = redact("connecting with password=hunter2000 to db-1 as svc")
    assert shown == f"connecting with password={MASK} to db-1 as svc"
    assert redact("postgres://app:s3cr3tpw@db.internal:5432/app") == f"postgres://{MASK}@db.internal:5432/app"


@pytest.mark.parametrize("wrapped", ["({})", "[{}]", '"{}"', "<{}>", "{}.", "{},", "a\n{}\nb", "x={}", "{0} {0}"])
def test_a_token_is_found_whatever_stands_around_it(wrapped: str) -> None:
    secret = next(secret for secret, _ in SENSITIVE if secret.startswith("ghp_"))
    assert not leaks(secret, redact(wrapped.format(secret)))


@given(st.text(max_size=300))
def test_whatever_comes_it_answers_and_once_is_enough(text: str) -> None:
    once = redact(text)
    assert redact(once) == once or MASK in once


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "password=" * 20_000, "=" * 60_000, "+1 " * 20_000, "1234 " * 12_000, "a@" * 30_000, "://" * 20_000,
     "-----BEGIN PRIVATE KEY-----" * 2_000, '"token": "' * 6_000, "eyJ" * 20_000, "token is " * 7_000, "--token " * 8_000,
     "A-" * 30_000 + "password", "DE12 " * 12_000, "user.name_" * 6_000, "sk-" * 20_000, "\\\"password\\\":" * 4_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    shown = redact(text)
    assert time.process_time() - began < 2.0
    assert len(shown) <= 2 * MAX_CHARS


@pytest.mark.parametrize(
    ("name", "sensitive_"),
    [
        ("password", True), ("db_password", True), ("X-Api-Key", True), ("Authorization", True), ("email", True),
        ("goal", False), ("tokens", False), ("key_id", False), ("message", False), ("span_id", False),
    ],
)  # fmt: skip
def test_names_of_fields(name: str, sensitive_: bool) -> None:
    assert is_sensitive_name(name) is sensitive_
