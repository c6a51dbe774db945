"""The builtins a policy may call: functions of their arguments and of nothing else, so that a decision replays.

An allow list. What leaks, waits, draws lots or reads a clock is not on it, nor is what this engine does not have: there a
call is undefined, and `not` makes an allow of it.
"""

from __future__ import annotations

ALLOWED = frozenset(
    {
        "abs",
        "array.concat",
        "array.reverse",
        "array.slice",
        "ceil",
        "concat",
        "contains",
        "count",
        "endswith",
        "floor",
        "format_int",
        "indexof",
        "is_array",
        "is_boolean",
        "is_null",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "lower",
        "max",
        "min",
        "numbers.range",
        "object.get",
        "object.keys",
        "object.remove",
        "replace",
        "round",
        "sort",
        "split",
        "sprintf",
        "startswith",
        "strings.any_prefix_match",
        "strings.any_suffix_match",
        "substring",
        "sum",
        "to_number",
        "trim",
        "trim_left",
        "trim_prefix",
        "trim_right",
        "trim_space",
        "trim_suffix",
        "type_name",
        "upper",
    }
)
# This engine joins only the outermost level of objects, OPA all of them: enough for tests that know it.
ALLOWED_IN_TESTS = ALLOWED | {"object.union"}
# Known to OPA and refused for what they do; told apart from misspelt names only to say so.
_FORBIDDEN = ("time.", "rand.", "opa.", "http.", "net.", "uuid.", "io.", "crypto.", "rego.", "providers.", "internal.")
_FORBIDDEN_NAMES = frozenset({"object.union", "print", "trace", "walk"})


def is_forbidden(name: str) -> bool:
    """Whether OPA has it but no policy here may call it."""
    return name.startswith(_FORBIDDEN) or name in _FORBIDDEN_NAMES
