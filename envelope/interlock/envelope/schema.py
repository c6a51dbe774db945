"""The envelope's JSON Schema (2020-12), for other languages."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from interlock.envelope import amounts, model, payloads
from interlock.envelope.descriptions import in_one_line
from interlock.envelope.model import Envelope


def envelope_schema() -> dict[str, Any]:
    """JSON Schema of an envelope on the wire. The canonical form and the signature are beyond what it can say.

    Every field is required that has a default in Python: the canonical form writes it, so an envelope without is refused.
    Only what is unset by default may be left out.
    """
    (_,), components = msgspec.json.schema_components([Envelope], ref_template="#/$defs/{name}")
    for name, component in components.items():
        if "properties" in component:
            unset = _left_out(name) - {"signature"}
            component["required"] = [key for key in component["properties"] if key not in unset]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Interlock envelope 1.0",
        "$ref": "#/$defs/Envelope",
        "$defs": in_one_line(components),
    }


def _left_out(name: str) -> set[str]:
    """Names on the wire of the fields of this type that are written only when they are set."""
    kind = next(vars(module)[name] for module in (model, payloads, amounts) if name in vars(module))
    return {field.encode_name for field in msgspec.structs.fields(kind) if field.default is UNSET}
