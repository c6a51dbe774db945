"""The short texts of an envelope: what its JSON Schema says of each is what decoding holds it to, one by one and together."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.envelope.canonical import canonical
from interlock.envelope.model import Envelope
from interlock.envelope.schema import envelope_schema
from interlock.envelope.signing import seal
from interlock.envelope.spelling import check_spelling
from interlock.envelope.verdict import Reason
from interlock.envelope.verification import decode
from tests.envelope.samples import ENVELOPES, KEYS
from tests.envelope.strategies import envelopes

SCHEMA = envelope_schema()["$defs"]
INTAKE, TASK = (msgspec.json.decode(ENVELOPES[kind].wire) for kind in ("intake", "task"))
# A digest of an SBOM and two recipients, which few envelopes have.
RICH = TASK | {"sbomHash": "ab" * 32, "to": ["executor", "auditor"]}


def patterns(name: str) -> list[tuple[str, str]]:
    """(field, pattern) of a type, by its schema."""
    return [(field, about["pattern"]) for field, about in SCHEMA[name]["properties"].items() if "pattern" in about]


PLACES = [
    *((field, pattern) for field, pattern in patterns("Envelope")),
    *((f"costEstimate.{field}", pattern) for field, pattern in patterns("CostEstimate")),
    ("to", next(one["pattern"] for one in SCHEMA["Envelope"]["properties"]["to"]["anyOf"] if "pattern" in one)),
]
BAD = ["", " ", "UNSET", "None", "\x00", "Ünset", "a" * 300, "['executor']"]


def placed(wire: dict[str, Any], place: str, text: object) -> bytes:
    head, _, tail = place.partition(".")
    return canonical(wire | {head: wire[head] | {tail: text} if tail else text})


def test_every_text_with_a_form_is_known_here() -> None:
    assert {place for place, _ in PLACES} == {
        "specVersion", "id", "workspace", "goalId", "traceId", "spanId", "parentId", "parentDigest", "from", "to",
        "createdAt", "sbomHash", "keyId", "signature", "costEstimate.estimatedCostUSD", "costEstimate.carbonGramsCO2",
    }  # fmt: skip


@pytest.mark.parametrize("wire", [INTAKE, TASK, RICH], ids=["intake", "task", "rich"])
@pytest.mark.parametrize(("place", "pattern"), PLACES)
def test_a_text_of_another_form_is_refused_and_named(wire: dict[str, Any], place: str, pattern: str) -> None:
    good = wire.get(place, "")
    around = [f"{good}\n", f"\n{good}", f"{good}\n{good}", f"{good} "] if isinstance(good, str) else []
    for text in [*BAD, *around]:
        assert not re.search(pattern, text)
        checked = decode(placed(wire, place, text))
        if place == "specVersion":
            assert checked.reason is Reason.UNKNOWN_VERSION
        else:
            assert checked.reason is Reason.MALFORMED
            assert checked.detail == f"Expected `str` matching regex {pattern!r} - at `$.{place}`"[:300]


def test_one_of_many_recipients_is_looked_at_too() -> None:
    checked = decode(canonical(TASK | {"to": ["executor", "Executor"]}))
    assert checked.reason is Reason.MALFORMED
    assert checked.detail.endswith("at `$.to`")


def test_texts_that_change_places_at_a_line_break_are_refused() -> None:
    """Joined they would read the same."""
    shifted = TASK | {"id": f"{TASK['id']}\n{TASK['workspace']}", "workspace": ""}
    assert decode(canonical(shifted)).reason is Reason.MALFORMED


@given(envelopes(), st.booleans())
def test_every_envelope_there_can_be_is_spelt_right(envelope: Envelope, is_signed: bool) -> None:
    whole = seal(envelope, KEYS["executor"]).envelope if is_signed else envelope
    check_spelling(whole)


@given(st.sampled_from(PLACES), st.text(max_size=70))
def test_any_text_is_judged_as_its_pattern_judges_it(place: tuple[str, str], text: str) -> None:
    name, pattern = place
    checked = decode(placed(TASK, name, text))
    if re.search(pattern, text) is None:
        assert checked.reason in (Reason.MALFORMED, Reason.UNKNOWN_VERSION)
    else:
        assert "matching regex" not in checked.detail
