from __future__ import annotations

from interlock.envelope.descriptions import in_one_line


def test_only_descriptions_are_folded_whatever_a_property_is_called() -> None:
    schema = {
        "description": "One\n    two.",
        "properties": {"description": {"type": "string", "description": "a\n  b", "pattern": "x\n  y"}},
        "anyOf": [{"description": " c "}, True],
        "const": "d\n e",
    }
    assert in_one_line(schema) == {
        "description": "One two.",
        "properties": {"description": {"type": "string", "description": "a b", "pattern": "x\n  y"}},
        "anyOf": [{"description": "c"}, True],
        "const": "d\n e",
    }
