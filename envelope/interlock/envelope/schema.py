"""The envelope's JSON Schema (2020-12), for other languages."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from interlock.envelope.model import Envelope


def envelope_schema() -> dict[str, Any]:
    """JSON Schema of an envelope on the wire. The canonical form and the signature are beyond what it can say.

    Every field is required that has a default in Python: the canonical form writes it, so an envelope without is refused.
    """
    (_,), components = msgspec.json.schema_components([Envelope], ref_template="#/$defs/{name}")
    unset = {field.encode_name for field in msgspec.structs.fields(Envelope) if field.default is UNSET} - {"signature"}
    for name, component in components.items():
        if "properties" in component:
            component["required"] = [key for key in component["properties"] if name != "Envelope" or key not in unset]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Interlock envelope 1.0",
        "$ref": "#/$defs/Envelope",
        "$defs": components,
    }
