"""Ids and subjects: only what is allow-listed reaches a subject; derived ids repeat and never meet."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.ids import derived_id, is_agent_id, is_token, is_uuid7, new_id, role_of, span_of
from interlock.envelope.subjects import INTENTS, ROLES, role_subject, workspace_subject
from tests.envelope.samples import GOAL, NOW, id_time_ms

BAD_TOKENS = {
    "empty": "",
    "capital": "A",
    "dot": "a.b.c",
    "star": "*",
    "star inside": "a*",
    "greater": ">",
    "space before": " a",
    "space after": "a ",
    "tab": "a\t",
    "newline after": "a\n",
    "newline before": "\na",
    "return": "a\r",
    "NUL": "a\x00",
    "NUL alone": "\x00",
    "dash first": "-a",
    "dollar": "$sys",
    "slash": "a/b",
    "underscore": "a_b",
    "too long": "a" * 64,
    "Cyrillic a": "а",
    "full width": "ａ",
    "accent": "é",
    "combining accent": "e\u0301",
    "Arabic digit": "a٣",
    "right-to-left override": "a\u202eb",
    "right-to-left mark": "a\u200f",
    "zero width space": "a\u200b",
    "byte order mark": "\ufeffa",
    "next line": "a\u0085",
    "line separator": "a\u2028",
    "long s, which lowers to s": "ſ",
    "Kelvin, which lowers to k": "\u212a",
    "lone surrogate": "\ud800",
}


@pytest.mark.parametrize("text", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_nothing_strange_reaches_a_subject(text: str) -> None:
    assert not is_token(text)
    assert not is_agent_id(f"executor.{text}")
    for tokens in ((text, "executor", GOAL, "act"), ("default", text, GOAL, "act"), ("default", "executor", text, "act"), ("default", "executor", GOAL, text)):  # fmt: skip
        with pytest.raises(ValueError, match="subject token"):
            role_subject(*tokens)
    with pytest.raises(ValueError, match="not a workspace"):
        workspace_subject(text, "role", ">")


@given(st.text(max_size=70))
def test_tokens_are_exactly_those_of_the_allow_list(text: str) -> None:
    allowed = 1 <= len(text) <= 63 and set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and text[0] != "-"
    assert is_token(text) == allowed
    assert is_agent_id(text) == (allowed or _is_pair(text))


def _is_pair(text: str) -> bool:
    return text.count(".") == 1 and all(is_token(part) for part in text.split("."))


@pytest.mark.parametrize("text", ["a", "a" * 63, "0", "a-", "executor-2"])
def test_tokens_and_agents_of_every_length(text: str) -> None:
    assert is_token(text)
    assert is_agent_id(text)
    assert is_agent_id(f"{text}.{text}")
    assert role_of(f"{text}.{text}") == text
    assert role_subject(text, text, GOAL, "act").count(".") == 5


def test_every_role_and_intent_has_its_subject() -> None:
    subjects = {role_subject("default", role, GOAL, intent) for role in ROLES for intent in INTENTS}
    assert len(subjects) == len(ROLES) * len(INTENTS)
    assert f"interlock.default.role.executor.{GOAL}.act" in subjects
    assert workspace_subject("default", "role", "*", ">") == "interlock.default.role.*.>"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ids_are_uuid7_of_their_time(time_ms: int, random: bytes) -> None:
    text = new_id(time_ms, random)
    assert is_uuid7(text)
    assert id_time_ms(text) == time_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOAL.upper(),
        GOAL + "\n",
        GOAL[:-1],
        GOAL.replace("-", ""),
        GOAL[:14] + "4" + GOAL[15:],
        GOAL[:19] + "c" + GOAL[20:],
    ],
    ids=["empty", "capitals", "newline", "short", "no dashes", "version 4", "other variant"],
)
def test_what_is_no_uuid7(text: str) -> None:
    assert is_uuid7(GOAL)
    assert not is_uuid7(text)


def test_uuid7_by_the_sample_of_the_rfc() -> None:
    """RFC 9562, appendix A.6: 2022-02-22T19:22:22.000Z, random 0xCC3 and 0x18C4DC0C0C07398F."""
    random = bytes.fromhex("0cc3" + "18c4dc0c0c07398f")
    assert new_id(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(st.lists(st.tuples(st.sampled_from(["executor", "executor.2", "evaluator"]), st.text(max_size=9)), unique=True))
def test_derived_ids_repeat_and_never_meet(steps: list[tuple[str, str]]) -> None:
    ids = [derived_id("acme", GOAL, sender, step) for sender, step in steps]
    assert ids == [derived_id("acme", GOAL, sender, step) for sender, step in steps]
    assert len(set(ids)) == len(steps)
    assert all(is_uuid7(text) and id_time_ms(text) == NOW for text in ids)
    assert not set(ids) & {derived_id("acme", new_id(NOW, b"other-goal"), sender, step) for sender, step in steps}
    assert not set(ids) & {derived_id("globex", GOAL, sender, step) for sender, step in steps}, "another workspace"


def test_derived_ids_never_change_between_versions() -> None:
    """A redelivery may be handled by a newer release: it must still make the same children."""
    assert derived_id("acme", GOAL, "executor", "result") == "019aa4b6-4500-7e70-876e-af449784b0ce"
    assert span_of(GOAL) == "32b7fcb6bfe2a811"


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_spans_are_valid_for_w3c(time_ms: int, random: bytes) -> None:
    span = span_of(new_id(time_ms, random))
    assert re.fullmatch("[0-9a-f]{16}", span)
    assert span != "0" * 16
