"""The compliance tags of a goal, signed into all its envelopes: what its author says of data, oversight, transparency."""

from __future__ import annotations

from interlock.envelope.payloads import Intake

# An intake's risk hint answered with true → the tag that policies look for.
_ANSWERS = {"human_oversight": "oversight:human", "transparency": "transparency:given"}


def compliance_tags(intake: Intake) -> list[str]:
    """`data:CLASS`, and one for each duty of the EU AI Act that the intake says is met."""
    met = [tag for hint, tag in _ANSWERS.items() if intake.risk_hints.get(hint) is True]
    return [f"data:{intake.data_classification}", *met]
